"""``soniq_health`` and the view for probes: when they are content, and when they are not."""

from __future__ import annotations

import json
import re
import socket
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import pytest
from django.db import connections
from django.test import Client
from django.urls import path

from soniq import Soniq
from soniq.jobs import ClaimRequest, WorkerInfo
from soniq_django.models import Job, Worker
from soniq_django.status.health import Asked, examine
from soniq_django.views import health as view
from tests.shop.jobs import send_receipt
from tests.support.commands import Told, run
from tests.support.scratch import Project, unreachable_database
from tests.support.vendors import ALIASES, POSTGRES, SQLITE

pytestmark = pytest.mark.django_db(transaction=True, databases="__all__")

urlpatterns = [
    path("health/", view),
    path("emails/", view, {"queues": ["emails"], "max_age": 60, "workers": 2}),
]


def health(alias: str, *arguments: str) -> Told:
    return run("soniq_health", *arguments, "--database", alias)


def register(app: Soniq, *, host: str = "web-1", queues: tuple[str, ...] | None = None) -> str:
    info = WorkerInfo(id=str(uuid4()), hostname=host, pid=1, concurrency=2, queues=queues)
    app.backend.register(info)
    return info.id


def silence(alias: str, worker: str, seconds: float) -> None:
    since = datetime.now(UTC) - timedelta(seconds=seconds)
    Worker.objects.using(alias).filter(pk=worker).update(last_heartbeat_at=since)


def late(alias: str, seconds: float) -> None:
    """A receipt that has been due for so long."""
    job_id = send_receipt.enqueue(order_id=1)
    due = datetime.now(UTC) - timedelta(seconds=seconds)
    Job.objects.using(alias).filter(pk=job_id).update(scheduled_at=due)


def test_a_live_worker_and_nothing_late_is_healthy(app: Soniq, alias: str) -> None:
    register(app)

    assert health(alias) == Told("healthy: 1 worker live, nothing is due\n", "", 0)
    assert health(alias, "-v", "0") == Told("", "", 0)
    late(alias, 120)
    assert health(alias).out == "healthy: 1 worker live, the oldest due job waits for 2 min\n"


def test_no_worker_is_unhealthy(app: Soniq, alias: str) -> None:
    assert health(alias) == Told("unhealthy: no live worker; start manage.py soniq_worker\n", "", 1)
    assert health(alias, "--workers", "0").code == 0


def test_a_silent_worker_does_not_count(app: Soniq, alias: str) -> None:
    worker = register(app)
    silence(alias, worker, app.settings.dead_after + 1)

    assert health(alias).code == 1


def test_fewer_workers_than_wanted_are_unhealthy(app: Soniq, alias: str) -> None:
    register(app)

    told = health(alias, "--workers", "2")

    assert (told.code, told.out) == (1, "unhealthy: 1 worker live, 2 wanted; start manage.py soniq_worker\n")


def test_a_job_that_is_due_for_too_long_is_unhealthy(app: Soniq, alias: str) -> None:
    register(app)
    late(alias, 600)

    told = health(alias)

    assert told.code == 1
    assert told.out == (
        "unhealthy: shop.send_receipt in emails has been due for 10 min, more than 5 min; "
        "see manage.py soniq_status\n"
    )
    assert health(alias, "--max-age", "15min").code == 0
    assert health(alias, "--max-age", "0").code == 0


def test_delayed_and_running_jobs_are_not_late(app: Soniq, alias: str) -> None:
    worker = register(app)
    late(alias, 600)
    app.backend.claim(ClaimRequest(worker_id=worker, limit=1))
    send_receipt.using(scheduled_at=60).enqueue(order_id=1)

    assert health(alias).code == 0


def test_a_queue_is_judged_by_its_own_jobs_and_workers(app: Soniq, alias: str) -> None:
    register(app, queues=("pictures",))
    late(alias, 600)

    assert health(alias, "--queue", "pictures").code == 0
    told = health(alias, "--queue", "emails", "--queue", "pictures")
    assert told.code == 1
    assert "no live worker for the queue emails" in told.out
    assert "pictures" not in told.out
    assert "due for 10 min" in told.out


def test_the_worker_of_this_host_is_probed_by_itself(app: Soniq, alias: str) -> None:
    """Restarting it would not help late jobs: so these do not matter here."""
    register(app, host="another")
    late(alias, 600)
    assert "no live worker on " in health(alias, "--worker").out
    assert health(alias, "--worker", "another").code == 0

    mine = register(app, host=socket.gethostname())
    assert health(alias, "--worker").code == 0
    assert health(alias, "--worker", "--max-age", "60").code == 1
    silence(alias, mine, 60)
    assert health(alias, "--worker").code == 1


