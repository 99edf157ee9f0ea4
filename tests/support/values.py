"""Values of every kind that can be stored, as tests draw them, and what it means that one came back."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from datetime import datetime, time, timedelta, timezone
from decimal import Decimal
from enum import Flag, IntEnum, StrEnum
from typing import Any
from uuid import UUID

from hypothesis import strategies as st
from pydantic import BaseModel, HttpUrl


class Colour(StrEnum):
    RED = "red"
    GREEN = "green"


class Size(IntEnum):
    SMALL = 1
    LARGE = 3


class Right(Flag):
    READ = 1
    WRITE = 2


@dataclass(frozen=True)
class Address:
    street: str
    colour: Colour | None = None
    tags: tuple[str, ...] = ()


class Parcel(BaseModel):
    id: UUID
    to: Address
    sizes: set[Size] = set()
    link: HttpUrl | None = None


def same(one: Any, other: Any) -> bool:
    """Equal and of the same types all the way down; 1 and True are two values, 0.0 and -0.0 are."""
    if type(one) is not type(other):
        return False
    if isinstance(one, dict):
        return _same_dicts(one, other)
    if isinstance(one, (list, tuple)):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, (set, frozenset)):
        return len(one) == len(other) and all(any(same(mine, yours) for yours in other) for mine in one)
    if dataclasses.is_dataclass(one):
        return same(vars(one), vars(other))
    if isinstance(one, BaseModel):
        return same(one.__dict__, other.__dict__)
    if isinstance(one, float):
        return one == other and math.copysign(1, one) == math.copysign(1, other)
    if isinstance(one, Decimal):
        return one.as_tuple() == other.as_tuple()
    if isinstance(one, (datetime, time)):
        return (one.replace(tzinfo=None), one.tzinfo, one.fold) == (
            other.replace(tzinfo=None),
            other.tzinfo,
            other.fold,
        )
    return bool(one == other)


def _same_dicts(one: dict[Any, Any], other: dict[Any, Any]) -> bool:
    return len(one) == len(other) and all(
        any(same(key, theirs) and same(item, other[theirs]) for theirs in other) for key, item in one.items()
    )


texts = st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"]), max_size=6)
keys = texts | st.sampled_from(["$uuid", "$", "$dict", "$model", "name", "value"])
zones = st.none() | st.timezones() | st.timedeltas(timedelta(hours=-23), timedelta(hours=23)).map(timezone)
scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.floats(allow_nan=False, allow_infinity=False),
    st.sampled_from([-0.0, 1e16, 1e22, -1e300, 5e-324]),
    texts,
    st.uuids(),
    st.datetimes(timezones=zones),
    st.dates(),
    st.times(timezones=zones),
    st.timedeltas(),
    st.decimals(allow_nan=False, allow_infinity=False),
    st.binary(max_size=6),
    st.sampled_from([Colour.RED, Size.LARGE, Right.READ, Right.READ | Right.WRITE, Right(0)]),
)
addresses = st.builds(
    Address, texts, st.none() | st.sampled_from(Colour), st.lists(texts, max_size=2).map(tuple)
)
parcels = st.builds(
    Parcel,
    id=st.uuids(),
    to=addresses,
    sizes=st.sets(st.sampled_from(Size)),
    link=st.sampled_from([None, "https://example.com/a?b=1"]),
)
hashable = st.recursive(
    scalars | addresses,
    lambda inner: st.lists(inner, max_size=3).map(tuple) | st.frozensets(inner, max_size=3),
    max_leaves=5,
)
any_value = st.recursive(
    hashable | parcels,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.lists(inner, max_size=3).map(tuple),
        st.dictionaries(keys, inner, max_size=3),
        st.dictionaries(hashable, inner, max_size=3),
        st.sets(hashable, max_size=3),
    ),
    max_leaves=10,
)
