"""Steering jobs from sync code, within its transaction."""

from __future__ import annotations

from collections.abc import Sequence

from soniq import transitions
from soniq.app import Soniq


def cancel_now(app: Soniq, job_ids: Sequence[str]) -> list[bool]:
    """:meth:`Soniq.cancel_job` for each, on the calling thread; the answers in the order of the ids."""
    return app.backend.apply([transitions.cancel(job_id, ttl=app.settings.result_ttl) for job_id in job_ids])
