"""Many sessions that enqueue in transactions of their own, on a disk that takes 5 ms per flush."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator

from benchmarks.figures.base import Cell, Column, Context, Figure, Scale
from benchmarks.peers.base import DatabasePeer, Failed
from benchmarks.processes import ROOT

PROCESSES, THREADS = 4, 8


def measure(peer: DatabasePeer, count: int) -> float:
    """Commits/s of all sessions together, ``count`` of each of them."""
    peer.reset(1)
    running = []
    try:
        with peer.server.settings(peer.database, commit_delay=5000, commit_siblings=0):
            for number in range(PROCESSES):
                first = number * THREADS * count
                command = peer.producer("noop", "sessions", first=first, count=count, threads=THREADS)
                running.append(_started(command, peer.child_environment))
            for process in running:
                if _line(process) != "ready":
                    raise Failed("a process with sessions did not get ready")
            for process in running:
                process.stdin.write("go\n")
                process.stdin.flush()
            answers = [json.loads(_line(process) or "{}") for process in running]
    finally:
        for process in running:
            process.kill()
            process.communicate()
    if not all(answers):
        raise Failed("a process with sessions died")
    wanted = PROCESSES * THREADS * count
    if (stored := peer.count_stored()) != wanted:
        raise Failed(f"{wanted} jobs were enqueued, {stored} are stored")
    seconds = max(answer["ended"] for answer in answers) - min(answer["begun"] for answer in answers)
    return (wanted - PROCESSES * THREADS) / seconds  # each session's first only connected it


def _started(command: list[str], environment: dict[str, str]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, *command],
        cwd=ROOT,
        env=os.environ | environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def _line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def cells(peer: DatabasePeer, context: Context) -> Iterator[Cell]:
    """See :class:`Figure`."""
    yield Cell(("commits",), lambda: {"commits": measure(peer, context.scale.session_jobs)})


def columns(scale: Scale) -> tuple[Column, ...]:
    """See :class:`Figure`."""
    return (Column("commits", "transactions that enqueue", "commits/s"),)


def wants(peer: DatabasePeer) -> bool:
    """See :class:`Figure`."""
    return peer.label in {
        "soniq",
        "soniq NOTIFY off",
        "limit",
        "limit no NOTIFY",
        "limit NOTIFY after commit",
        "django create",
        "pgqueuer batch 100",
        "procrastinate",
        "django-tasks-db",
    }


FIGURE = Figure(
    "concurrent",
    "32 sessions that enqueue at the same time",
    "Four processes of eight threads; each transaction enqueues one job; every flush takes 5 ms more "
    "(`commit_delay = 5000`, `commit_siblings = 0`). `limit` notifies within the transaction.",
    columns,
    wants,
    cells,
)
