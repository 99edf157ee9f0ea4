"""The storage contract as a test suite.

Subclass it in a test module and give it a store::

    class TestMyBackend(BackendConformance):
        @pytest.fixture
        def backend(self, tmp_path):
            backend = MyBackend(tmp_path / "jobs.db")
            backend.setup()
            yield backend
            backend.close()

The fixture ``backend`` gives a store that is set up and empty. What a store cannot do it says by its
flags; the tests of it are then skipped with the reason. Three hooks can be overridden, see
:class:`~soniq.testing.conformance.support.Conformance`: ``open_backend`` (needed with
``supports_processes``), ``rolled_back`` (needed with ``supports_transactions``) and ``broken_job``.

The tests wait for the store's own clock, not for a fake one, and never longer than they must.
"""

from __future__ import annotations

import pytest

SUBJECTS = (
    "apply",
    "atomic",
    "claim",
    "dead_letters",
    "enqueue",
    "exchange",
    "liveness",
    "races",
    "reading",
    "schedules",
    "waiting",
)
pytest.register_assert_rewrite(*(f"soniq.testing.conformance.{name}" for name in (*SUBJECTS, "support")))

from soniq.testing.conformance.apply import ApplyConformance  # noqa: E402  # after the rewrite is registered
from soniq.testing.conformance.atomic import AtomicConformance  # noqa: E402  # after the rewrite is registered
from soniq.testing.conformance.claim import ClaimConformance  # noqa: E402  # after the rewrite is registered
from soniq.testing.conformance.dead_letters import DeadLetterConformance  # noqa: E402  # after the rewrite is registered
from soniq.testing.conformance.enqueue import EnqueueConformance  # noqa: E402  # after the rewrite is registered
from soniq.testing.conformance.exchange import ExchangeConformance  # noqa: E402  # after the rewrite is registered
from soniq.testing.conformance.liveness import LivenessConformance  # noqa: E402  # after the rewrite is registered
from soniq.testing.conformance.races import RaceConformance  # noqa: E402  # after the rewrite is registered
from soniq.testing.conformance.reading import ReadingConformance  # noqa: E402  # after the rewrite is registered
from soniq.testing.conformance.schedules import ScheduleConformance  # noqa: E402  # after the rewrite is registered
from soniq.testing.conformance.waiting import WaitingConformance  # noqa: E402  # after the rewrite is registered


class BackendConformance(
    EnqueueConformance,
    ClaimConformance,
    ApplyConformance,
    AtomicConformance,
    ExchangeConformance,
    LivenessConformance,
    ReadingConformance,
    DeadLetterConformance,
    RaceConformance,
    WaitingConformance,
    ScheduleConformance,
):
    """Every guarantee of :class:`soniq.backend.StorageBackend`."""


__all__ = ["BackendConformance"]
