"""Rows of another queue become jobs, and its schedules become schedules."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from django.db import transaction

from soniq import Soniq, SoniqError, UnknownTask, schedule_changes
from soniq.job_options import EnqueueOptions
from soniq.jobs import NewJob
from soniq.schedule_records import ScheduleSpec
from soniq.schedule_specs import spec_of
from soniq_django.importing.rows import Repeating, Row, Source, SourceError, Unmovable, Waiting


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
        schedules: dict[str, ScheduleSpec] = {}
        taken = []
        names: Counter[tuple[str, str]] = Counter()
        known = self._known(rows)
        for row in rows:
            made = self._made(row)
            if isinstance(made, ScheduleSpec) and (made.name in known or made.name in schedules):
                made = Unmovable(
                    row=row.row, task=row.task, reason=f"there is a schedule {made.name!r} already"
                )
            if isinstance(made, Unmovable):
                report.leave(made)
                continue
            if isinstance(made, ScheduleSpec):
                schedules[made.name] = made
            else:
                jobs.append(made)
            taken.append(row.row)
            names[row.task, made.job_name] += 1
        if taken and not dry_run:
            if source.take(taken) != len(taken):
                raise _changed(source)
            if jobs:
                self._app.backend.enqueue(jobs)
            self._add(source, schedules.values())
        return names

    def _known(self, rows: Iterable[Row]) -> set[str]:
        """The names of these rows' schedules that are taken here."""
        names = [row.name for row in rows if isinstance(row, Repeating)]
        return {schedule.name for schedule in self._app.backend.list_schedules(names)} if names else set()

    def _add(self, source: Source, schedules: Iterable[ScheduleSpec]) -> None:
        now = self._app.backend.now()
        changes = [schedule_changes.add(spec, None, now) for spec in schedules]
        if None in self._app.backend.write_schedules([change for change in changes if change is not None]):
            raise _changed(source)

    def _made(self, row: Row) -> NewJob | ScheduleSpec | Unmovable:
        if isinstance(row, Unmovable):
            return row
        name = self._tasks(row.task)
        try:
            task = self._app.producer.task(name)
            job = self._app.producer.new_job(
                task, task.signature.bind(tuple(row.args), dict(row.kwargs)), self._options(row)
            )
            return job if isinstance(row, Waiting) else self._spec(row, job)
        except UnknownTask as error:
            return Unmovable(
                row=row.row,
                task=row.task,
                reason=f"{error} (or say --map {row.task}=NAME, if it has another one)",
            )
        except SoniqError as error:
            return Unmovable(row=row.row, task=row.task, reason=str(error))

    def _spec(self, row: Repeating, job: NewJob) -> ScheduleSpec:
        """The schedule that makes such jobs."""
        return spec_of(
            row.rule,
            name=row.name,
            job_name=job.job_name,
            args_json=job.args_json,
            queue=None if row.queue is None else job.queue,
            priority=row.priority,
            timezone=self._app.settings.timezone,
        )

    def _options(self, row: Waiting | Repeating) -> EnqueueOptions:
        queue = None if row.queue is None else self._queues(row.queue)
        if isinstance(row, Repeating):
            return EnqueueOptions(queue=queue, priority=row.priority)
        return EnqueueOptions(
            queue=queue,
            priority=row.priority,
            scheduled_at=row.scheduled_at,
            dedup_key=row.dedup_key,
        )


def _changed(source: Source) -> SourceError:
    return SourceError(
        f"some of the {source.what} went away meanwhile; this batch was left as it is. "
        "Stop the old workers, and run the command again"
    )
