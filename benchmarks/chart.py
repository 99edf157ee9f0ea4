"""The picture for the README: one panel per question, ours in colour, and pale what is no queue."""

from __future__ import annotations

import statistics
from pathlib import Path
from typing import Any

OURS, THEIRS, LIMIT = "#2f6f4f", "#9aa5ad", "#d5dade"
LONGEST = 5  # times the middle one of a panel; a longer bar would leave nothing of the others, and is cut
PANELS = (  # figure, column, title
    ("drain", "sync", "no-op jobs done, sync, one process"),
    ("drain", "async", "no-op jobs done, async, one process"),
    ("enqueue", "transaction", "enqueued one by one in a transaction"),
    ("enqueue", "bulk", "enqueued at once"),
    ("latency", "p50", "from enqueue to start, median"),
    ("orm", "sync", "jobs that read and write with the ORM"),
)


def draw(report: dict[str, Any], folder: Path) -> list[Path]:
    """Draw what was measured; return the files: SVG and PNG. None if matplotlib is missing."""
    try:
        import matplotlib as mpl  # noqa: PLC0415  # a part of the extra that a smoke test can do without
    except ImportError:
        return []
    mpl.use("Agg")
    from matplotlib import pyplot  # noqa: PLC0415  # after the choice of Agg

    panels = [
        (title, column, bars)
        for figure, name, title in PANELS
        if (column := report["figures"].get(figure, {}).get("columns", {}).get(name))
        and (bars := _bars(column))
    ]
    if not panels:
        return []
    pyplot.rcParams.update({"font.size": 9, "svg.hashsalt": "soniq", "font.family": "sans-serif"})
    rows = (len(panels) + 1) // 2
    height = sum(0.24 * max(len(bars) for *_, bars in panels[i * 2 : i * 2 + 2]) + 0.75 for i in range(rows))
    drawing, axes = pyplot.subplots(rows, min(len(panels), 2), figsize=(10, height), squeeze=False)
    for place in axes.flat[len(panels) :]:
        place.set_visible(False)
    for place, (title, column, bars) in zip(axes.flat, panels, strict=False):
        _panel(place, title, column, bars)
    drawing.tight_layout(h_pad=1.5, w_pad=2)
    paths = [folder / "benchmarks.svg", folder / "benchmarks.png"]
    for path in paths:
        metadata = {"Date": None} if path.suffix == ".svg" else None
        drawing.savefig(path, dpi=150, facecolor="white", metadata=metadata)
    pyplot.close(drawing)
    return paths


def _bars(column: dict[str, Any]) -> list[tuple[str, list[float]]]:
    bars = [(label, values) for label, values in column["values"].items() if values]
    return sorted(bars, key=lambda bar: statistics.median(bar[1]), reverse=column["more_is_better"])


def _panel(place: Any, title: str, column: dict[str, Any], bars: list[tuple[str, list[float]]]) -> None:
    middles = [statistics.median(values) for _, values in bars]
    errors = [
        [middle - min(values) for middle, (_, values) in zip(middles, bars, strict=True)],
        [max(values) - middle for middle, (_, values) in zip(middles, bars, strict=True)],
    ]
    colours = [_colour(label) for label, _ in bars]
    end = max(max(values) for _, values in bars)
    if not column["more_is_better"]:
        end = min(end, statistics.median(middles) * LONGEST)
    shown = [min(middle, end) for middle in middles]
    errors = [
        [length if middle < end else 0 for length, middle in zip(side, middles, strict=True)]
        for side in errors
    ]
    drawn = place.barh(range(len(bars)), shown, xerr=errors, color=colours, error_kw={"linewidth": 0.8})
    place.bar_label(drawn, [_figure(middle, cut=middle > end) for middle in middles], padding=4)
    place.set_yticks(range(len(bars)), [label for label, _ in bars])
    place.invert_yaxis()
    place.set_xlim(0, end * 1.18)
    place.set_title(f"{title} ({column['unit']})", loc="left", fontsize=10)
    place.xaxis.set_visible(False)
    for side in ("top", "right", "bottom"):
        place.spines[side].set_visible(False)


def _colour(label: str) -> str:
    if label.startswith("soniq"):
        return OURS
    return LIMIT if label.startswith(("limit", "django create", "django raw", "django async")) else THEIRS


def _figure(value: float, *, cut: bool) -> str:
    text = f"{value:,.0f}" if value >= 10 else f"{value:.1f}"
    return f"… {text}" if cut else text
