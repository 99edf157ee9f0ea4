"""What one attempt came to, as it is handed on to be recorded."""

from __future__ import annotations

from typing import NamedTuple

from soniq.jobs import Claim
from soniq.transitions import Change


class Outcome(NamedTuple):
    """What one attempt came to."""

    claim: Claim
    change: Change
    seconds: float = 0.0
    summary: str = ""  # one line about what went wrong, if something did; secrets masked
    started: bool = True  # whether code of the job may have run
    # Of a change that was written in the job's own transaction: whether the claim held. None: it is not yet.
    settled: bool | None = None
