"""The other queues' own apps, installed for the time of a test, with their own tables."""

import importlib.util
from contextlib import contextmanager
from io import StringIO

import pytest
from django.apps import apps
from django.conf import settings
from django.contrib.admin import site
from django.core.management import call_command
from django.db import connections
from django.test import override_settings

from tests.support.vendors import vendor_of_alias

Q_CLUSTER = {"name": "cluster", "orm": "default", "timeout": 60, "retry": 120}


@contextmanager
def installed(app, **others):
    """Within the block, the project has this app, too."""
    name = app.partition(".")[0]
    if importlib.util.find_spec(name) is None:
        pytest.skip(f"{name} is not installed (of django-celery-beat there is none for Django 6.1)")
    registered = dict(site._registry)  # the app's own admin would outlive it there
    # Two steps: apps are made ready before the settings of the same override are in force.
    with override_settings(**others), override_settings(INSTALLED_APPS=[*settings.INSTALLED_APPS, app]):
        yield
    site._registry = registered


def make_tables(label, names, aliases, blocker):
    """Make the tables of these models; whoever called drops them with the same arguments."""
    with blocker.unblock():
        for alias in aliases:
            with connections[alias].schema_editor() as editor:
                for name in names:
                    editor.create_model(apps.get_model(label, name))


def drop_tables(label, names, aliases, blocker):
    with blocker.unblock():
        for alias in aliases:
            with connections[alias].schema_editor() as editor:
                for name in reversed(names):
                    editor.delete_model(apps.get_model(label, name))


@pytest.fixture(scope="package")
def reachable(django_db_setup):
    """The aliases that this run has."""
    return [alias for alias in vendor_of_alias() if alias in settings.DATABASES]


@pytest.fixture
def soniq_on():
    """Puts soniq's tables where the test wants them."""
    stack = []

    def put(alias):
        override = override_settings(SONIQ={"DATABASE": alias})
        override.enable()
        stack.append(override)

    yield put
    for override in reversed(stack):
        override.disable()


class Ran:
    """What the command said, and its exit code."""

    def __init__(self, *arguments):
        out = StringIO()
        self.code = 0
        try:
            call_command("soniq_import", *arguments, stdout=out)
        except SystemExit as left:
            self.code = left.code
        self.said = out.getvalue()


@pytest.fixture
def run_import():
    return Ran


@pytest.fixture
def stored():
    """The jobs that there are now, oldest first: (name, args, queue, priority)."""

    def read(alias="default"):
        from soniq_django.models import Job

        rows = Job.objects.using(alias).order_by("id")
        return list(rows.values_list("job_name", "args", "queue", "priority"))

    return read
