"""Stored values are shown so that people can read them, whatever a row holds."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from soniq.codec import encode_values
from soniq.readable import readable
from tests.support.values import any_value

LONG = "x" * 70
SHOWN = [
    ({"$uuid": "0190"}, 'uuid("0190")'),
    ({"$float": "1e+16"}, "1e+16"),
    ({"$set": [1, {"$date": "2026-11-22"}]}, 'set([1, date("2026-11-22")])'),
    ({"$dict": {"$x": 1}}, '{"$x": 1}'),
    ({"$dict": [[1, {"$tuple": []}], ["a", None]]}, '{1: tuple([]), "a": null}'),
    ({"$enum": "shop.Colour", "name": "RED"}, "shop.Colour.RED"),
    ({"$enum": "shop.Right", "value": 3}, "shop.Right(3)"),
    ({"$dataclass": "shop.Address", "value": {"street": "x"}}, 'shop.Address({"street": "x"})'),
    ({"$model": "shop.order", "pk": 7, "db": "default"}, 'shop.order(pk=7, db="default")'),
    (
        {"$dataclass": "a.B", "value": {"long": LONG, "more": LONG}},
        f'a.B({{\n  "long": "{LONG}",\n  "more": "{LONG}"\n}})',
    ),
    ({"a": [{"$date": "2026"}], "b": {}}, '{\n  "a": [\n    date("2026")\n  ],\n  "b": {}\n}'),
    # Rows that others wrote.
    ({"$float": 5}, "float(5)"),
    ({"$dict": [1]}, "dict([1])"),
    ({"$dict": "x"}, 'dict("x")'),
    ({"$enum": "a.B"}, 'enum("a.B")'),
    ({"$x": 1, "$y": 2}, "1($y=2)"),
]


@pytest.mark.parametrize(("stored", "shown"), SHOWN, ids=[shown for _, shown in SHOWN])
def test_mark_is_shown_as_what_it_stands_for(stored, shown):
    assert readable(stored) == shown


JSON_ALONE = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(-1e15, 1e15) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text("abü", max_size=3), inner, max_size=3)
    ),
)


@given(JSON_ALONE)
def test_json_is_shown_as_json(value):
    """With the indentation that it always had."""
    assert readable(value) == json.dumps(value, indent=2, ensure_ascii=False)


@given(any_value)
def test_anything_stored_can_be_shown(value):
    assert readable(encode_values(value, limit=10**7))
