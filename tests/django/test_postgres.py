"""What the hand-written SQL promises beyond the contract: its plans, and its place in the queue."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
from django.db import connections, transaction

from soniq.execution import Outcome
from soniq.ids import uuid7
from soniq.jobs import ClaimRequest
from soniq.outcomes import exchange
from soniq.testing.conformance.support import new_jobs, new_worker
from soniq.transitions import succeed
from soniq_django.backend import DjangoBackend
from soniq_django.models import Job
from soniq_django.store import claiming, sql
from soniq_django.store.claiming import ABOVE_EVERY, FRONT_EVERY, Asked, Mark
from soniq_django.store.recording import Group, grouped
from tests.support.vendors import POSTGRES

pytestmark = [
    pytest.mark.django_db(transaction=True, databases="__all__"),
    pytest.mark.parametrize("alias", POSTGRES),
]


def plan(alias: str, statement: str, parameters: dict[str, Any]) -> list[dict[str, Any]]:
    """All nodes of the plan of a statement."""
    connection = connections[alias]
    connection.ensure_connection()
    with transaction.atomic(using=alias), psycopg.Cursor(connection.connection) as cursor:
        cursor.execute(sql.SETTINGS, {"local": True})
        cursor.execute(f"EXPLAIN (FORMAT JSON) {statement}", parameters)
        found = cursor.fetchone()[0]
        transaction.set_rollback(True, using=alias)
    nodes = []
    waiting = [entry["Plan"] for entry in found]
    while waiting:
        node = waiting.pop()
        nodes.append(node)
        waiting += node.get("Plans", [])
    return nodes


@pytest.mark.parametrize("analyzed", [False, True], ids=["no statistics", "statistics"])
@pytest.mark.parametrize("queues", [None, ("default",), ("default", "emails")], ids=str)
@pytest.mark.parametrize("kind", ["front", "above", "after"])
def test_a_claim_walks_the_claim_index_and_sorts_nothing_but_its_answer(
    alias: str, kind: str, queues: tuple[str, ...] | None, analyzed: bool
) -> None:
    """No scan of the table, whatever finished, delayed and waiting rows are in it."""
    if kind != "front" and queues is not None and len(queues) > 1:
        pytest.skip("several queues are always claimed from the front")
    backend = DjangoBackend(alias, notify=False)
    backend.enqueue(new_jobs(3000))
    backend.enqueue(new_jobs(3000, delay=3600.0))
    backend.enqueue(new_jobs(3000, queue="emails", priority=5))
    Job.objects.using(alias).filter(queue="emails").update(status="done")
    if analyzed:
        with connections[alias].cursor() as cursor:
            cursor.execute("ANALYZE soniq_jobs")
    request = ClaimRequest(worker_id=str(uuid7()), limit=100, queues=queues, names=("work", "other"))
    asked = Asked(request)
    last = Job.objects.using(alias).filter(status="queued").order_by("id")[10]
    mark = Mark(100, last.scheduled_at, str(last.pk), time.monotonic(), time.monotonic())
    statements = {
        "front": lambda: asked.front(mark, 100),
        "above": lambda: asked.above(mark),
        "after": lambda: asked.after(mark, 100),
    }
    statement = statements[kind]()

    nodes = plan(alias, *statement)

    scanned = [node for node in nodes if node.get("Relation Name") == "soniq_jobs"]
    assert not [node for node in scanned if node["Node Type"] == "Seq Scan"]
    indexes = {node.get("Index Name") for node in scanned if "Index Name" in node}
    assert indexes <= {"soniq_jobs_claim", "soniq_jobs_claim_queue", "soniq_jobs_pkey"}
    sorts = [node for node in nodes if "Sort" in node["Node Type"]]
    assert len(sorts) == (1 if queues is not None and len(queues) > 1 else 0)


@pytest.mark.parametrize("analyzed", [False, True], ids=["no statistics", "statistics"])
@pytest.mark.parametrize("result", [None, "7"], ids=["no results", "results"])
def test_outcomes_find_their_rows_by_the_primary_key(alias: str, result: str | None, analyzed: bool) -> None:
    """Not by the index of what the worker holds, in which each id would be compared with each row."""
    backend = DjangoBackend(alias, notify=False)
    mine = new_worker(backend)
    backend.enqueue(new_jobs(3000))
    claims = backend.claim(ClaimRequest(worker_id=mine, limit=2000))
    if analyzed:
        with connections[alias].cursor() as cursor:
            cursor.execute("ANALYZE soniq_jobs")
    [group], _ = grouped([succeed(claim, result_json=result, ttl=60.0) for claim in claims[:1000]])

    nodes = plan(alias, *group.statement())

    assert [node["Index Name"] for node in nodes if "Index Name" in node] == ["soniq_jobs_pkey"]


def test_a_visit_claims_before_it_puts_together_what_to_record(alias: str, monkeypatch) -> None:
    """So the database is at work meanwhile."""
    backend = DjangoBackend(alias, notify=False)
    mine = new_worker(backend)
    backend.enqueue(new_jobs(4))
    request = ClaimRequest(worker_id=mine, limit=2)
    done = [succeed(claim, result_json=None, ttl=60.0) for claim in backend.claim(request)]
    order: list[str] = []
    execute, statement = psycopg.Cursor.execute, Group.statement

    def executed(self: Any, query: str, *args: Any, **kwargs: Any) -> Any:
        order.append("claim" if "status = 'processing', worker_id" in query else "other")
        return execute(self, query, *args, **kwargs)

    def put_together(self: Group) -> Any:
        order.append("record")
        return statement(self)

    monkeypatch.setattr(psycopg.Cursor, "execute", executed)
    monkeypatch.setattr(Group, "statement", put_together)

    applied, claims = backend.exchange(done, request)

    assert (applied, len(claims)) == ([True, True], 2)
    assert order.index("claim") < order.index("record")


def test_a_claim_goes_on_behind_its_mark_and_looks_to_the_front_in_time(alias: str) -> None:
    """A job that sorts before the mark is found long before the jobs behind the mark are used up."""
    backend = DjangoBackend(alias, notify=False)
    mine = new_worker(backend)
    backend.enqueue(new_jobs(2000))
    backend.claim(ClaimRequest(worker_id=mine, limit=1))
    [urgent] = backend.enqueue(new_jobs(1, priority=1))

    behind = 0
    while urgent not in (
        taken := [claim.job_id for claim in backend.claim(ClaimRequest(worker_id=mine, limit=1))]
    ):
        behind += len(taken)

    assert behind < 1000
    assert ABOVE_EVERY < 0.1


def test_a_job_that_sorts_before_the_mark_in_its_priority_is_found_long_before_the_end(
    alias: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An enqueue may take long to commit; then its time is earlier than that of jobs already claimed."""
    monkeypatch.setattr(claiming, "FRONT_AT_LEAST_EVERY", 0.1)
    backend = DjangoBackend(alias, notify=False)
    mine = new_worker(backend)
    backend.enqueue(new_jobs(4000))
    backend.claim(ClaimRequest(worker_id=mine, limit=1))
    [late] = backend.enqueue(new_jobs(1, scheduled_at=datetime.now(UTC) - timedelta(hours=1)))

    behind = 0
    while late not in (
        taken := [claim.job_id for claim in backend.claim(ClaimRequest(worker_id=mine, limit=1))]
    ):
        behind += len(taken)

    assert behind < 3000