def test_json_says_the_same(app: Soniq, alias: str) -> None:
    told = health(alias, "--json")

    found = json.loads(told.out)
    assert (told.code, found["state"], found["workers"]) == (1, "unhealthy", 0)
    assert [problem["code"] for problem in found["problems"]] == ["no_worker"]


def test_a_missing_migration_is_unhealthy(app: Soniq, alias: str) -> None:
    with connections[alias].cursor() as cursor:
        cursor.execute("UPDATE django_migrations SET app = 'other' WHERE app = 'soniq_django'")
    try:
        told = health(alias)
    finally:
        with connections[alias].cursor() as cursor:
            cursor.execute("UPDATE django_migrations SET app = 'soniq_django' WHERE app = 'other'")

    assert told.code == 1
    assert "migrations of soniq_django are not applied: 0001_initial" in told.out


@pytest.mark.slow
@pytest.mark.parametrize("alias", ALIASES)
def test_a_database_out_of_reach_is_unknown_and_exit_code_2(alias: str, tmp_path: Path) -> None:
    result = Project(tmp_path, database=unreachable_database(alias, tmp_path)).run("soniq_health")

    assert result.returncode == 2
    assert result.stdout.startswith("unknown: the database cannot be asked: default: ")
    assert len(result.stdout.splitlines()) == 1


@pytest.mark.parametrize("alias", SQLITE)
def test_an_impossible_option_is_exit_code_2(alias: str) -> None:
    told = run("soniq_health", "--queue", "no queue!")
    assert (told.code, "is no queue name" in told.err) == (2, True)


@pytest.fixture
def probe(alias: str, settings) -> Client:
    settings.SONIQ = {"DATABASE": alias}
    settings.ROOT_URLCONF = __name__
    return Client()


def test_the_view_answers_200_or_503_and_reveals_little(app: Soniq, alias: str, probe: Client) -> None:
    late(alias, 600)
    ill = probe.get("/health/")
    assert (ill.status_code, ill.json()) == (
        503,
        {"status": "unhealthy", "problems": ["late_jobs", "no_worker"]},
    )
    Job.objects.using(alias).all().delete()
    register(app)

    well = probe.get("/health/")

    assert (well.status_code, well.json()) == (200, {"status": "healthy", "problems": []})
    assert "no-store" in well["Cache-Control"]
    assert probe.head("/health/").status_code == 200
    assert probe.post("/health/").status_code == 405


def test_the_view_takes_its_limits_from_the_urlconf(app: Soniq, alias: str, probe: Client) -> None:
    register(app)
    assert probe.get("/emails/").status_code == 503
    register(app)
    assert probe.get("/emails/").status_code == 200
    late(alias, 90)
    assert probe.get("/emails/").json()["problems"] == ["late_jobs"]


@pytest.mark.parametrize("alias", SQLITE)
def test_the_view_needs_no_login_where_all_others_do(app: Soniq, alias: str, probe: Client, settings) -> None:
    settings.MIDDLEWARE = [*settings.MIDDLEWARE, "django.contrib.auth.middleware.LoginRequiredMiddleware"]

    assert probe.get("/health/").status_code == 503


@pytest.mark.parametrize("alias", POSTGRES)
def test_the_oldest_job_is_found_without_reading_the_others(app: Soniq, alias: str) -> None:
    """However many are delayed: each look-up goes to its place in an index."""
    register(app)
    send_receipt.using(scheduled_at=3600).enqueue_many([{"order_id": number} for number in range(3000)])
    late(alias, 600)
    with connections[alias].cursor() as cursor:
        cursor.execute("ANALYZE soniq_jobs")
        cursor.execute(
            "EXPLAIN (ANALYZE, FORMAT JSON) SELECT scheduled_at FROM soniq_jobs WHERE status = 'queued' "
            "AND queue = 'emails' AND priority = 100 AND scheduled_at <= now() "
            "ORDER BY scheduled_at, id LIMIT 1"
        )
        plan = json.dumps(cursor.fetchone()[0])

    assert "soniq_jobs_claim" in plan
    # Either index of claims will do; a plan with a filter says so, though it removed nothing.
    assert sum(map(int, re.findall(r'"Rows Removed by Filter": (\d+)', plan))) == 0
    assert examine(app.backend, app.settings, Asked()).oldest == pytest.approx(600, abs=60)
