"""A store of dicts under one lock, for tests and for trying things out."""

from __future__ import annotations

from soniq.backends.memory.store import MemoryBackend

__all__ = ["MemoryBackend"]
