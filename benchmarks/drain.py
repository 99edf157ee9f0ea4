"""One drain: how fast queued jobs get done.

It begins when the first job's code runs (with two worker processes: when the second of them runs its
first), and ends when the database commits the last outcome. Both are facts that the jobs' processes and
the database noted on their own; see README.md.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

from benchmarks.peers.base import DatabasePeer, Failed, NotRun


@dataclass(frozen=True)
class Drained:
    """What a drain was like."""

    jobs: int  # with a stored outcome, of those that were timed
    rate: float  # jobs/s
    fifths: tuple[float, ...]  # jobs/s in five equal shares of the jobs
    repeated: int  # runs that were one too many
    cut: bool  # there was no time for all


def drain(
    peer: DatabasePeer,
    kind: str,
    jobs: int,
    seconds: float,
    *,
    processes: int = 1,
    backlog: int = 0,
    besides: tuple[str, int] | None = None,
    before: Callable[[], None] | None = None,
) -> Drained:
    """Let ``peer`` work through ``jobs`` jobs of one kind; stop it after ``seconds``.

    :param backlog: this many more jobs wait behind them
    :param besides: state and number of rows that the table holds as well
    :param before: called when all jobs are queued, before workers start
    :raises Failed: outcomes are missing, or a worker died
    """
    check_kind(peer, kind)
    tally = peer.reset(jobs + backlog + 1)
    if besides is not None:
        state, rows = besides
        peer.multiply(jobs, rows, kind, state)
    if backlog:
        peer.multiply(0, jobs + backlog, kind)
    else:
        peer.enqueue(0, jobs, kind)
    if before is not None:
        before()
    try:
        peer.start_worker(processes)
        cut = not peer.wait_done(jobs, seconds)
        seen = time.time()
    finally:
        peer.stop()
    begun = tally.started(processes)
    if begun is None:
        raise Failed(f"not every one of {processes} worker processes found a job to run")
    outcomes = peer.finished()
    if not cut and peer.server.own and outcomes and not backlog and outcomes[-1][0] > seen:
        raise Failed("something rewrote the outcomes after they had been seen, so their times are not known")
    early = sum(count for when, count in outcomes if when < begun) - peer.already
    outcomes = [outcome for outcome in outcomes if outcome[0] >= begun]
    return measured(outcomes, begun, jobs - early, tally.repeated(), cut=cut)


def check_kind(peer: DatabasePeer, kind: str) -> None:
    """Whether the peer has jobs of this kind; the limit script calls functions, and is held against both.

    :raises NotRun: it has not
    """
    if kind.endswith("_async") and not peer.asynchronous and peer.name != "limit":
        raise NotRun("it has no async jobs")


def measured(
    outcomes: list[tuple[float, int]], begun: float, wanted: int, repeated: int, *, cut: bool
) -> Drained:
    """The first ``wanted`` outcomes since ``begun``."""
    reached: list[tuple[int, float]] = [(0, begun)]  # so many outcomes by then
    for when, count in outcomes:
        if reached[-1][0] < wanted:
            reached.append((reached[-1][0] + count, when))
    total, ended = reached[-1]
    if not total:
        raise Failed("no job was finished within the time there was")
    marks = [next(mark for mark in reached if mark[0] * 5 >= total * share) for share in range(6)]
    fifths = tuple((mark[0] - last[0]) / max(mark[1] - last[1], 1e-6) for last, mark in pairwise(marks))
    return Drained(total, total / max(ended - begun, 1e-6), fifths, repeated, cut)
