"""Fixtures for every test. The databases themselves come from `tests.support.plugin`."""

import pytest
from django.test import TransactionTestCase

from tests.support.emptying import empty_all


@pytest.fixture(scope="session")
def django_db_modify_db_settings_xdist_suffix():
    """Replaces pytest-django's: our database names already tell the xdist workers apart."""


@pytest.fixture(scope="session", autouse=True)
def _emptied_quickly():
    """Tests with transactions of their own are followed by what `tests.support.emptying` says."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TransactionTestCase, "_fixture_teardown", empty_all)
        yield


# Of the suite for stores, which knows none of our markers: four processes, each with its imports.
OF_PROCESSES = {
    "test_a_unique_key_is_stored_once_for_all_processes",
    "test_jobs_outlive_the_process_that_made_them",
    "test_processes_claim_each_job_once",
}


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    """Mark what is slow before markers are asked about."""
    for item in items:
        if getattr(item, "originalname", None) in OF_PROCESSES:
            item.add_marker(pytest.mark.slow)
