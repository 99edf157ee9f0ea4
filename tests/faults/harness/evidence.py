"""Collects what the invariants are checked against, once the workers have stopped."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from soniq_django.models import DeadLetterJob, Job, Worker
from tests.faults.harness.history import HISTORY, claims_by_job
from tests.faults.harness.invariants import Facts

if TYPE_CHECKING:
    from tests.faults.harness.world import World


def gather(world: World, expected_dead: set[str] | None) -> Facts:
    """The facts of a world, from the tables, the history and the ledger."""
    jobs = list(world.rows(Job).values_list("pk", "status", "worker_id", "attempts", "max_attempts"))
    letters = list(world.rows(DeadLetterJob).values_list("pk", "dead_letter_reason", "max_attempts"))
    with world.connection.cursor() as cursor:
        cursor.execute(HISTORY)
        history = claims_by_job(cursor.fetchall())
    return Facts(
        enqueued=world.enqueued,
        done={str(row[0]): (str(row[2]), row[3]) for row in jobs if row[1] == "done"},
        cancelled={str(row[0]) for row in jobs if row[1] == "cancelled"},
        dead={str(row[0]): row[1] for row in letters},
        unfinished={str(row[0]): row[1] for row in jobs if row[1] in ("queued", "processing")},
        claims=history,
        events=world.ledger.events(),
        max_attempts={
            **{str(row[0]): row[4] for row in jobs},
            **{str(row[0]): row[2] for row in letters},
        },
        unable=world.lost.union(*(worker.ids for worker in world.workers if worker.unable)),
        outages=world.outages,
        workers_left={str(pk) for pk in world.rows(Worker).values_list("pk", flat=True)},
        sessions=_sessions_left(world),
        processes=[worker.pid for worker in world.workers if worker.alive],
        expected_dead=expected_dead,
        gone=world.gone,
    )


def _sessions_left(world: World) -> list[str]:
    world.connection.close()
    # A session ends a moment after the process that held it.
    deadline = time.monotonic() + 5
    while (left := world.sessions()) and time.monotonic() < deadline:
        time.sleep(0.05)
    return [left] if left else []
