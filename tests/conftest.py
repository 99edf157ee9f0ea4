"""Fixtures for every test. The databases themselves come from `tests.support.plugin`."""

from functools import partial

import pytest
from django.test import TransactionTestCase

from tests.support.emptying import empty_all
from tests.support.lasting import LastingSessions


@pytest.fixture(scope="session")
def django_db_modify_db_settings_xdist_suffix():
    """Replaces pytest-django's: our database names already tell the xdist workers apart."""


@pytest.fixture(scope="session")
def django_db_setup(django_db_setup, django_db_blocker):
    """Tests with transactions of their own are followed by what `tests.support.emptying` says."""
    with django_db_blocker.unblock():
        sessions = LastingSessions()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            TransactionTestCase,
            "_fixture_teardown",
            lambda case: sessions.lend(partial(empty_all, case)),
        )
        yield
    with django_db_blocker.unblock():
        sessions.close()


# Of the suite for stores, which knows none of our markers: four processes, each with its imports.
OF_PROCESSES = {
    "test_a_unique_key_is_stored_once_for_all_processes",
    "test_jobs_outlive_the_process_that_made_them",
    "test_processes_claim_each_job_once",
    "test_processes_fire_each_schedule_once",
}


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    """Mark what is slow before markers are asked about."""
    for item in items:
        if getattr(item, "originalname", None) in OF_PROCESSES or item.get_closest_marker("system"):
            item.add_marker(pytest.mark.slow)
