"""Dead letters as text for people; secrets are masked as everywhere."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime

from django.core.management.color import Style
from django.utils import timezone

from soniq.durations import rough
from soniq.export import shown
from soniq.records import DeadLetter, FailedAttempt
from soniq.redaction import Redactor
from soniq.visible import visible, visible_json, visible_line
from soniq_django.commands.tables import Column, table

LINE = 100  # characters of an error in a list


def list_of(
    letters: Sequence[DeadLetter], redactor: Redactor, style: Style, *, now: datetime, width: int | None
) -> list[str]:
    """A table, one line each."""
    columns = [
        Column("ID"),
        Column("JOB"),
        Column("QUEUE"),
        Column("REASON"),
        Column("TRIES", right=True),
        Column("AGE", right=True),
        Column("REPLAYS", right=True),
        Column("ERROR"),
    ]
    rows = [
        [
            letter.id,
            letter.job_name,
            letter.queue,
            letter.dead_letter_reason.value,
            f"{letter.attempts} of {letter.max_attempts}",
            _age(letter.moved_to_dead_letter_at, now),
            str(letter.resurrection_count),
            headline(letter.last_error, redactor),
        ]
        for letter in letters
    ]
    return table(columns, rows, heading=style.MIGRATE_LABEL, width=width)


def details_of(letter: DeadLetter, redactor: Redactor, style: Style, *, now: datetime) -> list[str]:
    """All there is to say about one."""
    row = shown(letter, redactor)
    replays = "none"
    if letter.last_resurrection_at is not None:
        replays = f"{letter.resurrection_count}, the last {_when(letter.last_resurrection_at, now)}"
    facts = [
        ("Id", letter.id),
        ("Job", letter.job_name),
        ("Queue", f"{letter.queue}, priority {letter.priority}"),
        ("Reason", letter.dead_letter_reason.value),
        ("Attempts", f"{letter.attempts} of {letter.max_attempts}"),
        ("Enqueued", _when(letter.original_created_at, now)),
        ("Gave up", _when(letter.moved_to_dead_letter_at, now)),
        ("Replays", replays),
        ("Tags", ", ".join(letter.tags) or "none"),
    ]
    pad = max(len(name) for name, _ in facts)
    lines = [f"{style.MIGRATE_LABEL(name.ljust(pad))}  {visible_line(text)}" for name, text in facts]
    arguments = visible_json(json.dumps(row["args"], indent=2, ensure_ascii=False))
    lines += ["", style.MIGRATE_LABEL("Arguments"), *_indented(arguments)]
    if row["last_error"]:
        lines += ["", style.MIGRATE_LABEL("Last error"), *_indented(visible(row["last_error"]).rstrip())]
    if letter.failures:
        told = [_attempt_line(one, redactor, now) for one in letter.failures]
        lines += ["", style.MIGRATE_LABEL("Failed attempts"), *_indented("\n".join(told))]
    return lines


def _attempt_line(failure: FailedAttempt, redactor: Redactor, now: datetime) -> str:
    whose = f"worker {visible_line(failure.worker_id)}"
    return f"{failure.attempt}  {_when(failure.at, now)}, {whose}: {headline(failure.error, redactor)}"


def headline(error: str | None, redactor: Redactor) -> str:
    """The last line of an error, which says what went wrong."""
    line = (error or "").rstrip().rpartition("\n")[2].strip()
    text = visible_line(redactor.text(line))
    return text if len(text) <= LINE else f"{text[: LINE - 1]}…"


def _indented(text: str) -> list[str]:
    return [f"  {line}" for line in text.splitlines()]


def _when(value: datetime, now: datetime) -> str:
    return f"{timezone.localtime(value):%Y-%m-%d %H:%M:%S %Z}, {_age(value, now)} ago"


def _age(value: datetime, now: datetime) -> str:
    return rough((now - value).total_seconds())
