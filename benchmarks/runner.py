"""All rounds of all figures for all peers, interleaved, so that a machine's mood hits everybody alike."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import psycopg
from tqdm import tqdm

from benchmarks.figures.base import Context, Figure, Scale
from benchmarks.peers.base import DatabasePeer, Failed, NotRun
from benchmarks.server import Server

Key = tuple[str, str, str]  # figure, peer's label, column


@dataclass
class Results:
    """What was measured, and what was not."""

    values: dict[Key, list[float]] = field(default_factory=dict)  # one per round
    not_run: dict[Key, str] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)  # peer's label: why it did not run at all
    notes: list[str] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)  # a round of a cell each
    seconds: float = 0.0


def measure(
    figures: Sequence[Figure], peers: Sequence[DatabasePeer], server: Server, scale: Scale, rounds: int
) -> Results:
    """Run everything; what cannot be run is recorded with its reason. Ctrl-C ends it with what there is."""
    results = Results()
    context = Context(scale, results.notes)
    begun = time.monotonic()
    ready: list[DatabasePeer] = []
    wanted = [peer for peer in peers if any(figure.wants(peer) for figure in figures)]
    try:
        for peer in tqdm(wanted, desc="setting up", unit="peer", leave=False, disable=None):
            ready += [peer] if _set_up(peer, server, results) else []
        cells = [
            (figure, peer, cell)
            for number in range(rounds)
            for figure in figures
            for peer in _rotated(ready, number)
            if figure.wants(peer)
            for cell in figure.cells(peer, context)
        ]
        with tqdm(cells, unit="measurement", disable=None) as progress:
            for figure, peer, cell in progress:
                progress.set_description(f"{figure.name}: {peer.label}, {cell.columns[0]}")
                keys = [(figure.name, peer.label, column) for column in cell.columns]
                if any(key in results.not_run for key in keys):
                    continue
                try:
                    for column, value in cell.run().items():
                        results.values.setdefault((figure.name, peer.label, column), []).append(value)
                except NotRun as reason:
                    results.not_run.update(dict.fromkeys(keys, str(reason)))
                except (Failed, RuntimeError, psycopg.Error) as error:
                    results.failures.append(f"{peer.label}, {figure.name} {cell.columns[0]}: {error}")
    except KeyboardInterrupt:
        results.notes.append("interrupted: later rounds are missing")
    finally:
        for peer in ready:
            peer.cleanup()
    results.seconds = time.monotonic() - begun
    return results


def _rotated(peers: Sequence[DatabasePeer], number: int) -> Sequence[DatabasePeer]:
    """Each round begins with another peer, so that nobody always follows the same one."""
    turn = number * len(peers) // 3 % max(len(peers), 1)
    return [*peers[turn:], *peers[:turn]]


def _set_up(peer: DatabasePeer, server: Server, results: Results) -> bool:
    reason = peer.missing()
    if reason is None:
        try:
            peer.setup(server)
        except (NotRun, RuntimeError, psycopg.Error) as error:
            reason = str(error)
            peer.cleanup()
    if reason is not None:
        results.missing[peer.label] = reason
    return reason is None