def test_looks_to_the_front_get_rare_until_one_finds_a_job_before_the_mark(alias: str) -> None:
    backend = DjangoBackend(alias, notify=False)
    backend.enqueue(new_jobs(3))
    first, second, third = backend.claim(ClaimRequest(worker_id=new_worker(backend), limit=3))
    mark = Mark(100, second.scheduled_at, second.job_id, 0.0, 0.0)
    waits = []
    for _ in range(6):
        mark = replace(mark, front_every=mark.patience_after([third]))
        waits.append(mark.front_every)

    assert waits == [0.1, 0.2, 0.4, 0.8, 1.0, 1.0]
    assert mark.patience_after([first, third]) == FRONT_EVERY


def test_a_claim_that_finds_too_few_behind_its_mark_looks_to_the_front(alias: str) -> None:
    """Fewer than asked for means that there are no more, so the worker may rest."""
    backend = DjangoBackend(alias, notify=False)
    mine = new_worker(backend)
    backend.enqueue(new_jobs(10))
    backend.claim(ClaimRequest(worker_id=mine, limit=5))
    [early] = backend.enqueue(new_jobs(1, priority=1))

    taken = [claim.job_id for claim in backend.claim(ClaimRequest(worker_id=mine, limit=9))]

    assert early in taken
    assert len(taken) == 6


