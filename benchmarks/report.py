"""The tables, and the JSON that holds every single measurement."""

from __future__ import annotations

import json
import os
import platform
import statistics
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.figures.base import Column, Figure, Scale
from benchmarks.goals import GOALS
from benchmarks.peers.base import DatabasePeer
from benchmarks.runner import Results

LIMIT = "limit"
COMPARED = {"jobs/s", "commits/s", "ms"}  # units whose ratio to the limit says something


def text(results: Results, figures: Sequence[Figure], peers: Sequence[DatabasePeer], scale: Scale) -> str:
    """The whole report, as Markdown."""
    parts = [_table(results, figure, peers, scale) for figure in figures]
    goals = [line for goal in GOALS if (line := goal.judge(results.values))]
    if goals:
        parts.append("\n".join(["## What we hold ourselves to", "", *goals]))
    if results.missing:
        lines = [f"- {label}: not run: {reason}" for label, reason in results.missing.items()]
        parts.append("\n".join(["## Peers that did not run", "", *lines]))
    if results.failures:
        parts.append("\n".join(["## Failures", "", *(f"- {failure}" for failure in results.failures)]))
    if results.notes:
        parts.append("\n".join(["## Notes", "", *(f"- {note}" for note in dict.fromkeys(results.notes))]))
    return "\n\n".join(parts)


def _table(results: Results, figure: Figure, peers: Sequence[DatabasePeer], scale: Scale) -> str:
    columns = figure.columns(scale)
    rows = [["peer", *(f"{column.title}{column.unit and f', {column.unit}'}" for column in columns)]]
    reasons: dict[str, list[str]] = {}
    for peer in peers:
        if not figure.wants(peer) or peer.label in results.missing:
            continue
        row = [peer.label]
        for column in columns:
            key = (figure.name, peer.label, column.name)
            if key in results.not_run:
                row.append("not run")
                reasons.setdefault(f"{peer.label}: {results.not_run[key]}", []).append(column.title)
            else:
                row.append(_cell(results, figure, peer.label, column))
        rows.append(row)
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |"
        for row in rows
    ]
    lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    missing = [f"- not run: {reason} ({', '.join(titles)})" for reason, titles in reasons.items()]
    return "\n".join(
        [f"## {figure.title}", "", figure.about, "", *lines, *([""] if missing else []), *missing]
    )


def _cell(results: Results, figure: Figure, label: str, column: Column) -> str:
    """The median with its range, and beside it the ratio to the limit's median."""
    values = results.values.get((figure.name, label, column.name))
    if not values:
        return "-"
    middle = statistics.median(values)
    found = _number(middle)
    if len(values) > 1:
        found += f" ({_number(min(values))}–{_number(max(values))})"
    limit = results.values.get((figure.name, LIMIT, column.name))
    if limit and label != LIMIT and column.unit in COMPARED and statistics.median(limit):
        found += f" = {middle / statistics.median(limit):.2f} × limit"
    return found


def _number(value: float) -> str:
    """Three digits, or all that stand before the point."""
    digits = 0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 2
    return f"{value:,.{digits}f}"


def data(
    results: Results,
    figures: Sequence[Figure],
    peers: Sequence[DatabasePeer],
    scale: Scale,
    *,
    rounds: int,
    server: dict[str, Any],
) -> dict[str, Any]:
    """Everything, for :func:`json.dump`."""
    measured: dict[str, Any] = {}
    for figure in figures:
        entry = measured[figure.name] = {"title": figure.title, "columns": {}}
        for column in figure.columns(scale):
            entry["columns"][column.name] = {
                "title": column.title,
                "unit": column.unit,
                "more_is_better": column.more_is_better,
                "values": {
                    label: values
                    for (name, label, key), values in results.values.items()
                    if name == figure.name and key == column.name
                },
                "not_run": {
                    label: reason
                    for (name, label, key), reason in results.not_run.items()
                    if name == figure.name and key == column.name
                },
            }
    return {
        "when": datetime.now(UTC).isoformat(timespec="seconds"),
        "seconds": round(results.seconds),
        "machine": {
            "system": f"{platform.system()} {platform.machine()}",
            "cores": os.cpu_count(),
            "python": platform.python_version(),
        },
        "server": server,
        "versions": {peer.name: peer.version for peer in peers if peer.label not in results.missing},
        "rounds": rounds,
        "scale": vars(scale),
        "figures": measured,
        "missing": results.missing,
        "notes": results.notes,
        "failures": results.failures,
    }


def heading(report: dict[str, Any]) -> str:
    """On what all this was measured."""
    machine, server = report["machine"], report["server"]
    flush = f", 8 kB flushed in {server['flush_ms']} ms" if server["flush_ms"] else ""
    settings = ", ".join(f"{name} {value}" for name, value in server["settings"].items())
    versions = ", ".join(f"{name} {version}" for name, version in report["versions"].items())
    rounds = "one round" if report["rounds"] == 1 else f"{report['rounds']} rounds"
    return "\n".join(
        [
            "# Benchmarks",
            "",
            f"{machine['system']}, {machine['cores']} cores, Python {machine['python']}{flush}.",
            f"Load average before the start: {', '.join(map(str, server['load']))} (best near 0).",
            f"PostgreSQL {server['version']}: {settings}.",
            f"{versions}.",
            f"Median of {rounds} (lowest–highest), in {report['seconds']:,} s. Compare within one run only.",
        ]
    )


def write_json(report: dict[str, Any], path: Path) -> None:
    """Write what :func:`data` gave."""
    path.write_text(json.dumps(report, indent=1) + "\n")
