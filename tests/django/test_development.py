"""``soniq_worker --reload`` and ``SONIQ["DEV_WORKER"]``: real processes, and files that change."""

from __future__ import annotations

import os
import signal
import socket
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest

from soniq import Soniq
from soniq.job_options import EnqueueOptions
from soniq_django import dev_worker
from tests.support.commands import run
from tests.support.scratch import Project, Running
from tests.support.vendors import SQLITE
from tests.yard.jobs import await_for

pytestmark = [
    pytest.mark.django_db(transaction=True, databases="__all__"),
    pytest.mark.parametrize("alias", SQLITE),
]

PLOT = """
from pathlib import Path
import soniq

@soniq.job(name="plot.sow")
def sow(into: str) -> None:
    Path(into).write_text({crop!r})
"""


class Plot:
    """A project with an app whose one job writes what its code says."""

    def __init__(self, directory: Path, **soniq: object) -> None:
        self._jobs = directory / "plot" / "jobs.py"
        self._jobs.parent.mkdir()
        (self._jobs.parent / "__init__.py").touch()
        self._changes = 0
        self.grow("wheat")
        extra = "INSTALLED_APPS = [*INSTALLED_APPS, 'plot']\nDEBUG = True\nALLOWED_HOSTS = ['*']"
        self.project = Project(directory, soniq={"POLL_INTERVAL": 0.1, **soniq}, extra=extra)

    def grow(self, crop: str) -> None:
        """Change the code."""
        self.write(PLOT.format(crop=crop))

    def write(self, text: str) -> None:
        self._jobs.write_text(text)
        self._changes += 1  # a clock with whole seconds would hide the second change within one
        os.utime(self._jobs, (time.time() + self._changes, time.time() + self._changes))


@pytest.fixture
def crop_of(app: Soniq, tmp_path: Path) -> Callable[[], str]:
    """Enqueue the job; give what the code of the worker that ran it says."""
    numbers = iter(range(100))

    def harvested() -> str:
        into = tmp_path / f"crop-{next(numbers)}"
        app.producer.enqueue("plot.sow", {"into": str(into)}, EnqueueOptions())
        until(into.exists)
        until(into.read_text)
        return into.read_text()

    app.registry.job(name="plot.sow")(_sow)
    return harvested


def _sow(into: str) -> None:
    """Stands for the job of the other process."""


def until(condition: Callable[[], object], patience: float = 30.0) -> None:
    """Poll for what another process brings about."""
    deadline = time.monotonic() + patience
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def gone(app: Soniq) -> bool:
    return app.backend.list_workers() == []


@pytest.mark.slow
def test_a_worker_is_replaced_when_its_code_changes_and_outlives_code_that_is_broken(
    app: Soniq, tmp_path: Path, crop_of
) -> None:
    plot = Plot(tmp_path)
    with plot.project.start("soniq_worker", "--reload") as running:
        assert crop_of() == "wheat"
        plot.grow("barley")
        running.says("jobs.py changed, replacing the worker")
        running.says("Stop it with Ctrl-C.", times=2)
        assert crop_of() == "barley"

        plot.write("this is no Python")
        running.says("SyntaxError")
        plot.grow("oats")
        running.says("Stop it with Ctrl-C.", times=3)
        assert crop_of() == "oats"

        running.process.send_signal(signal.SIGINT)
        assert running.ends() == 0, running.output
    assert gone(app)


@pytest.mark.slow
def test_a_reload_gives_back_what_does_not_finish_quickly(app: Soniq, tmp_path: Path) -> None:
    """Long before the shutdown timeout; the attempt is not counted."""
    started = tmp_path / "started"
    plot = Plot(tmp_path, SHUTDOWN_TIMEOUT=600)
    job_id = await_for.enqueue(started=str(started), proceed=str(tmp_path / "never"))
    with plot.project.start("soniq_worker", "--reload", "--processes", "2") as running:
        until(started.exists)
        started.unlink()
        plot.grow("barley")
        until(started.exists)  # it was given back, and has begun again
        assert app.backend.get_job(job_id).attempts == 1
        running.says("Stop it with Ctrl-C.", times=4)

        (tmp_path / "never").touch()
        until(lambda: app.backend.get_job(job_id).status == "done")
        running.process.send_signal(signal.SIGTERM)
        assert running.ends() == 0, running.output


