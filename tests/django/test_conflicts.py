"""PostgreSQL gives up a transaction for the sake of others: it raises 40001 or 40P01."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import psycopg
import pytest
from django.db import connections, transaction

from soniq import BackendConflict
from soniq.ids import uuid7
from soniq.jobs import Claim, ClaimRequest, WorkerInfo
from soniq.testing.conformance.support import new_job
from soniq.transitions import cancel, succeed
from soniq_django.backend import DjangoBackend
from soniq_django.models import Job
from soniq_django.store.conflicts import TRIES
from soniq_django.store.orm import OrmStatements
from tests.support.vendors import POSTGRES

pytestmark = [
    pytest.mark.django_db(transaction=True, databases="__all__"),
    pytest.mark.parametrize("alias", POSTGRES),
]

PATIENCE = 20.0  # seconds
STATES = {"serialization failure": "40001", "deadlock": "40P01"}


class PlainBackend(DjangoBackend):
    """The store that has no SQL of its own, on PostgreSQL: what psycopg 2 gets, and tests that hold time."""

    @property
    def _statements(self) -> OrmStatements:
        return self._plain


@pytest.fixture(params=[DjangoBackend, PlainBackend], ids=["SQL", "ORM"])
def backend(request: pytest.FixtureRequest, alias: str) -> DjangoBackend:
    store: DjangoBackend = request.param(alias, notify=request.param is DjangoBackend)
    return store


def run(alias: str, *statements: str) -> None:
    with connections[alias].cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)


@pytest.fixture
def give_up(alias: str) -> Iterator[Callable[..., Callable[[], int]]]:
    """Has the server give up so many statements that write jobs, after some that it lets through.

    Gives what counts them so far.
    """

    def begin(state: str, times: int, after: int = 0) -> Callable[[], int]:
        run(
            alias,
            "CREATE SEQUENCE given_up",  # keeps its count when a transaction is rolled back
            f"""
            CREATE FUNCTION give_up() RETURNS trigger LANGUAGE plpgsql AS $$
            DECLARE number bigint := nextval('given_up');
            BEGIN
                IF number BETWEEN {after + 1} AND {after + times} THEN
                    RAISE EXCEPTION 'given up for others' USING ERRCODE = '{state}';
                END IF;
                RETURN NULL;
            END $$""",
            "CREATE TRIGGER give_up BEFORE INSERT OR UPDATE OR DELETE ON soniq_jobs"
            " FOR EACH STATEMENT EXECUTE FUNCTION give_up()",
        )

        def count() -> int:
            with connections[alias].cursor() as cursor:
                cursor.execute("SELECT CASE WHEN is_called THEN last_value ELSE 0 END FROM given_up")
                return int(cursor.fetchone()[0])

        return count

    yield begin
    connections[alias].close()
    run(
        alias,
        "DROP TRIGGER IF EXISTS give_up ON soniq_jobs",
        "DROP FUNCTION IF EXISTS give_up",
        "DROP SEQUENCE IF EXISTS given_up",
    )


@pytest.mark.parametrize("state", STATES.values(), ids=STATES)
@pytest.mark.parametrize("jobs", [1, 30])
def test_an_enqueue_is_made_again_until_it_is_stored_once(
    backend: DjangoBackend, give_up: Callable[..., Callable[[], int]], state: str, jobs: int
) -> None:
    """One job by one statement, many by COPY or by several."""
    tried = give_up(state, TRIES - 1)

    ids = backend.enqueue([new_job() for _ in range(jobs)])

    assert tried() == TRIES
    assert sorted(ids) == sorted(
        str(pk) for pk in Job.objects.using(backend.alias).values_list("pk", flat=True)
    )
    assert len(ids) == jobs


@pytest.mark.parametrize("state", STATES.values(), ids=STATES)
def test_an_enqueue_that_is_given_up_again_and_again_is_told_and_not_stored(
    backend: DjangoBackend, give_up: Callable[..., Callable[[], int]], state: str
) -> None:
    """Five times, not for ever; the connection is of use afterwards."""
    tried = give_up(state, 100)

    with pytest.raises(BackendConflict, match="given up for others"):
        backend.enqueue([new_job()])

    assert tried() == TRIES
    assert not Job.objects.using(backend.alias).exists()


@pytest.mark.parametrize("within", ["atomic", "a transaction by hand"])
def test_a_transaction_of_the_caller_is_the_callers_to_begin_anew(
    backend: DjangoBackend, give_up: Callable[..., Callable[[], int]], within: str
) -> None:
    """Nothing of it is left to which an enqueue could belong."""
    alias = backend.alias
    tried = give_up("40001", 1)
    if within == "atomic":
        with pytest.raises(BackendConflict), transaction.atomic(using=alias):
            backend.enqueue([new_job()])
    else:
        transaction.set_autocommit(False, using=alias)
        with pytest.raises(BackendConflict):
            backend.enqueue([new_job()])
        transaction.rollback(using=alias)
        transaction.set_autocommit(True, using=alias)
    assert tried() == 1

    with transaction.atomic(using=alias):
        backend.enqueue([new_job()])
    assert Job.objects.using(alias).count() == 1


def one_claim(backend: DjangoBackend) -> Claim:
    worker = WorkerInfo(id=str(uuid7()), hostname="host", pid=1, concurrency=1)
    backend.register(worker)
    [claim] = backend.claim(ClaimRequest(worker_id=worker.id, limit=1))
    return claim


@pytest.mark.parametrize("state", STATES.values(), ids=STATES)
def test_a_claim_and_an_outcome_that_are_given_up_leave_the_job_as_it_was(
    backend: DjangoBackend, give_up: Callable[..., Callable[[], int]], state: str
) -> None:
    """It is a conflict, which a worker tries again, and no attempt has been used."""
    backend.enqueue([new_job(), new_job()])
    claim = one_claim(backend)
    request = ClaimRequest(worker_id=claim.worker_id, limit=1)
    done = succeed(claim, result_json="null", ttl=60)
    give_up(state, 3)

    for call in (
        lambda: backend.claim(request),
        lambda: backend.apply([done]),
        lambda: backend.exchange([done], request),
    ):
        with pytest.raises(BackendConflict, match="given up for others"):
            call()
    jobs = Job.objects.using(backend.alias)
    assert sorted(jobs.values_list("status", "attempts")) == [("processing", 1), ("queued", 0)]

    [applied], [other] = backend.exchange([done], request)
    assert (applied, other.attempt) == (True, 1)
    assert sorted(jobs.values_list("status", "attempts")) == [("done", 1), ("processing", 1)]


def test_what_a_claim_took_before_it_was_given_up_is_told(
    alias: str, give_up: Callable[..., Callable[[], int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A claim outside of a transaction may be several statements; each that came through is committed.

    The worker would beat on, so nobody would ever rescue jobs of which it does not know.
    """
    postgres = pytest.importorskip("soniq_django.store.postgres", reason="needs psycopg")
    for name in ("ABOVE_EVERY", "FRONT_EVERY"):
        monkeypatch.setattr(postgres, name, 600.0)
    backend = DjangoBackend(alias)
    backend.enqueue([new_job()])
    worker_id = one_claim(backend).worker_id
    ids = backend.enqueue([new_job(), new_job()])
    tried = give_up("40001", 1, after=1)

    claims = backend.claim(ClaimRequest(worker_id=worker_id, limit=5))

    assert tried() == 2
    assert sorted(claim.job_id for claim in claims) == sorted(ids)
    assert not Job.objects.using(alias).filter(status="queued").exists()


