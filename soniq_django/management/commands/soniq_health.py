"""``manage.py soniq_health``: one line and an exit code for probes."""

from __future__ import annotations

import json
import socket
import sys
from argparse import ArgumentParser
from dataclasses import asdict
from typing import Any

from django.core.management.base import CommandError

from soniq.errors import ConfigurationError
from soniq.settings import check_queues
from soniq_django.commands.base import IMPOSSIBLE, SoniqCommand
from soniq_django.commands.options import add_database, add_json, duration, whole
from soniq_django.commands.places import place
from soniq_django.status.health import MAX_AGE, Asked, Health, examine

EXIT_CODES = {"healthy": 0, "unhealthy": 1, "unknown": IMPOSSIBLE}
THIS_HOST = ""


class Command(SoniqCommand):
    """See the help text."""

    help = (
        "Say in one line whether the queue is healthy: a worker is live, no job has been due for too long, "
        "and the tables are those of this release. Exit code 0: healthy; 1: unhealthy (too few live "
        "workers, a job that has been due for longer than --max-age, or a missing migration); 2: the "
        "database cannot be reached, or the command line cannot be read. Costs a few look-ups, however "
        "many jobs there are."
    )
    examples = """
        soniq_health
        soniq_health --max-age 15min --workers 2
        soniq_health --queue emails --queue pictures
        soniq_health --worker
    """

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the options."""
        parser.add_argument(
            "--max-age",
            type=duration,
            metavar="SECONDS",
            help=f"unhealthy if a job has been due for longer (default: {MAX_AGE:g}; 0 = never); also "
            "15min, 2h",
        )
        parser.add_argument(
            "--workers",
            type=whole(least=0),
            default=1,
            metavar="N",
            help="unhealthy if fewer workers are live (default: 1; 0 = none is needed)",
        )
        parser.add_argument(
            "--queue",
            action="append",
            metavar="NAME",
            help="look at jobs of this queue only, and at workers that serve it; may be repeated",
        )
        parser.add_argument(
            "--worker",
            nargs="?",
            const=THIS_HOST,
            metavar="HOST",
            help="look at the workers of one host only (this one, unless named), and not at jobs unless "
            "--max-age is given: a liveness probe for the container or machine of a worker",
        )
        add_json(parser, "one JSON object instead of the line")
        add_database(parser)

    def perform(self, options: dict[str, Any]) -> None:
        """Find out, say it, and leave with its exit code."""
        where = place(options["database"])
        health = examine(where.backend, where.app.settings, asked(options))
        if options["json"]:
            self.stdout.write(json.dumps({"state": health.state, **asdict(health)}, indent=2))
        elif health.problems or options["verbosity"] > 0:
            self._tell(health)
        self.stdout.flush()
        if code := EXIT_CODES[health.state]:
            sys.exit(code)

    def _tell(self, health: Health) -> None:
        paint = self.paint.SUCCESS if not health.problems else self.paint.ERROR
        state, _, rest = str(health).partition(":")
        self.stdout.write(f"{paint(state)}:{rest}")


def asked(options: dict[str, Any]) -> Asked:
    """What the command line wants to be so."""
    host = socket.gethostname() if options["worker"] == THIS_HOST else options["worker"]
    max_age = options["max_age"]
    if max_age is None and host is None:
        max_age = MAX_AGE
    queues = None
    if options["queue"]:
        try:
            queues = check_queues(options["queue"])
        except ConfigurationError as error:
            raise CommandError(f"--queue: {error}", returncode=IMPOSSIBLE) from None
    return Asked(max_age=max_age or None, workers=options["workers"], queues=queues, host=host)
