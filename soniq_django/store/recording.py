"""Which outcomes one statement on PostgreSQL can write."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from soniq.jobs import JobStatus
from soniq.transitions import Change
from soniq_django.store import sql


@dataclass(frozen=True, slots=True)
class Group:
    """Changes that one statement writes: finished jobs with the same effect."""

    status: JobStatus
    ttl: float | None
    worker_id: str
    attempt: int
    with_results: bool
    ids: list[str]
    results: list[str]

    def statement(self) -> tuple[Any, dict[str, Any]]:
        """The UPDATE and its parameters."""
        parameters: dict[str, Any] = {
            "status": self.status.value,
            "ttl": self.ttl,
            "ids": "{" + ",".join(self.ids) + "}",  # psycopg would take ten times as long to put it together
            "worker": self.worker_id,
            "attempt": self.attempt,
        }
        if not self.with_results:
            return sql.FINISH, parameters
        pairs = zip(self.ids, self.results, strict=True)
        parameters["results"] = "{" + ",".join(f'"{key}":{text}' for key, text in pairs) + "}"
        return sql.FINISH_WITH_RESULTS, parameters


def grouped(changes: Sequence[Change]) -> tuple[list[Group], list[Change]]:
    """Finished jobs by effect, and what the ORM writes: all the rest, and jobs that occur twice."""
    if len({change.job_id for change in changes}) < len(changes):
        return [], list(changes)
    groups: dict[tuple[Any, ...], Group] = {}
    others: list[Change] = []
    for change in changes:
        if change.verb != "succeed" or change.error is not None or change.worker_id is None:
            others.append(change)
            continue
        with_results = change.result_json is not None
        key = (change.ttl, change.worker_id, change.attempt, with_results)
        group = groups.get(key)
        if group is None:
            group = groups[key] = Group(
                JobStatus.DONE, change.ttl, change.worker_id, change.attempt, with_results, [], []
            )
        group.ids.append(change.job_id)
        if change.result_json is not None:
            group.results.append(change.result_json)
    return list(groups.values()), others
