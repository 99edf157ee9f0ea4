# ruff: noqa: S608  (the statements are put together from constants; values are parameters)
"""Conditions for the statements of the store: SQL with named places, and the values for them.

Lists travel as one JSON value, so a statement is the same text for any number of entries.
"""

from __future__ import annotations

import json
from collections.abc import Collection
from typing import Any, TypeAlias

from soniq.jobs import JobStatus
from soniq.records import DeadLetterFilter
from soniq.schedule_records import ScheduleFilter

Values: TypeAlias = dict[str, Any]


def claimable(
    queues: Collection[str] | None,
    names: Collection[str] | None,
    *,
    not_of_worker: str | None = None,
    crashed: bool | None = None,
) -> tuple[str, Values]:
    """Queued jobs that a worker may have, due or not."""
    values: Values = {}
    conditions = ["status = 'queued'"]
    if queues is not None:
        conditions.append("queue IN (SELECT value FROM json_each(:queues))")
        values["queues"] = json.dumps(list(queues))
    if names is not None:
        conditions.append("job_name IN (SELECT value FROM json_each(:names))")
        values["names"] = json.dumps(list(names))
    if not_of_worker is not None:
        conditions.append("worker_id IS NOT :not_of_worker")
        values["not_of_worker"] = not_of_worker
    if crashed is not None:
        conditions.append("crashes > 0" if crashed else "crashes = 0")
    return " AND ".join(conditions), values


def listed(queue: str | None, status: JobStatus | None) -> tuple[str, Values]:
    """Jobs of a queue and of a status."""
    conditions = ["TRUE"]
    if queue is not None:
        conditions.append("queue = :queue")
    if status is not None:
        conditions.append("status = :status")
    return " AND ".join(conditions), {"queue": queue, "status": status}


def dead_letters(where: DeadLetterFilter) -> tuple[str, Values]:
    """The dead letters that are meant: everything of the statement behind its columns."""
    values: Values = {"limit": where.limit, "offset": where.offset}
    conditions = ["TRUE"]
    lists = {
        "id": where.ids,
        "job_name": where.job_names,
        "queue": where.queues,
        "dead_letter_reason": where.reasons,
    }
    for column, wanted in lists.items():
        if wanted is not None:
            conditions.append(f"{column} IN (SELECT value FROM json_each(:{column}))")
            values[column] = json.dumps(list(wanted))
    if where.tags is not None:
        conditions.append(
            "EXISTS (SELECT 1 FROM json_each(tags_json) AS tag"
            " WHERE tag.value IN (SELECT value FROM json_each(:tags)))"
        )
        values["tags"] = json.dumps(list(where.tags))
    if where.date_from is not None:
        conditions.append("moved_to_dead_letter_at >= :date_from")
        values["date_from"] = where.date_from.timestamp()
    if where.date_to is not None:
        conditions.append("moved_to_dead_letter_at < :date_to")
        values["date_to"] = where.date_to.timestamp()
    if where.has_been_resurrected is not None:
        conditions.append("(resurrection_count > 0) = :resurrected")
        values["resurrected"] = where.has_been_resurrected
    meant = (
        f"FROM soniq_dead_letter_jobs WHERE {' AND '.join(conditions)}"
        " ORDER BY moved_to_dead_letter_at DESC, id DESC LIMIT :limit OFFSET :offset"
    )
    return meant, values


def waiting_schedules(where: ScheduleFilter) -> tuple[str, Values]:
    """Schedules that fire some time, and that a worker may fire."""
    values: Values = {}
    conditions = ["next_fire_at IS NOT NULL"]
    if where.job_names is not None:
        conditions.append("job_name IN (SELECT value FROM json_each(:job_names))")
        values["job_names"] = json.dumps(sorted(where.job_names))
    if where.declared is not None:
        conditions.append("(NOT declared OR name IN (SELECT value FROM json_each(:declared)))")
        values["declared"] = json.dumps(sorted(where.declared))
    return " AND ".join(conditions), values
