"""Apps on the stores of the core: in memory, and in a SQLite file of the test's own."""

from __future__ import annotations

import pytest

from soniq import Soniq
from soniq.testing import make_app


@pytest.fixture
async def make():
    """Make apps in memory; they are closed after the test."""
    made = []

    def make_one(**overrides):
        made.append(make_app(**overrides))
        return made[-1]

    yield make_one
    for app in made:
        await app.close()


@pytest.fixture
def app(make):
    """An app in memory that looks for work at short intervals."""
    return make(poll_interval=0.02)


@pytest.fixture(params=["memory", "sqlite"])
def make_any(request, tmp_path, make):
    """Make apps, once in memory and once in a SQLite file."""
    if request.param == "memory":
        return make

    def make_one(**overrides):
        return make(backend="sqlite", database_url=str(tmp_path / "jobs.db"), **overrides)

    return make_one


@pytest.fixture
def any_app(make_any) -> Soniq:
    """An app in memory, then one in a SQLite file."""
    return make_any(poll_interval=0.02)
