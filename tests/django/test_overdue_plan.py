"""Every worker asks for overdue jobs now and then, so that must cost the same on a table of any size."""

from __future__ import annotations

import json

import pytest
from django.db import connections
from django.test.utils import CaptureQueriesContext

from soniq_django.backend import DjangoBackend
from tests.support.vendors import POSTGRES

pytestmark = [
    pytest.mark.django_db(transaction=True, databases="__all__"),
    pytest.mark.parametrize("alias", POSTGRES),
]

FILL = """
    INSERT INTO soniq_jobs (id, job_name, queue, priority, status, args, attempts, max_attempts,
                            crashes, scheduled_at, created_at, updated_at, producer_id)
    SELECT gen_random_uuid(), 'shop.known', %s, %s, %s, '{}', 0, 1, 0, now() + %s::interval, now(), now(), ''
    FROM generate_series(1, 20000)
"""
LIMIT = 50


@pytest.mark.slow
@pytest.mark.parametrize("queues", [None, ("a",), ("a", "b")], ids=str)
def test_looking_for_overdue_jobs_reads_no_more_than_it_returns(alias: str, queues) -> None:
    """Whatever is delayed, done, or waits in other queues; priority by priority from a claim index."""
    with connections[alias].cursor() as cursor:
        for queue, priority, status, due in (
            ("a", 1, "queued", "1 hour"),
            ("a", 100, "queued", "-1 hour"),
            ("b", 100, "queued", "-1 hour"),
            ("c", 50, "queued", "1 hour"),
            ("a", 100, "done", "-1 hour"),
        ):
            cursor.execute(FILL, [queue, priority, status, due])
        cursor.execute("VACUUM ANALYZE soniq_jobs")
    backend = DjangoBackend(alias)

    with CaptureQueriesContext(connections[alias]) as captured:
        found = backend.overdue(seconds=60, limit=LIMIT, queues=queues)

    assert len(found) == LIMIT
    assert 0 < len(captured) <= 8
    for query in captured.captured_queries:
        for node in nodes_of(alias, query["sql"]):
            assert node["Node Type"] != "Seq Scan", query["sql"]
            read = node.get("Actual Rows", 0) + node.get("Rows Removed by Filter", 0)
            assert read <= LIMIT, (node, query["sql"])
            if "Index Name" in node:
                assert node["Index Name"] in ("soniq_jobs_claim", "soniq_jobs_claim_queue")


def nodes_of(alias: str, statement: str) -> list[dict]:
    """All nodes of the plan with which the statement was run."""
    with connections[alias].cursor() as cursor:
        cursor.execute(f"EXPLAIN (ANALYZE, FORMAT JSON) {statement}")
        [answer] = cursor.fetchone()
    waiting = [entry["Plan"] for entry in (json.loads(answer) if isinstance(answer, str) else answer)]
    nodes = []
    while waiting:
        node = waiting.pop()
        nodes.append(node)
        waiting += node.get("Plans", [])
    return nodes
