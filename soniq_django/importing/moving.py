"""Rows of another queue become jobs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from django.db import transaction

from soniq import Soniq, SoniqError, UnknownTask
from soniq.jobs import NewJob
from soniq.task import EnqueueOptions
from soniq_django.importing.rows import Row, Source, SourceError, Unmovable, Waiting


@dataclass(slots=True)
class Left:
    """Rows of one task that stay where they are, for one reason."""

    count: int = 0
    example: str = ""  # the key of one of them


@dataclass(slots=True)
class Report:
    """What was moved and what was left."""

    moved: Counter[tuple[str, str]] = field(default_factory=Counter)  # (name there, name here) -> rows
    left: dict[tuple[str, str], Left] = field(default_factory=dict)  # (name there, reason) -> rows

    def leave(self, row: Unmovable) -> None:
        """Note a row that stays."""
        left = self.left.setdefault((row.task, row.reason), Left(example=str(row.row)))
        left.count += 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Renames:
    """New names for old ones. A name that ends in a dot stands for all names that begin with it."""

    names: Mapping[str, str] = field(default_factory=dict)

    def __call__(self, name: str) -> str:
        """The new name; the longest rule that fits wins, and without one the name stays."""
        if name in self.names:
            return self.names[name]
        prefixes = [old for old in self.names if old.endswith(".") and name.startswith(old)]
        if not prefixes:
            return name
        old = max(prefixes, key=len)
        return self.names[old] + name.removeprefix(old)


class Mover:
    """Moves the rows of sources.

    :param tasks: names of tasks there -> names of jobs here
    :param queues: the same for queues
    """

    def __init__(self, app: Soniq, *, alias: str, tasks: Renames, queues: Renames) -> None:
        self._app = app
        self._alias = alias
        self._tasks = tasks
        self._queues = queues

    def move(
        self,
        source: Source,
        report: Report,
        *,
        dry_run: bool,
        batch_size: int,
        progress: Callable[[int], None] = lambda _rows: None,
    ) -> None:
        """Move all rows that can be moved, a transaction per batch; note them in ``report``.

        :param dry_run: change nothing, and report what would be done
        :raises SourceError: the rows are in another database than soniq's tables, or were changed meanwhile
        """
        if source.alias != self._alias and source.count():
            raise SourceError(
                f"the {source.what} are in the database {source.alias!r}, soniq's tables in {self._alias!r}. "
                "A row is moved exactly once only within one transaction: set SONIQ['DATABASE'] to "
                f"{source.alias!r}, or let the old workers finish what waits"
            )
        while True:
            with transaction.atomic(using=source.alias):
                rows = source.batch(batch_size)
                moved = self._store(source, rows, report, dry_run=dry_run)
            report.moved.update(moved)
            progress(len(rows))
            if not rows:
                return

    def _store(
        self, source: Source, rows: list[Row], report: Report, *, dry_run: bool
    ) -> Counter[tuple[str, str]]:
        jobs: list[NewJob] = []
        taken = []
        names: Counter[tuple[str, str]] = Counter()
        for row in rows:
            made = self._job(row)
            if isinstance(made, Unmovable):
                report.leave(made)
                continue
            jobs.append(made)
            taken.append(row.row)
            names[row.task, made.job_name] += 1
        if jobs and not dry_run:
            if source.take(taken) != len(taken):
                raise SourceError(
                    f"some of the {source.what} went away meanwhile; this batch was left as it is. "
                    "Stop the old workers, and run the command again"
                )
            self._app.backend.enqueue(jobs)
        return names

    def _job(self, row: Row) -> NewJob | Unmovable:
        if isinstance(row, Unmovable):
            return row
        name = self._tasks(row.task)
        try:
            task = self._app.producer.task(name)
            return self._app.producer.new_job(
                task, task.signature.bind(tuple(row.args), dict(row.kwargs)), self._options(row)
            )
        except UnknownTask as error:
            return Unmovable(
                row=row.row,
                task=row.task,
                reason=f"{error} (or say --map {row.task}=NAME, if it has another one)",
            )
        except SoniqError as error:
            return Unmovable(row=row.row, task=row.task, reason=str(error))

    def _options(self, row: Waiting) -> EnqueueOptions:
        return EnqueueOptions(
            queue=None if row.queue is None else self._queues(row.queue),
            priority=row.priority,
            scheduled_at=row.scheduled_at,
            dedup_key=row.dedup_key,
        )
