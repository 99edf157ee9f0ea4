"""Signals to a real process: it drains, or leaves at once, and holds no job when it is gone."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from soniq import Soniq
from soniq.testing import wait_until
from tests.support.docs import ROOT


class Worker:
    """The program tests.support.drain, in a process of its own."""

    def __init__(self, path, kind, shutdown_timeout):
        self._go = Path(f"{path}.go")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.drain", path, kind],
            cwd=ROOT,
            env={**os.environ, "SHUTDOWN_TIMEOUT": str(shutdown_timeout)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def heard(self, word):
        """Wait for the next line; it must be this."""
        assert self.process.stdout.readline().strip() == word

    def let_jobs_finish(self):
        self._go.touch()

    def signal(self, number):
        self.process.send_signal(number)

    def end(self):
        """What it printed from now on, and its exit code."""
        output, errors = self.process.communicate(timeout=10)
        assert "Traceback" not in errors, errors
        return output.split(), self.process.returncode

    def await_log(self, text):
        """Wait until it has logged this."""
        while line := self.process.stderr.readline():
            if text in line:
                return
        pytest.fail(f"{text!r} was never logged")


@pytest.fixture
def path(tmp_path):
    return str(tmp_path / "jobs.db")


@pytest.fixture
async def app(path):
    """The queue that the process works through."""
    async with Soniq(database_url=path, enqueue_validation="none", max_retries=0) as app:
        yield app


@pytest.fixture
def start(path):
    """Start workers; those that are left are killed."""
    started = []

    def start_one(kind, shutdown_timeout=30):
        started.append(Worker(path, kind, shutdown_timeout))
        return started[-1]

    yield start_one
    for worker in started:
        worker.process.kill()
        worker.process.communicate()


async def counts(app):
    stats = await app.get_queue_stats()
    return {key: stats[key] for key in ("queued", "processing", "done", "dead_letter")}


@pytest.mark.parametrize("kind", ["sync", "async"])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "SIGINT"])
async def test_a_signal_in_mid_drain_lets_running_jobs_finish(app, start, kind, number):
    """Exit code 0; what ran is done, what waited is queued, nothing is processing."""
    await app.enqueue_many("work", [{}] * 10)
    worker = start(kind)
    worker.heard("started")
    worker.heard("started")
    worker.signal(number)
    worker.await_log("stopping; running jobs have 30 s")
    worker.let_jobs_finish()
    words, code = worker.end()
    assert code == 0
    assert words[-1] == "ran"
    done = words.count("finished")
    assert done == 2
    assert await counts(app) == {"queued": 10 - done, "processing": 0, "done": done, "dead_letter": 0}
    assert app.backend.list_workers() == []


@pytest.mark.parametrize("kind", ["sync", "async"])
@pytest.mark.parametrize("how", ["timeout", "second signal"])
async def test_jobs_that_do_not_finish_are_given_back_and_the_process_is_gone(app, start, kind, how):
    """After shutdown_timeout, or at once with a second signal; no attempt is used."""
    await app.enqueue_many("work", [{}] * 4)
    worker = start(kind, shutdown_timeout=0.1 if how == "timeout" else 600)
    worker.heard("started")
    worker.heard("started")
    worker.signal(signal.SIGTERM)
    if how == "second signal":
        worker.await_log("stopping; running jobs have 600 s")
        worker.signal(signal.SIGINT)
    words, code = worker.end()
    assert code == 0
    assert words == ["ran"]
    assert await counts(app) == {"queued": 4, "processing": 0, "done": 0, "dead_letter": 0}
    assert {job["attempts"] for job in await app.list_jobs()} == {0}
    assert app.backend.list_workers() == []


async def test_a_signal_to_an_idle_worker_ends_it(app, start):
    """It had nothing to do; the exit code is 0."""
    job_id = await app.enqueue("work")
    worker = start("async")
    worker.heard("started")
    worker.let_jobs_finish()
    worker.heard("finished")
    worker.signal(signal.SIGTERM)
    assert worker.end() == (["ran"], 0)
    assert (await app.get_job(job_id))["status"] == "done"


async def test_a_job_that_takes_the_signals_does_not_keep_the_worker(app, start):
    """The worker takes them back, and says so."""
    await app.enqueue("work")
    worker = start("deaf")
    worker.heard("started")
    worker.await_log("a job has taken SIGINT from the worker")
    worker.signal(signal.SIGTERM)
    worker.await_log("stopping; running jobs have 30 s")
    worker.let_jobs_finish()
    assert worker.end() == (["finished", "ran"], 0)


async def test_a_job_that_handles_the_signals_in_the_event_loop_does_not_keep_the_worker(app, start):
    """Nor one that takes what wakes the loop. Of the signals sent, those after the next look arrive."""
    await app.enqueue("work")
    worker = start("greedy")
    worker.heard("started")
    worker.let_jobs_finish()
    worker.heard("finished")
    while worker.process.poll() is None:
        worker.signal(signal.SIGTERM)
        await asyncio.sleep(0.1)
    assert worker.end()[1] == 0


async def test_a_job_that_closes_the_error_stream_is_recorded_and_others_run(app, start):
    """Nothing can be logged any more, which ends nothing."""
    await app.enqueue_many("work", [{}] * 3)
    worker = start("mute")
    worker.let_jobs_finish()

    async def all_done():
        return (await counts(app))["done"] == 3

    await wait_until(all_done, timeout=20)
    worker.signal(signal.SIGTERM)
    words, code = worker.end()
    assert (words.count("finished"), words[-1], code) == (3, "ran", 0)
