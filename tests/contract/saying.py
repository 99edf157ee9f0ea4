"""What is enqueued, claimed and said without a choice, and outcomes in the product's words."""

from __future__ import annotations

from typing import Any

from soniq import transitions
from soniq.jobs import Claim, DeadLetterReason
from soniq.transitions import Change
from tests.contract.base import WORKERS

UNKNOWN = ("00000000-0000-4000-8000-000000000000", "no-id-at-all")
PLAIN: dict[str, Any] = {
    "name": "mail",
    "args": {},
    "queue": "default",
    "priority": 100,
    "max_attempts": 3,
    "args_hash": None,
    "dedup_key": None,
    "unique_key": None,
    "producer": "",
    "context": None,
    "when": ("now", 0.0),
}
FRONT: dict[str, Any] = {
    "worker_id": WORKERS[0],
    "limit": 1,
    "queues": None,
    "names": None,
    "skip_own": False,
    "crashed": None,
}
# What a worker says of its claims when nothing else was drawn.
ROUTINE: list[Any] = [
    ("fail", "broken", 0.0, "builtins.ValueError"),
    ("succeed", '{"sent": 1}', 0.0, None),
    ("rescue", 3),
    ("interrupt",),
    ("snooze", 0.0, None),
    ("bury", "timeout", "late"),
    ("succeed", None, None, "a note"),
]


def due_again(outcome: Any) -> float | None:
    """Seconds until a job with this outcome may be due again; None = never."""
    verb, *details = outcome
    return {
        "fail": lambda: details[1],
        "snooze": lambda: details[0],
        "interrupt": float,
        "rescue": float,
    }.get(verb, lambda: None)()


def put_off(outcome: Any, seconds: float) -> Any:
    """The same outcome, but the job is due again after ``seconds``, if it is at all."""
    if outcome[0] == "fail" and outcome[2] is not None:
        return ("fail", outcome[1], seconds, outcome[3])
    return ("snooze", seconds, outcome[2]) if outcome[0] == "snooze" else outcome


def twisted(claim: Claim, twist: str | None) -> Claim:
    if twist == "worker":
        return claim._replace(worker_id=UNKNOWN[0])
    if twist == "attempt":
        return claim._replace(attempt=claim.attempt + 1)
    if twist == "job":
        return claim._replace(job_id=UNKNOWN[0])
    return claim


def change_of(claim: Claim, outcome: Any) -> Change:
    verb, *details = outcome
    if verb == "succeed":
        return transitions.succeed(claim, result_json=details[0], ttl=details[1], error=details[2])
    if verb == "fail":
        return transitions.fail(claim, error=details[0], delay=details[1], error_class=details[2])
    if verb == "snooze":
        return transitions.snooze(claim, seconds=details[0], reason=details[1])
    if verb == "rescue":
        return transitions.rescue(claim, max_crashes=details[0])
    if verb == "bury":
        return transitions.bury(claim, reason=DeadLetterReason(details[0]), error=details[1])
    return transitions.interrupt(claim)
