"""What a claim on PostgreSQL asks for, where it goes on, and what comes of its rows.

:mod:`soniq_django.store.postgres` says why a claim remembers where it was.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from soniq.backends.stored import decoded
from soniq.jobs import Claim, ClaimRequest
from soniq_django.store import sql
from soniq_django.times import aware

ABOVE_EVERY = 0.05  # seconds; bounds how long a job of a higher priority than the mark's can be overlooked
FRONT_EVERY = 0.05  # seconds; the same for one that sorts before the mark within its priority ...
FRONT_AT_LEAST_EVERY = 1.0  # ... when such jobs have been rare


@dataclass(frozen=True, slots=True)
class Mark:
    """The last row that a worker took, in the order of the claim index."""

    priority: int
    scheduled_at: datetime
    id: str
    above_at: float  # when a claim last looked at the higher priorities; monotonic seconds
    front_at: float  # when a claim last started from the front; monotonic seconds
    front_every: float = FRONT_EVERY  # seconds until the next one does

    def moved_to(self, claim: Claim) -> Mark:
        """The mark after a claim that ended there."""
        return replace(self, priority=claim.priority, scheduled_at=claim.scheduled_at, id=claim.job_id)

    def patience_after(self, claims: list[Claim]) -> float:
        """How long to wait after a look to the front that found these."""
        if claims and in_order(claims[0]) < (self.priority, self.scheduled_at, self.id):
            return FRONT_EVERY
        return min(self.front_every * 2, FRONT_AT_LEAST_EVERY)


@dataclass(frozen=True, slots=True)
class Asked:
    """The statements of one claim."""

    request: ClaimRequest

    @property
    def nothing(self) -> bool:
        """Whether the filters let no job through."""
        return (self.request.queues is not None and not self.request.queues) or (
            self.request.names is not None and not self.request.names
        )

    @property
    def may_mark(self) -> bool:
        """Whether one range of one index serves the claim."""
        return self.request.queues is None or len(self.request.queues) == 1

    @property
    def follows_mark(self) -> bool:
        """Whether it goes on where the worker's last claim ended; the few that have crashed sort anywhere."""
        return self.may_mark and not self.request.crashed

    def front(self, mark: Mark | None, limit: int) -> tuple[Any, dict[str, Any]]:
        """The statement that claims from the front."""
        due = self._filtered(sql.FRONT if self.may_mark else sql.FRONT_OF_QUEUES)
        known = -1 if mark is None or not self.may_mark else mark.priority
        return sql.TAKE.format(due=due), {**self._parameters, "known": known, "limit": limit}

    def above(self, mark: Mark) -> tuple[Any, dict[str, Any]]:
        """The statement that claims of the priorities before the mark's."""
        due = self._filtered(sql.FRONT, levels=sql.LEVELS_ABOVE)
        return sql.TAKE.format(due=due), {**self._parameters, "known": mark.priority}

    def after(self, mark: Mark, limit: int) -> tuple[Any, dict[str, Any]]:
        """The statement that claims behind the mark."""
        return sql.TAKE.format(due=self._filtered(sql.AFTER)), {
            **self._parameters,
            "known": mark.priority,
            "limit": limit,
            "scheduled_at": mark.scheduled_at,
            "id": mark.id,
        }

    def next_due(self) -> tuple[Any, dict[str, Any]]:
        """The statement that says how long the first job waits."""
        return self._filtered(sql.NEXT_DUE), {**self._parameters, "known": -1}

    def _filtered(self, statement: str, *, levels: str | None = None) -> str:
        queue = "AND queue = %(queue)s" if self.request.queues is not None and self.may_mark else ""
        filters = queue if self.may_mark else "AND queue = level.queue"
        if self.request.names is not None:
            filters += " AND job_name = ANY(%(names)s)"
        if self.request.skip_own:
            filters += " AND worker_id IS DISTINCT FROM %(worker)s"
        if self.request.crashed is not None:
            filters += " AND crashes > 0" if self.request.crashed else " AND crashes = 0"
        if levels is None:
            levels = sql.LEVELS if self.may_mark else sql.LEVELS_OF_QUEUES
        return statement.format(levels=levels.format(queue=queue), filters=filters)

    @property
    def _parameters(self) -> dict[str, Any]:
        # Each once: of a queue that is named twice, the same rows would be found twice.
        queues = None if self.request.queues is None else list(dict.fromkeys(self.request.queues))
        return {
            "worker": self.request.worker_id,
            "limit": self.request.limit,
            "queues": queues,
            "queue": queues[0] if queues else None,
            "names": None if self.request.names is None else list(self.request.names),
        }


def claims_of(rows: Sequence[Sequence[Any]], worker_id: str) -> list[Claim]:
    """The claims that the rows of TAKE stand for.

    The arguments of all rows are decoded as one JSON text, at a fifth of what one by one costs.
    """
    texts = [row[2] for row in rows]
    try:
        arguments = json.loads(f"[{','.join(texts)}]")
    except (ValueError, RecursionError):  # written by hand: numbers or depths that Python refuses
        arguments = [decoded(text) for text in texts]
    claims = []
    for row, args in zip(rows, arguments, strict=True):
        pk, name, _, queue, priority, attempt, max_attempts, crashes, due, made, context = row
        if context is not None:
            context = decoded(context)
        if due.tzinfo is None:  # USE_TZ is off
            due, made = aware(due), aware(made)
        claims.append(
            Claim(
                pk,
                worker_id,
                attempt,
                name,
                args,
                queue,
                priority,
                max_attempts,
                crashes,
                due,
                made,
                context,
            )
        )
    return claims


def in_order(claim: Claim) -> tuple[int, datetime, str]:
    """The key of the order in which claims are taken."""
    return claim.priority, claim.scheduled_at, claim.job_id
