"""``manage.py soniq_status``: what waits, what runs, and what gave up."""

from __future__ import annotations

import json
import time
from argparse import ArgumentParser
from typing import Any

from django.db import connections

from soniq.errors import BackendUnavailable
from soniq_django.commands.base import SoniqCommand
from soniq_django.commands.options import add_database, add_json, positive_seconds
from soniq_django.commands.places import Place, place
from soniq_django.commands.status_text import lines_of
from soniq_django.commands.tables import terminal_width
from soniq_django.status import Status, read_status

EVERY = 2.0  # seconds between two looks of --watch
HOME_AND_CLEAR = "\x1b[H\x1b[J"  # the cursor to the upper left corner, and nothing below it
CLEAR_ALL = "\x1b[2J"


class Command(SoniqCommand):
    """See the help text."""

    help = (
        "Show the queues with what is due, delayed and processing, the workers with their last heartbeat "
        "and what they run, the schedules with their next fire time and what became of their last "
        "job, what ended in the last five minutes, dead letters by reason, and due jobs whose "
        "name this code does not have. Reads a bounded number of rows, so it is cheap on large tables: of "
        "each queue no more than 10,000 jobs are counted, and 10,000+ says that there are "
        "more. Exit code 0; 2: the database could not be asked."
    )
    examples = """
        soniq_status
        soniq_status --watch 5
        soniq_status --json
        soniq_status -v 2
    """

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the options."""
        add_json(parser, "one JSON object; with --watch one line each time")
        parser.add_argument(
            "--watch",
            nargs="?",
            type=positive_seconds,
            const=EVERY,
            metavar="SECONDS",
            help=f"look again every so many seconds ({EVERY:g} unless given) until Ctrl-C, which ends it "
            "with 0; redraws on a terminal, writes block after block in a pipe",
        )
        add_database(parser)

    def perform(self, options: dict[str, Any]) -> None:
        """Look once, or again and again."""
        where = place(options["database"])
        if options["watch"] is None:
            self._show(read_status(where.backend, where.registry, where.app.settings), options)
            return
        try:
            self._watch(where, options)
        except KeyboardInterrupt:
            if self.stdout.isatty():
                self.stdout.write("")  # the shell's prompt starts a line of its own

    def _watch(self, where: Place, options: dict[str, Any]) -> None:
        redraws = self.stdout.isatty() and not options["json"]
        if redraws:
            self.stdout.write(CLEAR_ALL, ending="")
        first = True
        while True:
            try:
                status = read_status(where.backend, where.registry, where.app.settings)
            except BackendUnavailable as error:
                # Who watches a restart of the database wants to see its end.
                self.stderr.write(f"{error}; looking again in {options['watch']:g} s")
                connections[where.alias].close_if_unusable_or_obsolete()
            else:
                if redraws:
                    self.stdout.write(HOME_AND_CLEAR, ending="")
                elif not first and not options["json"]:
                    self.stdout.write("")
                self._show(status, options)
                first = False
            self.stdout.flush()
            time.sleep(options["watch"])

    def _show(self, status: Status, options: dict[str, Any]) -> None:
        if options["json"]:
            indent = None if options["watch"] else 2
            self.stdout.write(json.dumps(status.to_dict(), indent=indent))
            return
        width = terminal_width(is_terminal=self.stdout.isatty())
        lines = lines_of(status, self.paint, width=width, verbosity=options["verbosity"])
        self.stdout.write("\n".join(lines))
