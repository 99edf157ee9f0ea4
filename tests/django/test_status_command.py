"""``soniq_status``: what it says, on every database, and what it costs."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import pytest
from django.db import connections
from django.test.utils import CaptureQueriesContext

from soniq import Soniq, transitions
from soniq.jobs import ClaimRequest, DeadLetterReason, WorkerInfo
from soniq_django.models import DeadLetterJob, Job, Schedule, Worker
from soniq_django.status import depth, read_status, reading, working
from soniq_django.status import schedules as status_schedules
from soniq_django.status.records import Count
from tests.shop.jobs import resize_picture, send_receipt
from tests.support.commands import Terminal, run
from tests.support.scratch import Project, unreachable_database
from tests.support.vendors import ALIASES, SQLITE
from tests.yard.jobs import noop

pytestmark = pytest.mark.django_db(transaction=True, databases="__all__")


def look(app: Soniq):
    return read_status(app.backend, app.registry, app.settings)


def register(app: Soniq, *, host: str = "web-1", queues: tuple[str, ...] | None = None) -> str:
    """A live worker with two slots."""
    info = WorkerInfo(id=str(uuid4()), hostname=host, pid=4711, concurrency=2, queues=queues)
    app.backend.register(info)
    return info.id


def claim(app: Soniq, worker: str, limit: int = 1):
    return app.backend.claim(ClaimRequest(worker_id=worker, limit=limit))


def age(alias: str, job_id: str, seconds: float) -> None:
    """As if the job had been due for so long."""
    due = datetime.now(UTC) - timedelta(seconds=seconds)
    Job.objects.using(alias).filter(pk=job_id).update(scheduled_at=due)


def test_an_empty_queue_says_so_and_how_to_start(app: Soniq, alias: str) -> None:
    told = run("soniq_status", "--database", alias)

    assert told.code == 0
    assert told.lines[0].startswith(f"Queue on {alias} (")
    assert "Nothing waits, and nothing runs." in told.lines
    assert "No worker is registered. Start one with manage.py soniq_worker." in told.lines
    assert "Last 5 min    0 done, 0 gave up" in told.lines
    assert "Dead letters  none" in told.lines


def test_queues_are_counted_with_the_age_of_their_oldest_job(app: Soniq, alias: str) -> None:
    old = send_receipt.enqueue(order_id=1)
    send_receipt.using(priority=5).enqueue(order_id=2)
    send_receipt.using(scheduled_at=3600).enqueue(order_id=3)
    resize_picture.using(scheduled_at=3600).enqueue(path="a.png")
    age(alias, old, 600)

    status = look(app)
    told = run("soniq_status", "--database", alias)

    emails, pictures = status.queues
    assert (emails.name, emails.due, emails.delayed) == ("emails", Count(2), Count(1))
    assert 600 <= emails.oldest < 660
    assert (pictures.due, pictures.delayed, pictures.oldest) == (Count(0), Count(1), None)
    assert re.search(r"^emails +2 +1 +- +10 min$", told.out, re.MULTILINE)
    assert re.search(r"^pictures +- +1 +- +-$", told.out, re.MULTILINE)


def test_workers_are_shown_with_their_heartbeat_and_what_they_run(app: Soniq, alias: str) -> None:
    worker, lost = register(app), register(app, host="web-2", queues=("emails", "pictures"))
    Worker.objects.using(alias).filter(pk=lost).update(
        last_heartbeat_at=datetime.now(UTC) - timedelta(minutes=10)
    )
    noop.enqueue_many([{}, {}])
    claim(app, worker, 2)

    told = run("soniq_status", "--database", alias)

    assert re.search(r"^web-1:4711 +live +\d s +2 of 2 +all +2 x yard.noop \(\d s\)$", told.out, re.MULTILINE)
    assert re.search(r"^web-2:4711 +lost +10 min +0 of 2 +emails, pictures$", told.out, re.MULTILINE)
    assert re.search(r"^default +- +- +2 +-$", told.out, re.MULTILINE)


def test_every_running_job_has_a_line_with_its_id_on_demand(app: Soniq, alias: str) -> None:
    worker, job_id = register(app), noop.enqueue()
    claim(app, worker)

    assert re.search(
        rf"^  {job_id}  yard.noop \(\d s\)$",
        run("soniq_status", "-v", "2", "--database", alias).out,
        re.MULTILINE,
    )


def test_jobs_of_a_worker_that_is_gone_are_called_orphaned(app: Soniq, alias: str) -> None:
    worker = register(app)
    noop.enqueue()
    claim(app, worker)
    app.backend.deregister(worker)

    assert look(app).orphans == Count(1)
    assert "Orphaned      1 in processing" in run("soniq_status", "--database", alias).out


def test_what_ended_lately_is_counted_and_what_ended_before_is_not(app: Soniq, alias: str) -> None:
    worker = register(app)
    noop.enqueue_many([{}] * 3)
    claims = claim(app, worker, 3)
    done = [transitions.succeed(one, result_json=None, ttl=app.settings.result_ttl) for one in claims[:2]]
    dead = transitions.bury(claims[2], reason=DeadLetterReason.TIMEOUT, error="too slow")
    assert app.backend.apply([*done, dead]) == [True, True, True]
    # Finished an hour ago, with a longer life: it expires when others do that finish now.
    Job.objects.using(alias).filter(pk=claims[0].job_id).update(
        finished_at=datetime.now(UTC) - timedelta(hours=1)
    )

    status = look(app)

    assert (status.throughput.done, status.throughput.dead) == (Count(1), Count(1))
    assert (status.dead_letters.total, status.dead_letters.by_reason) == (Count(1), {"timeout": 1})
    told = run("soniq_status", "--database", alias).out
    assert "Last 5 min    1 done, 1 gave up" in told
    assert "Dead letters  1: timeout 1" in told


def test_due_jobs_without_code_here_are_named(app: Soniq, alias: str) -> None:
    gone = [send_receipt.enqueue(order_id=number) for number in range(2)]
    Job.objects.using(alias).filter(pk__in=gone).update(job_name="shop.gone\x1b[2J")
    age(alias, gone[0], 7200)
    send_receipt.enqueue(order_id=3)

    told = run("soniq_status", "--database", alias).out

    assert "Unknown here  shop.gone\\x1b[2J: 2 due jobs, the first for 2 h" in told
    assert "\x1b" not in told


def test_what_is_not_counted_to_its_end_says_so(app: Soniq, alias: str, monkeypatch) -> None:
    """The caps are lowered: ten thousand rows would prove no more."""
    monkeypatch.setattr(depth, "CAP", 2)
    monkeypatch.setattr(reading, "UNKNOWN_REACH", 2)
    monkeypatch.setattr(reading, "CAP", 1)
    monkeypatch.setattr(working, "REACH", 1)
    worker = register(app)
    noop.enqueue_many([{}] * 2)
    claim(app, worker, 2)
    noop.enqueue_many([{}] * 3)
    for number in range(2):
        DeadLetterJob.objects.using(alias).create(
            id=uuid4(), job_name="x", queue="q", priority=1, args={}, max_attempts=1, attempts=1,
            dead_letter_reason="timeout", original_created_at=datetime.now(UTC), tags=[number],
        )  # fmt: skip

    status = look(app)
    told = run("soniq_status", "--database", alias).out

    [queue] = status.queues
    assert (queue.due, queue.processing) == (Count(2, capped=True), Count(1, capped=True))
    assert status.dead_letters.total == Count(1, capped=True)
    assert status.unknown_reach == 2
    assert "2+" in told
    assert "A number with + is where counting stopped." in told
    assert "Unknown names were looked for among the first 2 due jobs." in told


def test_schedules_are_shown_with_their_rule_and_next_fire_time(app: Soniq, alias: str, settings) -> None:
    settings.TIME_ZONE = "Europe/Berlin"
    app.scheduler.add_now(noop, name="nightly", cron="0 3 * * *", timezone="Europe/Berlin")
    app.scheduler.add_now(noop, name="abroad", cron="0 9 * * 1-5", timezone="Asia/Tokyo")
    app.scheduler.add_now(noop, name="often", every=300)
    app.scheduler.pause_now("often")
    app.scheduler.add_now(noop, name="over", every=60, ends_at=datetime(2020, 1, 1, tzinfo=UTC))
    rows = Schedule.objects.using(alias)
    rows.filter(pk="nightly").update(next_fire_at=datetime(2031, 7, 1, 1, tzinfo=UTC))
    rows.filter(pk="abroad").update(next_fire_at=datetime.now(UTC) - timedelta(hours=3))

    told = run("soniq_status", "--database", alias).out

    assert re.search(r"^nightly +2031-07-01 03:00:00 +- +every day at 03:00$", told, re.MULTILINE)
    assert re.search(
        r"^abroad +due for 3 h +- +Monday to Friday at 09:00 \(Asia/Tokyo\)$", told, re.MULTILINE
    )
    assert re.search(r"^often +paused +- +every 5 minutes$", told, re.MULTILINE)
    assert re.search(r"^over +ended +- +every minute$", told, re.MULTILINE)
    assert [one.name for one in look(app).schedules] == ["abroad", "nightly", "often", "over"]


def test_a_schedule_says_what_became_of_its_last_job(app: Soniq, alias: str) -> None:
    worker = register(app)
    jobs = {}
    for name in ("done", "gave up", "waits", "removed"):
        app.scheduler.add_now(noop, name=name, every=60)
        jobs[name] = app.scheduler.run_now(name)
    first, second, *_ = sorted(claim(app, worker, 4), key=lambda one: list(jobs.values()).index(one.job_id))
    assert app.backend.apply(
        [
            transitions.succeed(first, result_json=None, ttl=60),
            transitions.bury(second, reason=DeadLetterReason.TIMEOUT, error="too slow"),
        ]
    ) == [True, True]
    Job.objects.using(alias).filter(pk=jobs["waits"]).update(status=Job.Status.QUEUED)
    Job.objects.using(alias).filter(pk=jobs["removed"]).delete()
    Schedule.objects.using(alias).filter(pk="done").update(
        last_fire_at=datetime.now(UTC) - timedelta(hours=5)
    )

    told = run("soniq_status", "--database", alias).out
    found = {one["name"]: one for one in look(app).to_dict()["schedules"]}

    assert re.search(r"^done +\S+ \S+ +done, 5 h ago +every minute$", told, re.MULTILINE)
    assert re.search(r"^gave up +\S+ \S+ +gave up \(timeout\) +every minute$", told, re.MULTILINE)
    assert re.search(r"^waits +\S+ \S+ +queued +every minute$", told, re.MULTILINE)
    assert re.search(r"^removed +\S+ \S+ +removed +every minute$", told, re.MULTILINE)
    assert (found["gave up"]["last_outcome"], found["gave up"]["last_reason"]) == ("dead_letter", "timeout")
    assert found["gave up"]["last_job_id"] == jobs["gave up"]


def test_of_very_many_schedules_the_first_are_listed(app: Soniq, alias: str, monkeypatch) -> None:
    monkeypatch.setattr(status_schedules, "MOST_SCHEDULES", 2)
    for name in "abc":
        app.scheduler.add_now(noop, name=name, every=60)

    told = run("soniq_status", "--database", alias).out

    assert "There are more schedules than are listed." in told
    assert [one.name for one in look(app).schedules] == ["a", "b"]


def test_a_look_at_many_jobs_takes_as_many_queries_as_one_at_few(app: Soniq, alias: str) -> None:
    """And each of them has its limit, or is one look-up."""
    send_receipt.enqueue(order_id=1)
    with CaptureQueriesContext(connections[alias]) as few:
        look(app)
    send_receipt.enqueue_many([{"order_id": number} for number in range(500)])
    with CaptureQueriesContext(connections[alias]) as many:
        look(app)

    assert len(many) == len(few)
    ours = [query["sql"] for query in many if "soniq_" in query["sql"]]
    assert [sql for sql in ours if "LIMIT" not in sql] == []


def test_json_is_one_object_with_everything(app: Soniq, alias: str) -> None:
    worker = register(app)
    noop.enqueue()
    claim(app, worker)
    app.scheduler.add_now(noop, name="nightly", cron="0 3 * * *", timezone="Europe/Berlin")

    found = json.loads(run("soniq_status", "--json", "--database", alias).out)

    assert found["queues"][0]["processing"] == {"value": 1, "capped": False}
    assert found["workers"][0]["id"] == worker
    assert found["workers"][0]["jobs"][0]["job_name"] == "yard.noop"
    [schedule] = found["schedules"]
    assert (schedule["rule"], schedule["cron"]) == ("every day at 03:00", "0 3 * * *")
    assert (schedule["timezone"], schedule["status"]) == ("Europe/Berlin", "active")
    assert datetime.fromisoformat(schedule["next_fire_at"]) > datetime.now(UTC)
    assert set(found) >= {"database", "at", "throughput", "dead_letters", "unknown", "orphans"}


def test_colours_are_for_terminals(app: Soniq, alias: str) -> None:
    assert "\x1b[" not in run("soniq_status", "--database", alias).out
    assert "\x1b[" in run("soniq_status", "--force-color", "--database", alias, out=Terminal()).out


def test_lines_fit_the_terminal(app: Soniq, alias: str, monkeypatch) -> None:
    monkeypatch.setenv("COLUMNS", "70")
    worker = register(app, queues=("a",))
    noop.using(queue="a").enqueue()
    resize_picture.using(queue="a").enqueue(path="a")
    send_receipt.using(queue="a").enqueue(order_id=1)
    claim(app, worker, 3)

    told = run("soniq_status", "--no-color", "--database", alias, out=Terminal())

    assert max(map(len, told.lines)) <= 72
    assert any(line.endswith("…") for line in told.lines)


def test_an_unknown_alias_is_refused_with_those_there_are(app: Soniq) -> None:
    told = run("soniq_status", "--database", "nowhere")

    assert told.code == 1
    assert "--database nowhere: DATABASES has no such alias; it has: default" in told.err


@pytest.mark.slow
@pytest.mark.parametrize("alias", SQLITE)
def test_watching_in_a_pipe_writes_block_after_block_until_ctrl_c(alias: str, tmp_path: Path) -> None:
    project = Project(tmp_path)
    with project.start("soniq_status", "--watch", "0.05") as running:
        running.says("Queue on default", times=3)
        running.process.send_signal(signal.SIGINT)

        assert running.ends() == 0, running.output
    assert "Traceback" not in running.output
    assert "\x1b" not in running.output
    assert "\n\nQueue on default" in running.output


@pytest.mark.slow
@pytest.mark.parametrize("alias", SQLITE)
def test_a_reader_that_has_seen_enough_ends_it_quietly(alias: str, tmp_path: Path) -> None:
    """As in ``soniq_status --watch | head -1``."""
    command = f"set -o pipefail; {sys.executable} -W error -m django soniq_status --watch 0.05 | head -n 1"

    result = subprocess.run(
        ["bash", "-c", command],
        env=Project(tmp_path)._environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.startswith("Queue on default")


@pytest.mark.slow
@pytest.mark.parametrize("alias", ALIASES)
def test_a_database_out_of_reach_is_one_line_and_exit_code_2(alias: str, tmp_path: Path) -> None:
    result = Project(tmp_path, database=unreachable_database(alias, tmp_path)).run("soniq_status")

    assert result.returncode == 2
    assert result.stderr.startswith("CommandError: default: ")
    assert "Traceback" not in result.stderr
