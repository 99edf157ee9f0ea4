"""A look at the queue as text for people."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from datetime import datetime

from django.core.management.color import Style
from django.utils import timezone

from soniq.durations import rough
from soniq.schedule_records import ScheduleStatus
from soniq.visible import visible_line
from soniq_django.commands.tables import Cell, Column, Paint, counted, cut, table
from soniq_django.status.records import ScheduleState, Status, WorkerStatus
from soniq_django.status.schedules import DEAD

LATE = 300.0  # seconds for which a due job may wait before it is coloured
MOST_NAMES = 3  # kinds of jobs that are named in the line of a worker
NOTHING = "-"


def lines_of(status: Status, style: Style, *, width: int | None, verbosity: int = 1) -> list[str]:
    """The lines.

    :param width: of the terminal; None = lines may be of any length
    :param verbosity: from 2 on, each job that runs has a line of its own, with its id
    """
    heading = style.MIGRATE_HEADING
    at = timezone.localtime(status.at).strftime("%Y-%m-%d %H:%M:%S %Z")
    parts = [
        [f"{heading('Queue')} on {status.database}, {at}"],
        _queues(status, style, width),
        _workers(status, style, width, verbosity),
        _schedules(status, style, width),
        _summary(status, style, width),
    ]
    notes = _notes(status)
    return [line for part in [*parts, notes] if part for line in [*part, ""]][:-1]


def _queues(status: Status, style: Style, width: int | None) -> list[str]:
    if not status.queues:
        return ["Nothing waits, and nothing runs."]
    columns = [
        Column("QUEUE"),
        Column("DUE", right=True),
        Column("DELAYED", right=True),
        Column("PROCESSING", right=True),
        Column("OLDEST DUE", right=True),
    ]
    rows: list[list[str | Cell]] = []
    for queue in status.queues:
        late = queue.oldest is not None and queue.oldest > LATE
        oldest = NOTHING if queue.oldest is None else rough(queue.oldest)
        counts = (queue.due, queue.delayed, queue.processing)
        rows.append(
            [
                queue.name,
                *(str(count) if count.value else NOTHING for count in counts),
                Cell(oldest, style.WARNING if late else None),
            ]
        )
    return table(columns, rows, heading=style.MIGRATE_LABEL, width=width)


def _workers(status: Status, style: Style, width: int | None, verbosity: int) -> list[str]:
    if not status.workers:
        return [style.ERROR("No worker is registered.") + " Start one with manage.py soniq_worker."]
    columns = [
        Column("WORKER"),
        Column("STATE"),
        Column("BEAT", right=True),
        Column("BUSY", right=True),
        Column("QUEUES"),
        Column("RUNS"),
    ]
    rows: list[list[str | Cell]] = []
    for worker in status.workers:
        paint: Paint = style.SUCCESS if worker.live else style.ERROR
        rows.append(
            [
                f"{worker.hostname}:{worker.pid}",
                Cell("live" if worker.live else "lost", paint),
                rough(worker.silent),
                f"{len(worker.jobs)} of {worker.concurrency}",
                "all" if worker.queues is None else ", ".join(worker.queues),
                "" if verbosity > 1 else _running(worker),
            ]
        )
    lines = table(columns, rows, heading=style.MIGRATE_LABEL, width=width)
    return lines if verbosity < 2 else _with_jobs(lines, status.workers)  # noqa: PLR2004  # -v 2


def _with_jobs(lines: list[str], workers: Iterable[WorkerStatus]) -> list[str]:
    told = lines[:1]
    for line, worker in zip(lines[1:], workers, strict=True):
        told.append(line)
        for job in worker.jobs:
            told.append(f"  {job.id}  {visible_line(job.job_name)}{_for(job.seconds)}")
    return told


def _running(worker: WorkerStatus) -> str:
    """Such as "shop.jobs.send_receipt (12 s), 2 x shop.jobs.resize_picture (3 s)"; longest running first."""
    names = Counter(job.job_name for job in worker.jobs)
    longest = {job.job_name: job.seconds for job in reversed(worker.jobs)}
    told = [
        f"{f'{count} x ' if count > 1 else ''}{name}{_for(longest[name])}" for name, count in names.items()
    ]
    more = len(told) - MOST_NAMES
    return ", ".join([*told[:MOST_NAMES], *([f"{more} more"] if more > 0 else [])])


def _for(seconds: float | None) -> str:
    return "" if seconds is None else f" ({rough(seconds)})"


def _schedules(status: Status, style: Style, width: int | None) -> list[str]:
    if not status.schedules:
        return []
    columns = [Column("SCHEDULE"), Column("NEXT"), Column("LAST"), Column("RULE")]
    rows: list[list[str | Cell]] = [
        [one.name, _next(one, status.at, style), _last(one, status.at, style), _rule(one)]
        for one in status.schedules
    ]
    return table(columns, rows, heading=style.MIGRATE_LABEL, width=width)


def _next(schedule: ScheduleState, at: datetime, style: Style) -> str | Cell:
    """The next fire time by the clock of the heading; of one that nobody fires, for how long it is due."""
    if schedule.next_fire_at is None:
        return Cell(schedule.status, style.WARNING if schedule.status == ScheduleStatus.PAUSED else None)
    late = (at - schedule.next_fire_at).total_seconds()
    if late > LATE:
        return Cell(f"due for {rough(late)}", style.WARNING)
    return timezone.localtime(schedule.next_fire_at).strftime("%Y-%m-%d %H:%M:%S")


def _last(schedule: ScheduleState, at: datetime, style: Style) -> str | Cell:
    """What became of the last job, and how long ago its fire time was."""
    if schedule.last_outcome is None:
        return NOTHING
    dead = schedule.last_outcome == DEAD
    told = f"gave up ({schedule.last_reason})" if dead else schedule.last_outcome
    if schedule.last_fire_at is not None:
        told += f", {rough((at - schedule.last_fire_at).total_seconds())} ago"
    return Cell(told, style.ERROR if dead else None)


def _rule(schedule: ScheduleState) -> str:
    """In words; with the time zone of a cron rule, if that is not the one of the heading."""
    elsewhere = schedule.cron is not None and schedule.timezone != timezone.get_current_timezone_name()
    return f"{schedule.rule} ({schedule.timezone})" if elsewhere else schedule.rule


def _summary(status: Status, style: Style, width: int | None) -> list[str]:
    through = status.throughput
    done = "not counted" if through.done is None else f"{through.done} done"
    label = f"Last {rough(through.seconds)}"
    lines: list[tuple[str, str, Paint | None]] = [(label, f"{done}, {through.dead} gave up", None)]
    letters = status.dead_letters
    reasons = ", ".join(f"{visible_line(name)} {count:,}" for name, count in letters.by_reason.items())
    told = f"{letters.total}: {reasons}" if reasons else "none"
    lines.append(("Dead letters", told, style.WARNING if reasons else None))
    if status.orphans.value:
        told = f"{status.orphans} in processing, their worker is gone; the next sweep rescues them"
        lines.append(("Orphaned", told, style.WARNING))
    for unknown in status.unknown:
        told = f"{visible_line(unknown.job_name)}: {counted(unknown.count, 'due job')}, the first for "
        lines.append(("Unknown here", told + rough(unknown.oldest), style.WARNING))
    pad = max(len(label) for label, _, _ in lines)
    shown = []
    for label, text, paint in lines:
        fitted = text if width is None else cut(text, max(width - pad - 2, 16))
        shown.append(f"{style.MIGRATE_LABEL(label.ljust(pad))}  {paint(fitted) if paint else fitted}")
    return shown


def _notes(status: Status) -> list[str]:
    """What the numbers leave out."""
    notes = []
    counts = [status.dead_letters.total, status.throughput.dead, status.orphans]
    counts += [status.throughput.done] if status.throughput.done else []
    for queue in status.queues:
        counts += [queue.due, queue.delayed, queue.processing]
    if any(count.capped for count in counts):
        notes.append("A number with + is where counting stopped.")
    if status.dead_letters.total.capped:
        notes.append("Reasons are those of the newest dead letters.")
    if status.more_queues:
        notes.append("There are more queues and priorities than were looked at.")
    if status.more_workers:
        notes.append("There are more workers than are listed.")
    if status.more_schedules:
        notes.append("There are more schedules than are listed.")
    if status.unknown_reach is not None:
        notes.append(f"Unknown names were looked for among the first {status.unknown_reach:,} due jobs.")
    return notes
