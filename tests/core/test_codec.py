"""Values that are more than JSON come back as they were; what is stored is data, whoever wrote it."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from soniq.arguments import fingerprint
from soniq.codec import (
    Types,
    decode_values,
    encode_arguments,
    encode_result,
    encode_values,
)
from tests.support.values import Address, Colour, Parcel, Right, Size, any_value, same

BERLIN = ZoneInfo("Europe/Berlin")


def handler(parcel: Parcel, colour: Colour | None, sizes: list[Size], rights: Right) -> Address: ...


TYPES = Types.of(handler)

# name: (value, its stored form)
STORED: dict[str, tuple[Any, Any]] = {
    "uuid": (UUID(int=1), {"$uuid": "00000000-0000-0000-0000-000000000001"}),
    "naive": (datetime(2026, 11, 22, 21, 0, 0, 5), {"$datetime": "2026-11-22T21:00:00.000005"}),
    "utc": (datetime(2026, 11, 22, 21, tzinfo=UTC), {"$datetime": "2026-11-22T21:00:00+00:00"}),
    "zone": (
        datetime(2026, 11, 22, 21, tzinfo=BERLIN),
        {"$datetime": "2026-11-22T21:00:00+01:00[Europe/Berlin]"},
    ),
    "second-time-in-autumn": (
        datetime(2026, 10, 25, 2, 30, tzinfo=BERLIN, fold=1),
        {"$datetime": "2026-10-25T02:30:00+01:00[Europe/Berlin][fold=1]"},
    ),
    "never-in-spring": (
        datetime(2026, 3, 29, 2, 30, tzinfo=BERLIN),
        {"$datetime": "2026-03-29T02:30:00+01:00[Europe/Berlin]"},
    ),
    "naive-fold": (datetime(2026, 10, 25, 2, 30, fold=1), {"$datetime": "2026-10-25T02:30:00[fold=1]"}),
    "odd-offset": (
        datetime(1900, 1, 1, tzinfo=timezone(timedelta(seconds=3212))),
        {"$datetime": "1900-01-01T00:00:00+00:53:32"},
    ),
    "date": (date(2026, 11, 22), {"$date": "2026-11-22"}),
    "time": (time(21, 0, 0, 5), {"$time": "21:00:00.000005"}),
    "aware-time": (time(21, tzinfo=UTC), {"$time": "21:00:00+00:00"}),
    "time-of-a-zone": (time(2, tzinfo=BERLIN, fold=1), {"$time": "02:00:00[Europe/Berlin][fold=1]"}),
    "timedelta": (timedelta(days=1, seconds=3, microseconds=4), {"$timedelta": "P1DT0H0M3.000004S"}),
    "less-than-nothing": (timedelta(seconds=-1), {"$timedelta": "-P0DT0H0M1S"}),
    "timedelta-min": (timedelta.min, {"$timedelta": "-P999999999DT0H0M0S"}),
    "decimal": (Decimal("1.50"), {"$decimal": "1.50"}),
    "minus-zero-decimal": (Decimal("-0.00"), {"$decimal": "-0.00"}),
    "bytes": (b"\x00raw", {"$bytes": "AHJhdw=="}),
    "float-1e16": (1e16, {"$float": "1e+16"}),
    "float-max": (-1.7976931348623157e308, {"$float": "-1.7976931348623157e+308"}),
    "minus-zero": (-0.0, {"$float": "-0.0"}),
    "zero": (0.0, 0.0),
    "below-1e16": (9999999999999998.0, 9999999999999998.0),
    "tuple": ((1, (2,)), {"$tuple": [1, {"$tuple": [2]}]}),
    "set": ({"b", "a", 10, 9}, {"$set": ["a", "b", 10, 9]}),
    "frozenset": (frozenset({b"x"}), {"$frozenset": [{"$bytes": "eA=="}]}),
    "enum": (Colour.RED, {"$enum": "tests.support.values.Colour", "name": "RED"}),
    "int-enum": (Size.LARGE, {"$enum": "tests.support.values.Size", "name": "LARGE"}),
    "flag": (Right.READ | Right.WRITE, {"$enum": "tests.support.values.Right", "value": 3}),
    "dataclass": (
        Address("Main St", Colour.RED),
        {
            "$dataclass": "tests.support.values.Address",
            "value": {
                "street": "Main St",
                "colour": {"$enum": "tests.support.values.Colour", "name": "RED"},
                "tags": {"$tuple": []},
            },
        },
    ),
    "pydantic": (
        Parcel(id=UUID(int=1), to=Address("x")),
        {
            "$pydantic": "tests.support.values.Parcel",
            "value": {
                "id": {"$uuid": str(UUID(int=1))},
                "to": {"street": "x", "colour": None, "tags": {"$tuple": []}},
                "sizes": {"$set": []},
                "link": None,
            },
        },
    ),
    "key-like-a-mark": ({"$uuid": "x"}, {"$dict": {"$uuid": "x"}}),
    "dollar": ({"$": 1, "a": {"$dict": {}}}, {"$dict": {"$": 1, "a": {"$dict": {"$dict": {}}}}}),
    "keys": (
        {2: "b", 1: (), "$x": None},
        {"$dict": [["$x", None], [1, {"$tuple": []}], [2, "b"]]},
    ),
    "key-of-a-tuple": ({(1, 2): {}}, {"$dict": [[{"$tuple": [1, 2]}, {}]]}),
    "plain": ({"a": [1, None, True, "ü", 1.5]}, {"a": [1, None, True, "ü", 1.5]}),
}


@pytest.mark.parametrize("case", STORED)
def test_stored_form_is_readable_and_read_back(case):
    """One reserved key, text as ISO has it; what JSON can hold is stored as it is."""
    value, stored = STORED[case]
    assert same(encode_values(value, limit=10**6, types=TYPES), stored)
    assert same(decode_values(json.loads(json.dumps(stored)), types=TYPES), value)


@given(any_value)
def test_any_value_comes_back_as_it_was(value):
    """Equal, of the same types, all the way down."""
    args, text = encode_arguments({"$x": value, "y": value}, limit=10**7, types=TYPES)
    assert same(json.loads(text), args)
    back = decode_values(list(json.loads(text).values()), types=TYPES)
    assert same(back, [value, value])
    assert same(decode_values(json.loads(encode_result(value, limit=10**7, types=TYPES)), types=TYPES), value)


@given(st.sets(any_value.filter(lambda v: getattr(type(v), "__hash__", None) and _hashable(v)), max_size=6))
def test_equal_sets_have_equal_fingerprints(value):
    """Whatever order they were filled in: unique jobs depend on it."""
    other = set()
    for item in sorted(value, key=repr, reverse=True):
        other.add(item)
    forms = [
        encode_arguments({"x": one, "y": dict.fromkeys(one)}, limit=10**7, types=TYPES)[0]
        for one in (value, other)
    ]
    assert fingerprint(forms[0]) == fingerprint(forms[1])


def _hashable(value):
    try:
        hash(value)
    except TypeError:
        return False
    return True


def test_order_of_a_set_is_the_same_in_every_process():
    """Hashes of text differ between processes; fingerprints of unique jobs must not."""
    program = "from soniq.codec import encode_values as e; print(e({'a', 'b', 'c', 'd', b'e'}, limit=999))"
    said = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": ":".join(filter(None, sys.path))},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(said) == 1
