"""settings.SONIQ is checked at start, and says what to change."""

from __future__ import annotations

import subprocess
import sys

import pytest
from django.core.exceptions import ImproperlyConfigured

import soniq
from soniq_django.conf import read_settings


@pytest.mark.parametrize(
    ("values", "complaint"),
    [
        ({"CONCURENCY": 4}, "unknown key in settings.SONIQ: 'CONCURENCY'; did you mean 'CONCURRENCY'?"),
        ({"concurrency": 4}, "'concurrency'; did you mean 'CONCURRENCY'"),
        ({"CONCURRENCY": 0}, "CONCURRENCY is 0: give a whole number, 1 or more"),
        (
            {"HEARTBEAT_INTERVAL": 30},
            r"HEARTBEAT_INTERVAL \(30 s\) leaves fewer than 3 beats .* set DEAD_AFTER to 90 or more",
        ),
        ({"QUEUES": "emails"}, "QUEUES is 'emails': give a list of names"),
        ({"QUEUES": ["two words"]}, "'two words' is no queue name"),
        ({"DATABASE": "nowhere"}, "DATABASE'] is 'nowhere', which DATABASES does not have"),
        ({"JOBS_MODULE": "a-b"}, "JOBS_MODULE'] is 'a-b': give the name of a module"),
        ({"JOB_TIMEOUT": -1}, "JOB_TIMEOUT is -1: give more than 0 seconds"),
        ({"ENQUEUE_VALIDATION": "maybe"}, "give 'strict', 'warn' or 'none'"),
        ({"DATABASE": ["jobs"]}, r"DATABASE'] is \['jobs'\], which DATABASES does not have"),
        ({"QUEUES": "my queues!"}, "QUEUES is 'my queues!': give a list of names"),
        ({"QUEUES": ['it\'s "concurrency" timeout']}, r"is no queue name"),
        ([("CONCURRENCY", 4)], "give a dict of settings"),
        ({"METRICS": 1}, "METRICS'] is 1: give 'prometheus', 'opentelemetry', or the path of a sink"),
        ({"METRICS": "no.such.sink"}, "'no.such.sink', which cannot be imported .*: give the path of a sink"),
        ({"METRICS": "tests.yard.jobs.noop"}, "lacks record_job_start and record_job_end"),
        ({"METRICS_PORT": 9100}, "SONIQ\\['METRICS'\\] is None: only 'prometheus' is scraped"),
        ({"METRICS": "prometheus", "METRICS_PORT": "host:0"}, "is 'host:0': give a port, 1 to 65535"),
        ({"METRICS": "prometheus", "METRICS_PORT": True}, "is True: give a port"),
    ],
)
def test_a_wrong_setting_names_itself_and_the_remedy(settings, values, complaint) -> None:
    """A typo or a contradiction stops the start, in one line."""
    before = soniq.get_default_app()
    try:
        with pytest.raises(ImproperlyConfigured, match=complaint) as caught:
            settings.SONIQ = values
    finally:
        soniq.set_default_app(before)

    assert "\n" not in str(caught.value)


def test_settings_reach_the_app(settings) -> None:
    """The default app follows settings.SONIQ, also when a test overrides it."""
    settings.SONIQ = {"MAX_RETRIES": 7, "QUEUES": ["a", "b"], "RESULT_TTL": None}

    from soniq_django import soniq as app

    assert (app.settings.max_retries, app.settings.queues) == (7, ("a", "b"))
    assert app.settings.result_ttl is None
    assert soniq.get_default_app() is app


def test_every_setting_has_a_django_name(settings) -> None:
    """What the core takes in lower case, Django takes in upper case."""
    settings.SONIQ = {"SHUTDOWN_TIMEOUT": 5.0, "MAX_CRASHES": 2}

    assert read_settings().core == {"shutdown_timeout": 5.0, "max_crashes": 2}


@pytest.mark.slow
def test_a_wrong_setting_stops_manage_py(tmp_path) -> None:
    """Whatever command is run, it says what is wrong and does nothing."""
    (tmp_path / "wrong_settings.py").write_text(
        "from tests.settings import *\nSONIQ = {'POLL_INTERVALL': 1}\n"
    )
    process = subprocess.run(
        [sys.executable, "-m", "django", "check", "--settings=wrong_settings"],
        env={**__import__("os").environ, "PYTHONPATH": f"{tmp_path}:."},
        capture_output=True,
        text=True,
        check=False,
    )

    assert process.returncode != 0
    assert "did you mean 'POLL_INTERVAL'?" in process.stderr
    assert "soniq.E001" in process.stderr
    assert "Traceback" not in process.stderr


@pytest.mark.slow
def test_a_wrong_setting_stops_every_other_program(tmp_path) -> None:
    """Nobody runs the checks there, and a web server would else fail at its first enqueue."""
    (tmp_path / "wrong_settings.py").write_text(
        "from tests.settings import *\nSONIQ = {'POLL_INTERVALL': 1}\n"
    )
    process = subprocess.run(
        [sys.executable, "-c", "import django; django.setup()"],
        env={
            **__import__("os").environ,
            "PYTHONPATH": f"{tmp_path}:.",
            "DJANGO_SETTINGS_MODULE": "wrong_settings",
        },
        capture_output=True,
        text=True,
        check=False,
    )

    assert process.returncode != 0
    assert "did you mean 'POLL_INTERVAL'?" in process.stderr.splitlines()[-1]


def test_jobs_modules_of_installed_apps_are_imported() -> None:
    """@soniq.job in <app>/jobs.py needs no further word."""
    assert soniq.get_default_app().registry.find("yard.noop") is not None
