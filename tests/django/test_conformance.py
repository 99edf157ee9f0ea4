"""The storage contract, held by the Django backend on every database."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

import django
import pytest
from django.db import transaction

from soniq.backend import StorageBackend
from soniq.testing.conformance import BackendConformance
from soniq_django.backend import DjangoBackend
from tests.support.vendors import ALIASES


def open_in_process(alias: str) -> StorageBackend:
    """The same database, from a process that was just spawned."""
    django.setup()
    return DjangoBackend(alias)


@pytest.mark.django_db(transaction=True, databases="__all__")
@pytest.mark.parametrize("alias", ALIASES)
class TestDjangoBackend(BackendConformance):
    @pytest.fixture
    def backend(self, alias: str) -> StorageBackend:
        return DjangoBackend(alias)

    def open_backend(self, backend: StorageBackend) -> Callable[[], StorageBackend]:
        return partial(open_in_process, backend.alias)

    @contextmanager
    def rolled_back(self, backend: StorageBackend) -> Iterator[None]:
        with transaction.atomic(using=backend.alias):
            yield
            transaction.set_rollback(True, using=backend.alias)