@contextmanager
def repeatable_read(alias: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What the project's OPTIONS may ask for."""
    monkeypatch.setitem(
        connections.settings[alias]["OPTIONS"], "isolation_level", psycopg.IsolationLevel.REPEATABLE_READ
    )
    connections[alias].close()
    yield
    connections[alias].close()


def test_of_two_that_enqueue_a_unique_job_at_once_both_get_the_one_that_is_there(
    alias: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At REPEATABLE READ the second waits for the first, and is then given up: it did not see its row."""
    backend = DjangoBackend(alias)
    answers: list[list[str]] = []
    with repeatable_read(alias, monkeypatch), transaction.atomic(using=alias):
        [first] = backend.enqueue([new_job(unique_key="k" * 64)])

        def second() -> None:
            try:
                answers.append(backend.enqueue([new_job(unique_key="k" * 64)]))
            finally:
                connections.close_all()

        thread = threading.Thread(target=second)
        thread.start()
        wait_until_blocked(alias)
    thread.join(PATIENCE)

    assert answers == [[first]]


BLOCKED = (
    "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
)


def wait_until_blocked(alias: str) -> None:
    """Until another session waits for a lock that ours has."""
    settled = threading.Event()
    parameters = connections[alias].get_connection_params()
    parameters.pop("cursor_factory", None)
    with psycopg.connect(**parameters, autocommit=True) as session:
        for _ in range(int(PATIENCE / 0.01)):
            if session.execute(BLOCKED).fetchone()[0]:
                return
            settled.wait(0.01)
    pytest.fail("nobody was blocked")


def test_a_cancellation_that_is_given_up_is_told(
    backend: DjangoBackend, give_up: Callable[..., Callable[[], int]]
) -> None:
    """The job waits on, and the second call does it."""
    [job_id] = backend.enqueue([new_job()])
    give_up("40001", 1)

    with pytest.raises(BackendConflict):
        backend.apply([cancel(job_id, ttl=60)])

    assert Job.objects.using(backend.alias).get(pk=job_id).status == "queued"
    assert backend.apply([cancel(job_id, ttl=60)]) == [True]
