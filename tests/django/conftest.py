"""Apps on the test databases."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from asgiref.sync import SyncToAsync
from django.db import connections

from soniq import Soniq, default_app
from soniq_django.backend import DjangoBackend
from soniq_django.connections import DjangoEnvironment
from tests.support.vendors import ALIASES


@pytest.fixture(params=ALIASES)
def alias(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def app(alias: str, transactional_db: None) -> Iterator[Soniq]:
    """An app on the database ``alias``; the default one while the test runs."""
    backend = DjangoBackend(alias)
    with default_app(Soniq(backend=backend, environment=DjangoEnvironment())) as app:
        yield app
    # Async tests use the ORM on the thread that asgiref keeps for that; it keeps its connections, too.
    SyncToAsync.single_thread_executor.submit(connections.close_all).result()
