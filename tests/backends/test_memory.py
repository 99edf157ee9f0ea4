"""The store in memory holds the contract."""

from __future__ import annotations

import pytest

from soniq.backends.memory import MemoryBackend
from soniq.testing.conformance import BackendConformance


class TestMemoryBackend(BackendConformance):
    @pytest.fixture
    def backend(self) -> MemoryBackend:
        return MemoryBackend()
