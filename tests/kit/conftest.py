"""Apps of tests on every database, within the transaction of an ordinary test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from asgiref.sync import SyncToAsync
from django.db import connections

from soniq import Soniq, default_app
from soniq_django.backend import DjangoBackend
from soniq_django.connections import DjangoEnvironment
from tests.support.vendors import FIRST_QUICKLY


@pytest.fixture(params=FIRST_QUICKLY)
def alias(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def app(alias: str, db: None) -> Iterator[Soniq]:
    """The default app while the test runs, on the database ``alias``."""
    with default_app(Soniq(backend=DjangoBackend(alias), environment=DjangoEnvironment())) as app:
        yield app


@pytest.fixture
def closed_connections() -> Iterator[None]:
    """Async tests use the ORM on the thread that asgiref keeps for that; it keeps its connections, too."""
    yield
    SyncToAsync.single_thread_executor.submit(connections.close_all).result()
