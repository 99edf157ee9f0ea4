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
