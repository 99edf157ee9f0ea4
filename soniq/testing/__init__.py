"""For tests, examples and quick scripts; nothing in production imports this."""

from soniq.backends.memory import MemoryBackend
from soniq.testing.app import make_app
from soniq.testing.waiting import wait_until

__all__ = ["BackendConformance", "MemoryBackend", "make_app", "wait_until"]


def __getattr__(name: str) -> object:
    # pytest is a test dependency: only those who ask for the suite need it.
    if name == "BackendConformance":
        from soniq.testing.conformance import BackendConformance  # noqa: PLC0415  # see above

        return BackendConformance
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
