"""``manage.py soniq_import``: move what waits in another queue, and its schedules."""

from __future__ import annotations

import sys
from argparse import ArgumentParser
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from django.apps import apps
from django.core.management.base import CommandError
from django.db import DatabaseError, router
from tqdm import tqdm

from soniq import BackendError
from soniq_django.commands.base import IMPOSSIBLE, WithExamples
from soniq_django.commands.options import add_dry_run
from soniq_django.conf import current_app, read_settings
from soniq_django.importing import celery_beat, django_q, procrastinate, tasks_db
from soniq_django.importing.moving import Mover, Renames, Report
from soniq_django.importing.rows import Recurring, Source, SourceError
from soniq_django.models import Job
from soniq_django.progress import progress_bar

LEFT = 1
BATCH = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Queue:
    """Another queue: the app that has its tables, and what is read there."""

    app: str
    sources: tuple[Callable[[], Source], ...]
    recurring: Callable[[], Iterable[Recurring]] = tuple


def _queues(*, drop_locks: bool) -> dict[str, Queue]:
    return {
        "celery_beat": Queue(
            app="django_celery_beat", sources=(celery_beat.ClockedTasks, celery_beat.Schedules)
        ),
        "django_q": Queue(
            app="django_q",
            sources=(django_q.Packages, django_q.Schedules),
        ),
        "procrastinate": Queue(
            app="procrastinate.contrib.django",
            sources=(lambda: procrastinate.TodoJobs(drop_locks=drop_locks),),
            recurring=procrastinate.periodic,
        ),
        "tasks_db": Queue(app="django_tasks_db", sources=(tasks_db.ReadyResults,)),
    }


class Command(WithExamples):
    """See the help text."""

    help = (
        "Move the jobs that wait in another queue's tables into soniq's, each exactly once: a batch of rows "
        "is locked, stored as jobs and taken out there in one transaction. Schedules are moved in the same "
        "way. A row whose task is no job here, or that cannot be moved for another reason, stays, and is "
        "listed with the reason. Exit code 0: all was moved; 1: something stays; 2: it could not be done."
    )
    examples = """
        soniq_import celery_beat --dry-run
        soniq_import django_q --map shop.tasks.=shop.jobs. --map-queue bulk=slow
    """

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the options."""
        parser.add_argument("source", choices=sorted(_queues(drop_locks=False)), help="the other queue")
        add_dry_run(parser)
        parser.add_argument(
            "--map",
            action="append",
            default=[],
            metavar="OLD=NEW",
            help="the task OLD is the job NEW here; shop.tasks.=shop.jobs. renames all that begin so. "
            "Repeatable.",
        )
        parser.add_argument(
            "--map-queue",
            action="append",
            default=[],
            metavar="OLD=NEW",
            help="the same for queues. Repeatable.",
        )
        parser.add_argument(
            "--batch-size",
            type=int,
            default=BATCH,
            metavar="N",
            help=f"rows per transaction (default: {BATCH})",
        )
        parser.add_argument(
            "--drop-locks",
            action="store_true",
            help="procrastinate: move jobs that hold a lock, too; they may then run side by side",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        """Move, report, and leave with the exit code that the help promises."""
        queue = _queues(drop_locks=options["drop_locks"])[options["source"]]
        if not apps.is_installed(queue.app):
            raise CommandError(
                f"{queue.app!r} is not in INSTALLED_APPS: its tables are read through its models, so keep it "
                "there until everything is moved",
                returncode=IMPOSSIBLE,
            )
        if options["batch_size"] < 1:
            raise CommandError(
                f"--batch-size is {options['batch_size']}: give 1 or more", returncode=IMPOSSIBLE
            )
        mover = Mover(
            current_app(),
            alias=read_settings().database or router.db_for_write(Job),
            tasks=_renames("--map", options["map"]),
            queues=_renames("--map-queue", options["map_queue"]),
        )
        left = False
        try:
            for make in queue.sources:
                source = make()
                report = self._moved(mover, source, options)
                self._tell(source, report, dry_run=options["dry_run"], verbosity=options["verbosity"])
                left = left or bool(report.left)
            self._tell_recurring(list(queue.recurring()))
        except (SourceError, BackendError, DatabaseError) as error:
            raise CommandError(f"cannot go on: {error}", returncode=IMPOSSIBLE) from error
        self.stdout.flush()
        if left:
            sys.exit(LEFT)

    def _moved(self, mover: Mover, source: Source, options: dict[str, Any]) -> Report:
        report = Report()
        with progress_bar(unit="row", total=source.count(), shown=options["verbosity"] > 0) as bar:
            mover.move(
                source,
                report,
                dry_run=options["dry_run"],
                batch_size=options["batch_size"],
                progress=lambda rows: _advance(bar, rows),
            )
        return report

    def _tell(self, source: Source, report: Report, *, dry_run: bool, verbosity: int) -> None:
        if verbosity > 0:
            verb = "would be moved" if dry_run else "moved"
            self.stdout.write(f"{source.what}: {report.moved.total():,} {verb}")
            for (old, new), count in sorted(report.moved.items()):
                self.stdout.write(f"  {old}{'' if new == old else f' -> {new}'}: {count:,}")
        if report.left:
            count = sum(left.count for left in report.left.values())
            self.stdout.write(
                f"{source.what}: {count:,} {'would stay' if dry_run else 'stay'} where they are"
            )
            for (task, reason), one in sorted(report.left.items()):
                self.stdout.write(
                    f"  {_line(task)}: {one.count:,} (such as {_line(one.example)}): {_line(reason)}"
                )

    def _tell_recurring(self, schedules: list[Recurring]) -> None:
        if schedules:
            self.stdout.write(
                "Schedules that are declared in code, and so are not moved: give these to @soniq.periodic:"
            )
            for schedule in schedules:
                self.stdout.write(f"  {_line(str(schedule))}")


def _advance(bar: tqdm[Any], rows: int) -> None:
    bar.update(rows)


def _renames(option: str, pairs: list[str]) -> Renames:
    names: dict[str, str] = {}
    for pair in pairs:
        old, equals, new = pair.partition("=")
        if not old or not new or not equals or old.endswith(".") != new.endswith("."):
            raise CommandError(
                f"{option} {pair!r}: write OLD=NEW, and end both in a dot or neither", returncode=IMPOSSIBLE
            )
        names[old] = new
    return Renames(names=names)


def _line(text: str) -> str:
    """The text as it is, or as Python would write it if it holds what would spoil the line."""
    return text if text.isprintable() else repr(text)
