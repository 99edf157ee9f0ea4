"""Fixtures for every test. The databases themselves come from `tests.support.plugin`."""

import pytest


@pytest.fixture(scope="session")
def django_db_modify_db_settings_xdist_suffix():
    """Replaces pytest-django's: our database names already tell the xdist workers apart."""
