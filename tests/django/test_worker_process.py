"""The real command, in a real process, with real signals."""

from __future__ import annotations

import gc
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from django.core.management import call_command

from soniq import Soniq
from soniq.interpreter import SWITCH_INTERVAL
from soniq.supervisor import Supervisor
from tests.support.vendors import ONE
from tests.yard.jobs import await_for, count_frozen, fail, in_default_executor, noop, swallow, wait_for

pytestmark = [pytest.mark.slow, pytest.mark.django_db(transaction=True, databases="__all__")]

PATIENCE = 20.0


@pytest.fixture
def start(alias: str, tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Start ``soniq_worker`` on the test's database; whatever still runs at the end is killed."""
    running = []
    settings = tmp_path / "worker_settings.py"
    settings.write_text(
        "from tests.settings import *\n"
        f"SONIQ = {{'DATABASE': {alias!r}, 'SHUTDOWN_TIMEOUT': 1.0, 'POLL_INTERVAL': 0.1}}\n"
    )
    environment = {
        **os.environ,
        "DJANGO_SETTINGS_MODULE": "worker_settings",
        "PYTHONPATH": os.pathsep.join([str(tmp_path), str(Path.cwd())]),
    }

    def start(*arguments: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-W", "error", "-m", "django", "soniq_worker", *arguments],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        running.append(process)
        return process

    yield start
    for process in running:
        process.kill()
        process.communicate()


def until(condition: Callable[[], object], process: subprocess.Popen[str] | None) -> None:
    """Poll for a condition that another process brings about."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        if process is None:
            assert time.monotonic() < deadline
        elif process.poll() is not None or time.monotonic() > deadline:
            process.kill()
            pytest.fail(f"it did not come about; the worker said:\n{process.communicate()[0]}")
        time.sleep(0.02)


def finish(process: subprocess.Popen[str]) -> str:
    output, _ = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, output
    return output


def run(program: str) -> subprocess.CompletedProcess[str]:
    """A program in Python that sets Django up itself, with the settings of the tests."""
    return subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "DJANGO_SETTINGS_MODULE": "tests.settings"},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )


def test_sigterm_lets_running_jobs_finish(app: Soniq, start, tmp_path: Path) -> None:
    """Mid-drain: the running job ends, the others stay queued, nothing is left processing."""
    started, proceed = tmp_path / "started", tmp_path / "proceed"
    held = wait_for.enqueue(started=str(started), proceed=str(proceed))
    process = start("--concurrency", "1")
    until(started.exists, process)
    noop.enqueue_many([{}] * 50)

    process.send_signal(signal.SIGTERM)
    proceed.touch()
    output = finish(process)

    assert app.backend.get_job(held).status == "done", output
    assert app.backend.queue_stats()["processing"] == 0
    assert app.backend.list_workers() == []
    assert "stopping" in output
    assert f"done      yard.wait_for {held}" in output


@pytest.mark.parametrize("job", [wait_for, await_for], ids=["sync", "async"])
def test_what_does_not_finish_in_time_is_given_back(app: Soniq, start, tmp_path: Path, job) -> None:
    """After the shutdown timeout a job is queued again, its attempt not used; the process leaves."""
    started = tmp_path / "started"
    held = job.enqueue(started=str(started), proceed=str(tmp_path / "never"))
    process = start()
    until(started.exists, process)

    process.send_signal(signal.SIGTERM)
    output = finish(process)

    job_row = app.backend.get_job(held)
    assert (job_row.status, job_row.attempts) == ("queued", 0), output


@pytest.mark.parametrize("alias", ONE)
@pytest.mark.parametrize("job", [swallow, in_default_executor], ids=["swallows", "to_thread"])
def test_a_job_that_cannot_be_ended_does_not_keep_the_process(app: Soniq, start, tmp_path: Path, job) -> None:
    """One that swallows its cancellation, or sits in a thread of asyncio's."""
    started = tmp_path / "started"
    held = job.enqueue(started=str(started))
    process = start()
    until(started.exists, process)

    process.send_signal(signal.SIGTERM)
    output, _ = process.communicate(timeout=10)

    assert process.returncode == 0, output
    row = app.backend.get_job(held)
    assert (row.status, row.attempts) == ("queued", 0), output


@pytest.mark.parametrize("alias", ONE)
def test_a_second_signal_leaves_at_once(app: Soniq, start, tmp_path: Path) -> None:
    """Without waiting for the shutdown timeout."""
    started = tmp_path / "started"
    held = await_for.enqueue(started=str(started), proceed=str(tmp_path / "never"))
    process = start()
    until(started.exists, process)

    process.send_signal(signal.SIGINT)
    process.send_signal(signal.SIGTERM)
    output = finish(process)

    assert app.backend.get_job(held).status == "queued", output


def test_a_drain_runs_everything_and_exits(app: Soniq, start) -> None:
    """--run-once ends by itself, quiet but for its log when nobody watches."""
    noop.enqueue_many([{}] * 20)
    broken = fail.enqueue(message="<b>broken</b>")

    output = finish(start("--run-once", "--concurrency", "4"))

    assert app.backend.queue_stats()["done"] == 20
    letter = app.backend.list_dead_letters(_everything())[0]
    assert letter.id == broken
    assert "ValueError: <b>broken</b>" in (letter.last_error or "")
    assert "Stopped after 21 jobs." in output
    assert f"dead      yard.fail {broken} (attempt 1 of 1" in output
    assert "%|" not in output  # no progress bar in a pipe


def test_several_processes_drain_together(app: Soniq, start) -> None:
    """Each job is run once, whoever gets it, and the supervisor leaves when all have."""
    noop.enqueue_many([{}] * 200)

    output = finish(start("--run-once", "--processes", "2"))

    assert app.backend.queue_stats()["done"] == 200
    assert output.count("Stopped after") == 2
    assert sum(int(n) for n in re.findall(r"Stopped after (\d+)", output)) == 200


@pytest.mark.parametrize("alias", ONE)
def test_a_process_that_dies_is_started_anew(app: Soniq, start) -> None:
    """Under --processes, a killed worker is replaced, and SIGTERM stops all."""
    process = start("--processes", "2", "--verbosity", "2")
    until(lambda: len(app.backend.list_workers()) == 2, process)
    victim = app.backend.list_workers()[0]

    os.kill(victim.pid, signal.SIGKILL)
    until(lambda: len(app.backend.list_workers()) == 3, process)
    process.send_signal(signal.SIGTERM)
    output = finish(process)

    assert "ended with signal 9; starting it anew" in output
    assert [worker.id for worker in app.backend.list_workers()] == [victim.id]


@pytest.mark.parametrize("alias", ONE)
def test_workers_stop_when_their_supervisor_is_gone(app: Soniq, start) -> None:
    """Killed without a chance to pass anything on, it leaves no worker behind."""
    process = start("--processes", "2")
    until(lambda: len(app.backend.list_workers()) == 2, process)

    process.kill()
    process.wait()

    until(lambda: not app.backend.list_workers(), None)


def test_a_worker_that_lost_its_interrupt_while_loading_is_stopped_all_the_same(tmp_path: Path) -> None:
    """Python's imports may swallow a SIGINT; its supervisor, told to stop by one, does not rely on that."""
    loading = tmp_path / "loading"
    deaf = "import pathlib, signal, sys, time; signal.signal(signal.SIGINT, signal.SIG_IGN)"
    deaf += "; pathlib.Path(sys.argv[1]).touch(); time.sleep(60)"
    supervisor = Supervisor(
        [sys.executable, "-c", deaf, str(loading)],
        1,
        environment={},
        restart=True,
        shutdown_timeout=30,
    )

    def interrupt() -> None:
        until(loading.exists, None)
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    begun = time.monotonic()
    assert supervisor.run() == 0
    thread.join()
    assert time.monotonic() - begun < PATIENCE


def test_nothing_swallows_an_interrupt_before_the_worker_handles_it() -> None:
    """Such as a callback, which may raise nothing: it ends the program as SIGTERM does."""
    program = """
import os, signal, django
signal.signal(signal.SIGINT, signal.default_int_handler)  # as ever, unless a script runs it in the background
django.setup()
from soniq_django.management.commands.soniq_worker import Command

class Interrupted:
    def __del__(self):
        os.kill(os.getpid(), signal.SIGINT)

class Starting(Command):
    def handle(self, **options):
        Interrupted()
        print("went on")

Starting().run_from_argv(["manage.py", "soniq_worker"])
"""
    done = run(program)
    assert (done.returncode, done.stdout, done.stderr) == (-signal.SIGINT, "", "")


@pytest.mark.parametrize(("chosen", "then"), [(None, SWITCH_INTERVAL), (0.003, 0.003)])
def test_the_database_thread_waits_for_jobs_no_longer_than_need_be(chosen: float | None, then: float) -> None:
    """The interpreter changes hands often, unless the project has said how often."""
    program = f"""
import sys, django
if {chosen}:
    sys.setswitchinterval({chosen})
django.setup()
from soniq_django.management.commands.soniq_worker import Command

class Looking(Command):
    def handle(self, **options):
        print(sys.getswitchinterval())

Looking().run_from_argv(["manage.py", "soniq_worker"])
"""
    done = run(program)
    assert float(done.stdout or "nan") == pytest.approx(then), done.stderr


@pytest.mark.parametrize("alias", ONE)
def test_the_garbage_collector_leaves_what_a_worker_has_loaded_alone(app: Soniq, start) -> None:
    """A full collection would stop all threads for tens of milliseconds, again and again."""
    job = count_frozen.enqueue()

    finish(start("--run-once"))

    assert app.backend.get_job(job).result > 10_000
    assert gc.get_freeze_count() == 0


@pytest.mark.parametrize("alias", ONE)
def test_a_worker_in_another_program_leaves_its_interpreter_alone(app: Soniq) -> None:
    """By call_command it is a part of something else."""
    job, before = count_frozen.enqueue(), sys.getswitchinterval()

    call_command("soniq_worker", run_once=True, verbosity=0)

    assert app.backend.get_job(job).result == 0
    assert sys.getswitchinterval() == before


@pytest.mark.parametrize("alias", ONE)
def test_only_the_named_queues_are_served(app: Soniq, start) -> None:
    """--queues a,b leaves the others alone."""
    there = noop.using(queue="a").enqueue()
    elsewhere = noop.using(queue="c").enqueue()

    finish(start("--run-once", "--queues", "a, b"))

    assert app.backend.get_job(there).status == "done"
    assert app.backend.get_job(elsewhere).status == "queued"


def test_the_banner_says_what_runs(app: Soniq, start, alias: str) -> None:
    """Database, queues, concurrency and jobs, before the first job."""
    process = start("--concurrency", "3", "--queues", "emails")
    until(app.backend.list_workers, process)

    process.send_signal(signal.SIGTERM)
    output = finish(process)

    assert f"database     {alias}" in output
    assert "queues       emails" in output
    assert "concurrency  3" in output
    assert "yard.noop" in output


def _everything():
    from soniq import DeadLetterFilter

    return DeadLetterFilter()
