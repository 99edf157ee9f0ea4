"""Columns stay aligned, whatever stands in them."""

from __future__ import annotations

from soniq_django.commands.tables import Cell, Column, counted, cut, table, wide

COLUMNS = [Column("NAME"), Column("COUNT", right=True), Column("NOTE")]


def starts(lines: list[str], *texts: str) -> set[int]:
    """On which columns of the terminal these begin."""
    return {wide(line[: line.index(text)]) for line, text in zip(lines, texts, strict=True)}


def test_columns_begin_under_their_headings_even_with_wide_letters() -> None:
    lines = table(COLUMNS, [["注文", "1", "first"], ["e\u0301mails", "10,000+", "second"]])

    assert starts(lines, "NOTE", "first", "second") == {17}


def test_colours_take_no_room() -> None:
    rows = [[Cell("a", lambda text: f"<{text}>"), "1", "x"], ["bbbb", "22", "y"]]

    assert table(COLUMNS, rows, heading=str.lower) == [
        "name  count  note",
        "<a>         1  x",
        "bbbb     22  y",
    ]


def test_the_last_column_is_cut_to_fit_and_control_characters_are_spelled_out() -> None:
    lines = table(COLUMNS, [["a\nb", "1", "\x1b[2J" + "z" * 99]], width=40)

    assert len(lines) == 2
    assert wide(lines[1]) == 40
    assert lines[1].startswith("a b       1  \\x1b[2Jzzz")
    assert lines[1].endswith("z…")


def test_a_text_is_cut_by_the_room_it_takes() -> None:
    assert cut("注文受付", 5) == "注文…"
    assert cut("abc", 3) == "abc"


def test_one_is_no_plural() -> None:
    assert [counted(number, "job") for number in (0, 1, 2040)] == ["0 jobs", "1 job", "2,040 jobs"]
