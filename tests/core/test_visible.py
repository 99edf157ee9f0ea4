"""Text of jobs is text: it moves no cursor, colours nothing and turns no reading direction."""

from __future__ import annotations

import json
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from soniq.visible import visible, visible_json, visible_line

BIDI = "".join(map(chr, [*range(0x202A, 0x202F), *range(0x2066, 0x206A), 0x200E, 0x200F, 0x061C]))


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[31mred\x1b[0m", r"\x1b[31mred\x1b[0m"),
        ("\x1b]0;title\x07", r"\x1b]0;title\x07"),
        ("over\rwritten\x08", r"over\rwritten\x08"),
        ("\x9b2J", r"\x9b2J"),
        ("invoice\u202egpj.exe", r"invoice\u202egpj.exe"),
        ("a\u2028b\ufeffc\u200bd", r"a\u2028b\ufeffc\u200bd"),
        ("\ud800", r"\ud800"),
    ],
)
def test_active_characters_are_spelled_out(text, shown):
    assert visible(text) == shown


@pytest.mark.parametrize(
    "text", ["grün 日本語 مرحبا שלום", "👩\u200d👩\u200d👧", "two\nlines\tand a tab", "\\x1b", ""]
)
def test_other_text_stays_as_it_is(text):
    """All scripts, joined emoji, lines."""
    assert visible(text) == text


@given(st.text(st.characters() | st.sampled_from(BIDI + "\x1b\x00\x7f\x85")))
def test_nothing_active_is_left(text):
    """Of all the characters there are."""
    for shown in (visible(text), visible_line(text)):
        left = {c for c in shown if unicodedata.category(c) in ("Cc", "Cs", "Zl", "Zp") or c in BIDI}
        assert left <= {"\n", "\t"}
    assert "\n" not in visible_line(text)


@given(st.recursive(st.text(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)))
def test_visible_json_means_the_same(value):
    """It can be edited and read back."""
    shown = visible_json(json.dumps(value, ensure_ascii=False))
    assert json.loads(shown) == value
    assert not set(shown) & {*BIDI, "\x1b", "\x7f", "\x85", "\u2028"}


def test_a_line_is_one_line():
    """Whatever ends lines anywhere."""
    assert visible_line("a\nb\r\nc\x0bd\u2028e\x85f\x1c  g ") == "a b c d e f g"
