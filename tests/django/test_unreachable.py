"""A database that cannot be reached is unavailable, whatever is asked of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.db import connections

from soniq import BackendUnavailable
from soniq.ids import uuid7
from soniq.jobs import ClaimRequest, WorkerInfo
from soniq.testing.conformance.support import new_job
from soniq.transitions import cancel
from soniq_django.backend import DjangoBackend
from tests.support.scratch import unreachable_database
from tests.support.vendors import ALIASES

AWAY = "away"
WORKER = str(uuid7())
REQUEST = ClaimRequest(worker_id=WORKER, limit=1)
CHANGES = [cancel(str(uuid7()), ttl=60)]

CALLS: dict[str, Callable[[DjangoBackend], Any]] = {
    "enqueue": lambda backend: backend.enqueue([new_job()]),
    "enqueue many": lambda backend: backend.enqueue(new_job() for _ in range(30)),
    "claim": lambda backend: backend.claim(REQUEST),
    "apply": lambda backend: backend.apply(CHANGES),
    "exchange": lambda backend: backend.exchange(CHANGES, REQUEST),
    "next_due": lambda backend: backend.next_due(),
    "register": lambda backend: backend.register(
        WorkerInfo(id=WORKER, hostname="host", pid=1, concurrency=1)
    ),
    "beat": lambda backend: backend.beat(WORKER),
    "deregister": lambda backend: backend.deregister(WORKER),
    "orphans": lambda backend: backend.orphans(dead_after=45.0, limit=10),
    "held": lambda backend: backend.held(WORKER),
    "forget_workers": lambda backend: backend.forget_workers(dead_after=45.0),
    "get_job": lambda backend: backend.get_job(WORKER),
    "queue_stats": lambda backend: backend.queue_stats(),
}


@pytest.fixture
def backend(alias: str, tmp_path: Path, django_db_blocker: Any) -> Iterator[DjangoBackend]:
    """On a database like that of the alias, where no server listens."""
    database = unreachable_database(alias, tmp_path)
    connections.settings[AWAY] = connections.configure_settings({"default": database})["default"]
    with django_db_blocker.unblock():
        yield DjangoBackend(AWAY)
        connections[AWAY].close()
    del connections[AWAY]
    del connections.settings[AWAY]


@pytest.mark.parametrize("alias", ALIASES)
@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_a_database_out_of_reach_is_unavailable_to_every_call(
    backend: DjangoBackend, call: Callable[[DjangoBackend], Any]
) -> None:
    with pytest.raises(BackendUnavailable, match=f"^{AWAY}: "):
        call(backend)
