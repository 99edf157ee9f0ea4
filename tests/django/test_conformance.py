"""The storage contract, held by the Django backend on every database."""

from __future__ import annotations

import pytest

from soniq.backend import StorageBackend
from soniq.testing.conformance import BackendConformance
from soniq_django.backend import DjangoBackend
from tests.support.vendors import ALIASES


@pytest.mark.django_db(transaction=True, databases="__all__")
@pytest.mark.parametrize("alias", ALIASES)
class TestDjangoBackend(BackendConformance):
    @pytest.fixture
    def backend(self, alias: str) -> StorageBackend:
        return DjangoBackend(alias)