def test_one_outcome_that_the_database_refuses_does_not_hold_up_the_others(alias: str) -> None:
    """In a pipeline, too, the error is that of the statement that failed, and the batch is done singly."""
    backend = DjangoBackend(alias, notify=False)
    mine = new_worker(backend)
    backend.enqueue(new_jobs(2, max_attempts=2))
    good, bad = backend.claim(ClaimRequest(worker_id=mine, limit=2))
    outcomes = [
        Outcome(good, succeed(good, result_json="1", ttl=60)),
        Outcome(bad, succeed(bad, result_json='"\\u0000"', ttl=60)),
    ]

    answers, _ = exchange(backend, outcomes, ClaimRequest(worker_id=mine, limit=5))

    assert answers == [True, True]
    assert backend.get_job(good.job_id).status == "done"
    refused = backend.get_job(bad.job_id)
    assert refused.status == "queued"
    assert "could not be stored" in refused.last_error


def test_the_jobs_table_is_vacuumed_as_a_queue_needs_it(alias: str) -> None:
    """A migration says so to PostgreSQL, as its defaults are made for tables that rest."""
    with connections[alias].cursor() as cursor:
        cursor.execute("SELECT unnest(reloptions) FROM pg_class WHERE oid = 'soniq_jobs'::regclass")
        options = dict(option.split("=") for (option,) in cursor.fetchall())

    assert float(options["autovacuum_vacuum_scale_factor"]) < 0.2
    assert options["vacuum_truncate"] == "off"


def test_a_plan_that_was_made_for_an_empty_table_serves_a_full_one(alias: str) -> None:
    """A worker's claim is planned once; it reads what it takes, whatever has been stored since."""
    backend = DjangoBackend(alias)
    mine = new_worker(backend)
    subscription = backend.subscribe(lambda queue: None)
    try:
        wait_for(lambda: subscription.healthy)
        for _ in range(10):
            assert backend.claim(ClaimRequest(worker_id=mine, limit=10, names=["work"])) == []
        backend.enqueue(new_jobs(5000, delay=3600.0))
        backend.enqueue(new_jobs(5000))
        before = rows_read(alias)

        assert len(backend.claim(ClaimRequest(worker_id=mine, limit=10, names=["work"]))) == 10

        by_scan, by_index = (now - then for now, then in zip(rows_read(alias), before, strict=True))
        assert by_scan == 0
        assert by_index < 100
        with connections[alias].cursor() as cursor:
            cursor.execute("SELECT sum(generic_plans), sum(custom_plans) FROM pg_prepared_statements")
            generic, custom = cursor.fetchone()
        assert (generic > 5, custom) == (True, 0)
    finally:
        subscription.close()


def test_a_claim_is_planned_anew_where_sessions_may_not_be_ours(alias: str) -> None:
    """Without a listener there may be a pooler, and a prepared statement would end up with somebody else."""
    backend = DjangoBackend(alias, notify=False)
    mine = new_worker(backend)
    for _ in range(10):
        backend.claim(ClaimRequest(worker_id=mine, limit=10))

    with connections[alias].cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_prepared_statements")
        assert cursor.fetchone() == (0,)


def rows_read(alias: str) -> tuple[int, int]:
    """Rows of the jobs table that this session has read so far, by scans of the table and by index."""
    with connections[alias].cursor() as cursor:
        cursor.execute("SELECT pg_stat_force_next_flush()")
        cursor.execute(
            "SELECT seq_tup_read, idx_tup_fetch FROM pg_stat_user_tables WHERE relname = 'soniq_jobs'"
        )
        return cursor.fetchone()  # type: ignore[no-any-return]  # a row is untyped


def wait_for(predicate: Callable[[], bool]) -> None:
    """Until it is true, for 10 seconds at most."""
    deadline = time.monotonic() + 10
    while not predicate():
        assert time.monotonic() < deadline
        time.sleep(0.01)
