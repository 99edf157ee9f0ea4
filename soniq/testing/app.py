"""An app for one test."""

from __future__ import annotations

from typing import Any

from soniq.app import Soniq


def make_app(**overrides: Any) -> Soniq:
    """A ``Soniq`` on a store in memory: ``Soniq(backend="memory", **overrides)``."""
    return Soniq(**{"backend": "memory", **overrides})
