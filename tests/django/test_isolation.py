"""A worker claims at READ COMMITTED, whatever a session starts with."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections import Counter
from collections.abc import Iterator

import psycopg
import pytest
from django.db import connections, transaction
from django.test.utils import CaptureQueriesContext

from soniq import Soniq
from soniq.ids import uuid7
from soniq.jobs import ClaimRequest, NewJob, WorkerInfo
from soniq_django.backend import DjangoBackend
from soniq_django.connections import DjangoEnvironment
from tests.support.vendors import POSTGRES

JOBS = 400
LEVELS = ["repeatable read", "serializable"]

pytestmark = [
    pytest.mark.django_db(transaction=True, databases="__all__"),
    pytest.mark.parametrize("alias", POSTGRES),
]


@pytest.fixture(params=LEVELS)
def by_server(request: pytest.FixtureRequest, alias: str) -> Iterator[str]:
    """New sessions on the test's database start at this level."""
    connection = connections[alias]
    name = connection.ops.quote_name(connection.settings_dict["NAME"])
    with connection.cursor() as cursor:
        cursor.execute(f"ALTER DATABASE {name} SET default_transaction_isolation TO '{request.param}'")
    connection.close()
    yield request.param
    connection.close()
    with connection.cursor() as cursor:
        cursor.execute(f"ALTER DATABASE {name} RESET default_transaction_isolation")
    connection.close()


@pytest.fixture(params=LEVELS)
def by_options(request: pytest.FixtureRequest, alias: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The project's OPTIONS ask for it, so the driver writes it into each BEGIN."""
    wanted = psycopg.IsolationLevel[request.param.replace(" ", "_").upper()]
    monkeypatch.setitem(connections.settings[alias]["OPTIONS"], "isolation_level", wanted)
    connections[alias].close()
    yield request.param
    connections[alias].close()


def drain_with_two_workers(alias: str) -> Counter[str]:
    """How often each job ran."""
    ran: Counter[str] = Counter()
    lock = threading.Lock()
    together = threading.Barrier(2)

    def drain() -> None:
        app = Soniq(backend=DjangoBackend(alias, notify=False), environment=DjangoEnvironment())

        @app.job(name="work")
        async def work(number: int) -> None:
            with lock:
                ran[str(number)] += 1

        together.wait(10)
        asyncio.run(app.run_worker(run_once=True, concurrency=4))

    workers = [threading.Thread(target=drain) for _ in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    return ran


def assert_a_quiet_drain(alias: str, caplog: pytest.LogCaptureFixture) -> None:
    """Each job runs once, and nothing is given up because of the other worker."""
    caplog.set_level(logging.INFO, "soniq.worker")
    jobs = [
        NewJob(str(uuid7()), "work", f'{{"number": {n}}}', "default", 100, max_attempts=1)
        for n in range(JOBS)
    ]
    DjangoBackend(alias, notify=False).enqueue(jobs)

    ran = drain_with_two_workers(alias)

    assert ran == Counter({str(n): 1 for n in range(JOBS)})
    assert [r.getMessage() for r in caplog.records if r.levelno > logging.INFO] == []
    assert [r.getMessage() for r in caplog.records if "in the way" in r.getMessage()] == []


def test_two_workers_are_not_in_each_others_way_whatever_the_server_says(
    alias: str, by_server: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A level of the server, of the database or of the role is that of sessions that name none."""
    assert_a_quiet_drain(alias, caplog)


def test_two_workers_are_not_in_each_others_way_whatever_the_options_say(
    alias: str, by_options: str, caplog: pytest.LogCaptureFixture
) -> None:
    """OPTIONS['isolation_level'] is for the project's own transactions."""
    assert_a_quiet_drain(alias, caplog)


@pytest.mark.parametrize("prepared", [False, True])
def test_statements_of_a_worker_that_need_no_transaction_run_at_read_committed_too(
    alias: str, by_server: str, prepared: bool
) -> None:
    """A claim alone has no BEGIN that could say so; it gets one, or a session that is set up."""
    backend = DjangoBackend(alias, notify=False)
    if prepared:
        backend._statements.sessions.proven_by(lambda: True)
    info = WorkerInfo(id=str(uuid7()), hostname="host", pid=1, concurrency=1)
    backend.register(info)
    backend.enqueue([NewJob(str(uuid7()), "work", "{}", "default", 100, max_attempts=1)])

    with CaptureQueriesContext(connections[alias]) as queries:
        assert len(backend.claim(ClaimRequest(worker_id=info.id, limit=5))) == 1
    with connections[alias].cursor() as cursor:
        cursor.execute("SHOW transaction_isolation")
        alone = cursor.fetchone()[0]

    begun = [query["sql"] for query in queries if query["sql"] == "BEGIN"]
    assert (alone, len(begun)) == (("read committed", 0) if prepared else (by_server, 1))


def test_a_transaction_of_the_caller_keeps_its_level(alias: str, by_options: str) -> None:
    """Only a worker's own sessions are changed, not those that enqueue and look."""
    backend = DjangoBackend(alias, notify=False)
    backend.enqueue([NewJob(str(uuid7()), "work", "{}", "default", 100, max_attempts=1)])

    with transaction.atomic(using=alias), connections[alias].cursor() as cursor:
        cursor.execute("SHOW transaction_isolation")
        found = cursor.fetchone()[0]
        backend.next_due()

    assert found == by_options
