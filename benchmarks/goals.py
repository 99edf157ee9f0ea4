"""What we hold ourselves to: ratios of our figure to another one of the same run."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

Values = Mapping[tuple[str, str, str], Sequence[float]]
Key = tuple[str, str, str]  # figure, peer's label, column


@dataclass(frozen=True)
class Goal:
    """``of`` compared with ``to``; alone if that is None.

    :param at_most: the smaller the better
    """

    title: str
    of: Key
    to: Key | None
    must: float | None
    aim: float | None = None
    at_most: bool = False

    def judge(self, values: Values) -> str | None:
        """A line that says whether it is met; None if it was not measured."""
        if not values.get(self.of) or (self.to is not None and not values.get(self.to)):
            return None
        ratio = statistics.median(values[self.of])
        if self.to is not None:
            below = statistics.median(values[self.to])
            if not below:
                return None
            ratio /= below

        def reached(bound: float | None) -> bool:
            return bound is not None and (ratio <= bound if self.at_most else ratio >= bound)

        bounds = {"must be": self.must, "aim": self.aim}
        wanted = ", ".join(
            f"{what} {'≤' if self.at_most else '≥'} {bound:g}"
            for what, bound in bounds.items()
            if bound is not None
        )
        if reached(self.aim):
            verdict = "aim met"
        elif self.must is None:
            verdict = "aim not met"
        else:
            verdict = "met" if reached(self.must) else "MISSED"
        return f"- {self.title}: {ratio:.2f} ({wanted}): {verdict}"


def _drain(kind: str) -> list[Goal]:
    ours = ("drain", "soniq", kind)
    return [
        Goal(f"drain, {kind} jobs, to the limit", ours, ("drain", "limit", kind), 0.6, 1.0),
        Goal(f"drain, {kind} jobs, to PgQueuer", ours, ("drain", "pgqueuer batch 100", kind), 1.0),
        Goal(f"drain, {kind} jobs, two processes to one", ("drain", "soniq", f"{kind}_2"), ours, 1.3, 1.5),
    ]


def _enqueue(how: str, title: str, must: float, aim: float) -> Goal:
    return Goal(f"enqueue {title}, to the ORM", *_pair("enqueue", how, "django create"), must, aim)


def _pair(figure: str, column: str, other: str) -> tuple[Key, Key]:
    return (figure, "soniq", column), (figure, other, column)


def _latency(name: str) -> list[Goal]:
    return [
        Goal(f"latency {name}, to the limit", *_pair("latency", name, "limit"), 3, 1.5, at_most=True),
        Goal(
            f"latency {name}, to PgQueuer", *_pair("latency", name, "pgqueuer batch 100"), 1.5, at_most=True
        ),
    ]


def _slow(kind: str) -> list[Goal]:
    other = _pair("slow_disk", kind, "pgqueuer batch 100")
    return [
        Goal(f"slow disk, {kind} jobs, to PgQueuer", *other, 1.0),
        Goal(f"slow disk, {kind} jobs, to the limit", *_pair("slow_disk", kind, "limit"), None, 0.6),
    ]


GOALS = [
    *_drain("async"),
    *_drain("sync"),
    _enqueue("singles", "one by one", 1.2, 1.3),
    _enqueue("transaction", "in one transaction", 1.5, 2.1),
    _enqueue("bulk", "at once", 2.5, 6),
    Goal("async ORM jobs, to ten plain tasks", *_pair("orm", "async", "django async"), 0.7, 0.9),
    Goal("async ORM jobs, to ten plain threads", *_pair("orm", "async", "django create"), 0.7, 0.9),
    Goal(
        "async ORM jobs, to ten plain threads of sync calls",
        ("orm", "soniq", "async"),
        ("orm", "django create", "sync"),
        None,
        0.7,
    ),
    Goal("sync ORM jobs, to ten plain threads", *_pair("orm", "sync", "django create"), 0.7, 0.9),
    Goal("32 sessions, to NOTIFY off", *_pair("concurrent", "commits", "soniq NOTIFY off"), 0.8, 0.95),
    *_latency("p50"),
    *_latency("p99"),
    *(
        Goal(
            f"drain beside many rows ({name}), to nothing else",
            ("backlog", "soniq", name),
            ("backlog", "soniq", "empty"),
            0.9,
            1.0,
        )
        for name in ("queued_100000", "queued_1000000", "delayed", "finished")
    ),
    Goal("old snapshot, last fifth to first", ("snapshot", "soniq", "last_to_first"), None, 0.75, 0.95),
    *_slow("async"),
    *_slow("sync"),
    Goal("idle, statements/s", ("idle", "soniq", "statements"), None, 1, 0.3, at_most=True),
    Goal("idle, processor %", ("idle", "soniq", "cpu"), None, 0.5, at_most=True),
    Goal("idle, connections", ("idle", "soniq", "connections"), None, 5, at_most=True),
    Goal("memory, growth in MiB", ("memory", "soniq", "growth"), None, 5, 0, at_most=True),
]
