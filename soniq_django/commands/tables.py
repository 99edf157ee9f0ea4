"""Aligned columns of text."""

from __future__ import annotations

import shutil
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from soniq.visible import visible_line

GAP = "  "
LEAST = 16  # characters that the last column has, however narrow the terminal is

Paint = Callable[[str], str]


@dataclass(frozen=True, slots=True)
class Cell:
    """A text, and its colour."""

    text: str
    paint: Paint | None = None


@dataclass(frozen=True, slots=True)
class Column:
    """A heading; numbers stand on the right."""

    heading: str
    right: bool = False


def table(
    columns: Sequence[Column],
    rows: Sequence[Sequence[str | Cell]],
    *,
    heading: Paint | None = None,
    width: int | None = None,
) -> list[str]:
    """The lines: headings, then rows, whose control characters are spelled out.

    :param width: cut the last column so that lines are no longer; None = cut nothing
    """
    cells = [[cell if isinstance(cell, Cell) else Cell(cell) for cell in row] for row in rows]
    shown = [[visible_line(cell.text) for cell in row] for row in cells]
    widths = [
        max([wide(column.heading), *(wide(row[index]) for row in shown)])
        for index, column in enumerate(columns)
    ]
    if width is not None:
        room = width - sum(widths[:-1]) - len(GAP) * (len(widths) - 1)
        widths[-1] = min(widths[-1], max(room, LEAST))
    titles = [column.heading for column in columns]
    lines = [_line(columns, widths, titles, [heading] * len(columns))]
    for row, texts in zip(cells, shown, strict=True):
        lines.append(_line(columns, widths, texts, [cell.paint for cell in row]))
    return lines


def _line(
    columns: Sequence[Column], widths: Sequence[int], texts: Sequence[str], paints: Sequence[Paint | None]
) -> str:
    parts = []
    for index, (column, width, text, paint) in enumerate(zip(columns, widths, texts, paints, strict=True)):
        fitted = cut(text, width)
        gap = " " * (width - wide(fitted))
        painted = paint(fitted) if paint is not None and fitted else fitted
        last = index == len(columns) - 1
        parts.append(gap + painted if column.right else painted + ("" if last else gap))
    return GAP.join(parts).rstrip()


def cut(text: str, width: int) -> str:
    """``text``, with an ellipsis at its end if it would take more than ``width`` columns."""
    if wide(text) <= width:
        return text
    kept = ""
    for letter in text:
        if wide(kept + letter) > width - 1:
            break
        kept += letter
    return f"{kept}…"


def wide(text: str) -> int:
    """The columns that ``text`` takes on a terminal."""
    if text.isascii():
        return len(text)
    return sum(
        0 if unicodedata.combining(letter) else 2 if unicodedata.east_asian_width(letter) in "WF" else 1
        for letter in text
    )


def terminal_width(*, is_terminal: bool) -> int | None:
    """How wide lines may be; None in a pipe, where nobody wants them cut."""
    return shutil.get_terminal_size().columns if is_terminal else None


def counted(count: int, noun: str, plural: str | None = None) -> str:
    """Such as "1 job" or "2,040 jobs"."""
    return f"{count:,} {noun if count == 1 else plural or noun + 's'}"
