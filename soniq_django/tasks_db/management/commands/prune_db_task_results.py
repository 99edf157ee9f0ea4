"""``manage.py prune_db_task_results``: remove results of tasks by the options of django-tasks-db."""

from __future__ import annotations

from argparse import ArgumentParser
from collections.abc import Callable, Iterable
from typing import Any

from django.db.models import Q, QuerySet

from soniq_django.commands.base import SoniqCommand
from soniq_django.commands.places import place
from soniq_django.models import Job
from soniq_django.store import pruning
from soniq_django.store.errors import translated
from soniq_django.tasks.stored import KEY
from soniq_django.tasks_db.options import age_in_days, backend_alias

ALL = "*"
DAY = 86_400.0  # seconds


class Command(SoniqCommand):
    """See the help text."""

    help = (
        "Remove results of tasks that have ended, by the options of django-tasks-db: those that succeeded, "
        "and those that failed, which are dead letters here, or were cancelled. Workers remove what is past "
        "SONIQ['RESULT_TTL'] and SONIQ['DEAD_LETTER_TTL'] by themselves; soniq_prune has more to offer. Jobs "
        "that are no tasks are never touched. Exit code 0; 2: the database could not be asked, or the "
        "command line cannot be read."
    )
    examples = """
        prune_db_task_results --dry-run
        prune_db_task_results --queue-name "*" --min-age-days 7 --failed-min-age-days 30
    """

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the options."""
        add = parser.add_argument
        add(
            "--backend",
            type=backend_alias,
            default="default",
            metavar="ALIAS",
            help="results of tasks that were enqueued through this entry of TASKS (default: default)",
        )
        add("--queue-name", default="default", metavar="A,B", help="of these queues; * = of all")
        add(
            "--min-age-days",
            type=age_in_days,
            default=14,
            metavar="DAYS",
            help="results that are so old, since their task has ended (default: 14)",
        )
        add(
            "--failed-min-age-days",
            type=age_in_days,
            metavar="DAYS",
            help="the same for tasks that failed (default: as --min-age-days)",
        )
        add("--dry-run", action="store_true", help="say how many there are, and remove nothing")

    def perform(self, options: dict[str, Any]) -> None:
        """Remove, or say what would be removed."""
        tables = place().backend
        age = options["min_age_days"] * DAY
        failed = options["failed_min_age_days"]
        failed_age = age if failed is None else failed * DAY
        heaps: list[tuple[QuerySet[Any], Callable[..., Iterable[int]]]] = [
            (pruning.finished_before(tables, age, [Job.Status.DONE]), pruning.remove_by_id),
            (pruning.finished_before(tables, failed_age, [Job.Status.CANCELLED]), pruning.remove_by_id),
            (pruning.letters_before(tables, failed_age), pruning.remove),
        ]
        count = 0
        with translated(tables.alias):
            for heap, remove in heaps:
                rows = heap.filter(_of(options))
                for some in [rows.count()] if options["dry_run"] else remove(tables, rows):
                    count += some
                    self.so_far = f"deleted {count} task result(s) so far"
        if options["verbosity"] > 0:
            verb = "Would delete" if options["dry_run"] else "Deleted"
            self.stdout.write(f"{verb} {count} task result(s)")


def _of(options: dict[str, Any]) -> Q:
    """Tasks of one backend and of some queues."""
    chosen = Q(**{f"context__{KEY}__backend": options["backend"]})
    queues = {name.strip() for name in options["queue_name"].split(",")}
    return chosen if ALL in queues else chosen & Q(queue__in=sorted(queues))
