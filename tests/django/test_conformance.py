"""The storage contract, held by the Django backend on every database."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

import pytest
from django.db import transaction

from soniq.backend import StorageBackend
from soniq.testing.conformance import BackendConformance
from soniq_django.backend import DjangoBackend
from tests.support.spawned import open_django_backend
from tests.support.vendors import FIRST_QUICKLY


@pytest.mark.django_db(transaction=True, databases="__all__")
@pytest.mark.parametrize("alias", FIRST_QUICKLY)
class TestDjangoBackend(BackendConformance):
    @pytest.fixture
    def backend(self, alias: str) -> StorageBackend:
        return DjangoBackend(alias)

    def open_backend(self, backend: StorageBackend) -> Callable[[], StorageBackend]:
        return partial(open_django_backend, backend.alias)

    @contextmanager
    def rolled_back(self, backend: StorageBackend) -> Iterator[None]:
        with transaction.atomic(using=backend.alias):
            yield
            transaction.set_rollback(True, using=backend.alias)