def test_reload_and_run_once_contradict_each_other(app: Soniq) -> None:
    told = run("soniq_worker", "--reload", "--run-once")

    assert (told.code, "--reload keeps a worker running and --run-once ends it" in told.err) == (1, True)


# -- runserver


def serve(plot: Plot, *arguments: str) -> tuple[Running, str]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    return plot.project.start("runserver", address, *arguments, group=True), f"http://{address}/"


@pytest.mark.slow
def test_runserver_brings_a_worker_that_reloads_and_ends_with_it(app: Soniq, tmp_path: Path, crop_of) -> None:
    plot = Plot(tmp_path, DEV_WORKER=True, SHUTDOWN_TIMEOUT=600)
    started = tmp_path / "started"
    server, url = serve(plot)
    with server:
        assert crop_of() == "wheat"
        assert len(app.backend.list_workers()) == 1, "one of the two processes of runserver has one"
        job_id = await_for.enqueue(started=str(started), proceed=str(tmp_path / "never"))
        until(started.exists)
        started.unlink()

        plot.grow("barley")
        server.says("Stop it with Ctrl-C.", times=2)
        assert crop_of() == "barley"
        until(started.exists)  # it was given back, and has begun again
        assert app.backend.get_job(job_id).attempts == 1
        assert len(app.backend.list_workers()) == 1
        with urllib.request.urlopen(url) as page:
            assert page.status == 200

        server.signal(signal.SIGINT)  # Ctrl-C
        server.ends()
        until(lambda: gone(app))
    assert app.backend.get_job(job_id).status == "queued"


@pytest.mark.slow
def test_the_worker_ends_with_a_server_that_is_killed(app: Soniq, tmp_path: Path, crop_of) -> None:
    plot = Plot(tmp_path, DEV_WORKER=True)
    server, _ = serve(plot, "--noreload")
    with server:
        assert crop_of() == "wheat"
        [worker] = app.backend.list_workers()

        server.signal(signal.SIGKILL)
        until(lambda: gone(app))
        until(lambda: not lives(worker.pid))


def test_no_other_program_brings_a_worker(monkeypatch, settings, caplog, alias) -> None:
    started = []
    monkeypatch.setattr(dev_worker._worker, "start", lambda **_: started.append(True))
    settings.DEBUG = True
    for argv in (
        ["gunicorn", "config.wsgi"],
        ["manage.py", "migrate"],
        ["manage.py", "test"],
        ["manage.py", "soniq_worker"],
        ["manage.py", "runserver"],  # the process that watches over the one that serves
        ["manage.py", "runserver", "--help"],
        ["manage.py"],
    ):
        dev_worker.accompany(argv)
    assert (started, caplog.text) == ([], "")

    dev_worker.accompany(["manage.py", "runserver", "--noreload"])
    assert started == [True]


def test_without_debug_there_is_a_warning_instead(monkeypatch, settings, caplog, alias) -> None:
    started = []
    monkeypatch.setattr(dev_worker._worker, "start", lambda **_: started.append(True))
    settings.DEBUG = False

    dev_worker.accompany(["manage.py", "runserver", "--noreload"])

    assert started == []
    assert "SONIQ['DEV_WORKER'] is True, but DEBUG is not: no worker runs beside the server" in caplog.text


def test_the_setting_is_true_or_false(settings, alias) -> None:
    from django.core.exceptions import ImproperlyConfigured

    from soniq_django.conf import read_settings

    assert read_settings().dev_worker is False
    with pytest.raises(ImproperlyConfigured, match=r"SONIQ\['DEV_WORKER'\] is 'yes': give True or False"):
        settings.SONIQ = {"DEV_WORKER": "yes"}
    del settings.SONIQ
