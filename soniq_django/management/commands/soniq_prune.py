"""``manage.py soniq_prune``: remove finished jobs past their time."""

from __future__ import annotations

from argparse import ArgumentParser
from functools import partial
from typing import Any

from soniq_django.commands.base import SoniqCommand
from soniq_django.commands.options import add_database, add_dry_run, days
from soniq_django.commands.places import place
from soniq_django.commands.removing import old_jobs, old_letters
from soniq_django.commands.tables import counted
from soniq_django.store import pruning
from soniq_django.store.errors import translated


class Command(SoniqCommand):
    """See the help text."""

    help = (
        "Remove what is past its time, in batches of 1,000: finished jobs (result_ttl), and dead letters "
        "older than --dead-letters or SONIQ['DEAD_LETTER_TTL']. Workers do the same by themselves, a batch "
        "at each sweep; this is for tables that have grown, and for other limits. Jobs that wait or run are "
        "never touched. It can be interrupted and started again. Exit code 0; 2: the database could not be "
        "asked."
    )
    examples = """
        soniq_prune --dry-run
        soniq_prune --older-than 7d --status done
        soniq_prune --dead-letters 90
    """

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the options."""
        parser.add_argument(
            "--older-than",
            type=days,
            metavar="DAYS",
            help="remove jobs that finished so long ago, instead of those past their time; or 12h, 90min",
        )
        parser.add_argument(
            "--status",
            action="append",
            choices=[status.value for status in pruning.FINISHED],
            help="only jobs that ended so; may be repeated (default: both)",
        )
        parser.add_argument(
            "--dead-letters",
            type=days,
            metavar="DAYS",
            help="remove dead letters that are so old; days, or 12h (default: SONIQ['DEAD_LETTER_TTL'], "
            "or none)",
        )
        add_dry_run(parser)
        add_database(parser)

    def perform(self, options: dict[str, Any]) -> None:
        """Remove, or say what would be removed."""
        where = place(options["database"])
        where.backend.check_ready()
        jobs = old_jobs(where, options["older_than"], options["status"] or list(pruning.FINISHED))
        letters = old_letters(where, options["dead_letters"])
        talks = options["verbosity"] > 0
        told: list[str] = []
        with translated(where.alias):
            for heap in [jobs] if letters is None else [jobs, letters]:
                say = partial(self._say, tuple(told), heap.noun)
                gone = heap.rows.count() if options["dry_run"] else heap.empty(where, say, shown=talks)
                told.append(counted(gone, heap.noun))
        if talks or options["dry_run"]:
            verb = "Would remove" if options["dry_run"] else "Removed"
            self.stdout.write(f"{verb} {' and '.join(told)}.")

    def _say(self, before: tuple[str, ...], noun: str, gone: int) -> None:
        """Note what an interrupt would tell."""
        self.so_far = f"removed {' and '.join([*before, counted(gone, noun)])} so far"
