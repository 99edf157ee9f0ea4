"""Values that are more than JSON come back as they were; what is stored is data, whoever wrote it."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import InitVar, dataclass, field
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from enum import Enum
from fractions import Fraction
from typing import Any, Literal, NewType, TypedDict
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, Field, SecretStr, field_validator

import soniq
from soniq import InvalidArguments, JobContext, PayloadTooLarge
from soniq.arguments import MAX_DEPTH, fingerprint
from soniq.codec import (
    ANY,
    REGISTERED,
    Types,
    decode_values,
    encode_arguments,
    encode_result,
    encode_values,
    read,
    register_type,
)
from tests.support.values import Address, Colour, Parcel, Right, Size, any_value, same

BERLIN = ZoneInfo("Europe/Berlin")


def handler(parcel: Parcel, colour: Colour | None, sizes: list[Size], rights: Right) -> Address: ...


TYPES = Types.of(handler)

# name: (value, its stored form)
STORED: dict[str, tuple[Any, Any]] = {
    "uuid": (UUID(int=1), {"$uuid": "00000000-0000-0000-0000-000000000001"}),
    "naive": (
        datetime.fromisoformat("2026-11-22T21:00:00.000005"),
        {"$datetime": "2026-11-22T21:00:00.000005"},
    ),
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
    "naive-fold": (
        datetime.fromisoformat("2026-10-25T02:30").replace(fold=1),
        {"$datetime": "2026-10-25T02:30:00[fold=1]"},
    ),
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


@pytest.mark.parametrize("offset", [-999_999, -1, 1, 999_999])
def test_an_offset_of_less_than_a_second_comes_back(offset):
    """Python's own reading of ISO texts takes it for UTC."""
    zone = timezone(timedelta(microseconds=offset))
    values = [datetime(2026, 1, 1, tzinfo=zone), time(12, tzinfo=zone)]
    assert same(decode_values(encode_values(values, limit=10**6, types=TYPES), types=TYPES), values)


@given(any_value)
def test_any_value_comes_back_as_it_was(value):
    """Equal, of the same types, all the way down."""
    args, text = encode_arguments({"$x": value, "y": value}, limit=10**7, types=TYPES)
    assert same(json.loads(text), args)
    back = decode_values(list(json.loads(text).values()), types=TYPES)
    assert same(back, [value, value])
    assert same(decode_values(json.loads(encode_result(value, limit=10**7, types=TYPES)), types=TYPES), value)


@settings(max_examples=30)  # most of what it draws cannot be in a set
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


@pytest.mark.slow
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


# -- what is refused at enqueue


@dataclass
class Stranger:
    x: int = 0


@dataclass
class Needy:
    x: int
    other: InitVar[int]

    def __post_init__(self, other):
        self.y = other


@dataclass
class Computed:
    x: int
    twice: int = field(init=False)

    def __post_init__(self):
        self.twice = self.x * 2


@dataclass
class Picky:
    x: int

    def __post_init__(self):
        if self.x < 0:
            raise ValueError("x is hunter2")


@dataclass
class Slippery:
    x: int = 0

    def __getattribute__(self, name):
        if name == "x":
            raise RuntimeError("not now")
        return super().__getattribute__(name)


class Account(BaseModel):
    name: str
    secret: SecretStr = SecretStr("")
    left_out: int = Field(default=0, exclude=True)
    schema_: str = Field(default="", alias="$schema")
    when: Any = None

    @field_validator("name")
    @classmethod
    def shortened(cls, value):
        if value == "refused":
            raise ValueError("name is hunter2")
        return value[:10]


class FakeDatetime(datetime):
    """As freezegun makes them."""


class FinerDatetime(datetime):
    """As pandas makes them: more than text in ISO form says."""

    def __eq__(self, other):
        return type(other) is FinerDatetime

    def __ne__(self, other):
        return not self == other

    __hash__ = datetime.__hash__


class Odd:
    def __init__(self, x):
        self.x = x


def takes_all(all_of: tuple[Needy, Computed, Picky, Slippery, Account, Odd]) -> None: ...


ALL = Types.of(takes_all)


@pytest.mark.parametrize(
    ("value", "says"),
    [
        (Stranger(), "is a Stranger, which no annotation of takes_all names"),
        (Needy(1, 2), "is a Needy, whose constructor and fields differ in other"),
        (Slippery(), "is a Slippery that cannot be stored: RuntimeError"),
        (Account(name="a", secret=SecretStr("hunter2")), "would not come back as it is: it hides a field"),
        (Account(name="a", left_out=1), "would not come back as it is"),
        (Account.model_construct(name="refused"), "does not accept its own fields"),
        (FinerDatetime(2026, 1, 1, tzinfo=UTC), "is a FinerDatetime that is no plain datetime"),
        (Odd(1), "is of type Odd, which cannot be stored"),
        (Fraction(1), "is of type Fraction"),
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
def test_value_that_could_not_come_back_is_refused(value, says):
    """When it is enqueued, with its path, and without what it holds."""
    with pytest.raises(InvalidArguments) as error:
        encode_values({"x": (value,)}, limit=10**6, types=ALL)
    assert says in str(error.value)
    assert error.value.path == "args.x[0]"
    assert "hunter2" not in str(error.value)


def test_datetime_of_another_class_is_stored_as_one():
    """Where time is frozen, too."""
    value = FakeDatetime(2026, 1, 1, tzinfo=UTC)
    back = decode_values(encode_values(value, limit=100), types=REGISTERED)
    assert (type(back), back) == (datetime, value)


@pytest.mark.parametrize("wrap", [lambda v: (v,), lambda v: {1: v}, lambda v: {"$": v}, lambda v: [v]])
def test_depth_holds_for_the_stored_form(wrap):
    """Marks are levels, too: no store and no page gets more than MAX_DEPTH."""

    def depth(value):
        inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
        return 1 + max(map(depth, inner), default=0) if isinstance(value, (dict, list)) else 0

    value, stored = 1, None
    for _ in range(MAX_DEPTH + 1):
        value = wrap(value)
        try:
            stored = encode_values(value, limit=10**6)
        except InvalidArguments:
            break
    assert MAX_DEPTH - 3 < depth(stored) <= MAX_DEPTH


def test_size_holds_for_the_stored_form():
    """Base64 takes more room than bytes."""
    with pytest.raises(PayloadTooLarge):
        encode_arguments({"x": b"x" * 100}, limit=120)
    assert encode_arguments({"x": b"x" * 100}, limit=160)
    with pytest.raises(PayloadTooLarge):
        encode_result(b"x" * 100, limit=120, types=ANY)


# -- what is read


def test_field_that_the_constructor_does_not_take_is_set():
    """Also if it was changed since."""
    value = Computed(2)
    value.twice = 5
    back = decode_values(encode_values(value, limit=1000, types=ALL), types=ALL)
    assert (back.x, back.twice) == (2, 5)


def test_constructor_of_a_dataclass_decides():
    """What its class refuses no row makes of it."""
    stored = encode_values(Picky(1), limit=1000, types=ALL)
    stored["value"]["x"] = -1
    with pytest.raises(InvalidArguments, match="args cannot be read as Picky: ValueError") as error:
        decode_values(stored, types=ALL)
    assert "hunter2" not in str(error.value)
    assert "hunter2" in str(error.value.__cause__)


def test_pydantic_model_goes_by_its_aliases():
    """With a key that looks like a mark, and a value of any type."""
    value = Account(name="ada", when=(1, {2}), **{"$schema": "x"})
    stored = encode_values(value, limit=1000, types=ALL)
    assert stored["value"]["$dict"]["$schema"] == "x"
    assert same(decode_values(stored, types=ALL), value)


PATH = "tests.support.values"
BROKEN: dict[str, tuple[Any, str]] = {
    "unknown-mark": ({"$eval": "1+1"}, "is stored under $eval, which this release does not know"),
    "two-marks": ({"$uuid": "x", "$date": "y"}, "under $date, $uuid"),
    "more-than-the-mark": ({"$uuid": "x", "y": 1}, "under $uuid, y"),
    "no-uuid": ({"$uuid": "x"}, "cannot be read as $uuid: ValueError"),
    "uuid-of-a-number": ({"$uuid": 1}, "is stored as $uuid, but not as a text"),
    "no-datetime": ({"$datetime": "now"}, "cannot be read as $datetime"),
    "no-time-at-all": ({"$datetime": "[Europe/Berlin]"}, "cannot be read as $datetime"),
    "no-zone": ({"$datetime": "2026-01-01T00:00:00+00:00[Europe/Nowhere]"}, "ZoneInfoNotFoundError"),
    "zone-out-of-its-place": ({"$datetime": "2026-01-01T00:00:00+00:00[../../../etc/passwd]"}, "ValueError"),
    "no-timedelta": ({"$timedelta": "1 day"}, "cannot be read as $timedelta"),
    "too-much-time": ({"$timedelta": "P9999999999DT0H0M0S"}, "OverflowError"),
    "no-decimal": ({"$decimal": "x"}, "cannot be read as $decimal"),
    "no-float": ({"$float": "x"}, "cannot be read as $float"),
    "infinite": ({"$float": "inf"}, "cannot be read as $float: ValueError"),
    "no-bytes": ({"$bytes": "ä"}, "cannot be read as $bytes"),
    "tuple-of-no-list": ({"$tuple": "ab"}, "is stored as something else than a list"),
    "set-of-lists": ({"$set": [[]]}, "cannot be read as $set: TypeError"),
    "dict-of-no-pairs": ({"$dict": [[1]]}, "is stored as $dict, but not as pairs"),
    "dict-of-a-text": ({"$dict": "x"}, "is stored as something else than a list"),
    "dict-by-lists": ({"$dict": [[[], 1]]}, "cannot be read as $dict: TypeError"),
    "enum-of-the-world": ({"$enum": "os.system", "name": "x"}, "'os.system', which no annotation of handler"),
    "enum-of-a-list": ({"$enum": ["x"], "name": "x"}, "which no annotation of handler names"),
    "enum-that-is-none": ({"$enum": f"{PATH}.Address", "name": "x"}, "which is none"),
    "member-that-is-gone": ({"$enum": f"{PATH}.Colour", "name": "BLUE"}, "the member 'BLUE' of Colour"),
    "member-of-object": ({"$enum": f"{PATH}.Colour", "name": "__class__"}, "which has none"),
    "member-without-a-name": ({"$enum": f"{PATH}.Colour", "value": 1}, "which has none"),
    "flag-out-of-range": ({"$enum": f"{PATH}.Right", "value": 64}, "cannot be read as Right: ValueError"),
    "class-that-is-gone": ({"$dataclass": "shop.Gone", "value": {}}, "'shop.Gone', which no annotation"),
    "dataclass-that-is-an-enum": ({"$dataclass": f"{PATH}.Colour", "value": {}}, "which is none"),
    "field-that-is-gone": (
        {"$dataclass": f"{PATH}.Address", "value": {"street": "x", "zip": 1}},
        "is stored as an earlier Address: the class of today has no zip",
    ),
    "field-that-is-new": (
        {"$dataclass": f"{PATH}.Address", "value": {}},
        "is stored as an earlier Address: the class of today needs street",
    ),
    "no-fields": ({"$dataclass": f"{PATH}.Address"}, "is stored without its fields"),
    "fields-of-a-list": ({"$dataclass": f"{PATH}.Address", "value": []}, "is stored without its fields"),
    "model-that-refuses": ({"$pydantic": f"{PATH}.Parcel", "value": {}}, "as Parcel: ValidationError"),
    "model-that-is-none": ({"$pydantic": f"{PATH}.Address", "value": {}}, "which is none"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_row_that_the_codec_did_not_write_is_refused(case):
    """By path and type; nothing is imported, nothing constructed that no annotation names."""
    stored, says = BROKEN[case]
    with pytest.raises(InvalidArguments) as error:
        decode_values({"a": [{"x": stored}]}, types=TYPES)
    assert says in str(error.value)
    assert error.value.path.startswith("args.a[0].x")
    assert "\n" not in str(error.value)


def test_path_goes_into_what_is_marked():
    """To the very value, as the caller sees it."""
    stored = {"$tuple": [{"$dataclass": f"{PATH}.Address", "value": {"street": {"$uuid": 1}}}]}
    with pytest.raises(InvalidArguments) as error:
        decode_values(stored, types=TYPES)
    assert error.value.path == "args[0].street"


def test_arguments_are_a_dict():
    """Whatever a row holds."""
    with pytest.raises(InvalidArguments, match="args is stored as something else than a dict"):
        read([1], TYPES, of_call=True)


@pytest.mark.parametrize("value", [1.5, 0.0, -0.0, 1e16, "ü", "\\u0000", "$x", 2**70], ids=repr)
def test_flat_arguments_are_what_they_are(value):
    """Those that are stored without a closer look, and those beside them."""
    args, text = encode_arguments({"$x": value, "y": None}, limit=100)
    assert same(json.loads(text), args)
    assert same(read(args, REGISTERED, of_call=True), {"$x": value, "y": None})


def test_row_that_is_nested_beyond_reason_is_refused():
    stored: Any = {"$tuple": []}
    for _ in range(5000):
        stored = [stored]
    with pytest.raises(InvalidArguments, match="nested too deep to be read"):
        read(stored, REGISTERED)


def test_time_in_a_zone_whose_rules_changed_is_the_same_instant():
    """What was stored as 21:00+02:00 is 20:00 where the offset is +01:00."""
    back = decode_values({"$datetime": "2026-11-22T21:00:00+02:00[Europe/Berlin]"}, types=REGISTERED)
    assert (back.hour, back.tzinfo) == (20, BERLIN)


# -- which classes


Alias = NewType("Alias", Colour)


class Inner(Enum):
    A = 1


class Holder(TypedDict):
    inner: Inner | None


class Nested(BaseModel):
    parcels: dict[str, list[Parcel]]


def test_annotations_name_classes_at_any_depth():
    """In generics, dataclasses, pydantic models, typed dicts, literals, new types; the context apart."""

    def work(a: Alias, b: Nested | None, c: Holder, d: Literal[Size.LARGE, "x"], ctx: JobContext): ...

    names = {kind.__name__ for kind in Types.of(work).classes}
    assert {"Colour", "Nested", "Parcel", "Address", "Holder", "Inner", "Size"} <= names
    assert "JobContext" not in names


def test_annotation_that_cannot_be_resolved_hides_no_other():
    """As under TYPE_CHECKING."""

    def work(a: Nowhere, b: Colour): ...  # noqa: F821  # that is the point

    assert Colour in Types.of(work).classes


def test_registered_class_is_taken_by_every_job():
    """Under its name, and under those that it had."""

    @register_type
    class Plain(Enum):
        A = 1

    @dataclass
    class Moved:
        x: int

    register_type(Moved, name="codec.moved", former_names=["old.Moved"])
    stored = encode_values([Plain.A, Moved(1)], limit=1000, types=REGISTERED)
    assert stored[1]["$dataclass"] == "codec.moved"
    assert encode_values(Moved(1), limit=1000, types=ANY) == stored[1]
    old = {"$dataclass": "old.Moved", "value": {"x": 1}}
    assert decode_values([*stored, old], types=REGISTERED) == [Plain.A, Moved(1), Moved(1)]

    class Another(Enum):
        A = 1

    with pytest.raises(soniq.InvalidJob, match=r"'old\.Moved' is taken by"):
        register_type(Another, former_names=["old.Moved"])
    for foreign in (int, Odd, "x"):
        with pytest.raises(soniq.InvalidJob, match="is no enum, no dataclass and no pydantic model"):
            register_type(foreign)


def test_producer_without_the_code_stores_any_class():
    """What the job takes is decided where it is run."""
    stored = encode_values(Stranger(3), limit=1000, types=ANY)
    assert stored == {"$dataclass": f"{__name__}.Stranger", "value": {"x": 3}}
    with pytest.raises(InvalidArguments):
        decode_values(stored, types=ANY)


# -- through a job


async def test_arguments_and_result_come_back_through_a_job(any_app):
    """The handler gets what was passed, the caller what was returned; unique jobs know equal sets."""
    seen = []

    @any_app.job(unique=True)
    def work(parcel: Parcel, when: datetime, tags: set[str], **more: Colour) -> tuple[Address, ...]:
        seen.append((parcel, when, tags, more))
        return (parcel.to,)

    given = (
        Parcel(id=UUID(int=7), to=Address("x", Colour.RED)),
        datetime(2026, 1, 1, tzinfo=BERLIN),
        {"a", "b"},
    )
    job_id = await any_app.enqueue(
        work, parcel=given[0], when=given[1], tags=given[2], args={"$set": Colour.RED}
    )
    again = await work.aenqueue(given[0], given[1], {"b", "a"}, **{"$set": Colour.RED})
    assert again == job_id
    assert (await any_app.get_job(job_id))["args"]["tags"] == {"$set": ["a", "b"]}
    await any_app.run_worker(run_once=True)
    assert same(seen, [(*given, {"$set": Colour.RED})])
    assert same(await any_app.get_result(job_id), (given[0].to,))


async def test_argument_that_cannot_be_read_any_more_ends_as_invalid_arguments(any_app):
    """Named by path and type; no attempt is made, and the reason behind it is told."""

    @any_app.job(name="work")
    def work(items: list[Picky]): ...

    job_id = await any_app.enqueue(work, items=[Picky(1)])
    Picky.__post_init__, real = lambda self: [].pop(), Picky.__post_init__
    try:
        await any_app.run_worker(run_once=True)
    finally:
        Picky.__post_init__ = real
    letter = await any_app.dead_letter.get_dead_letter_job(job_id)
    assert letter.dead_letter_reason == "invalid_arguments"
    assert "args.items[0] cannot be read as Picky: IndexError" in letter.last_error
    assert "(IndexError: pop from empty list)" in letter.last_error


async def test_replay_keeps_what_was_stored_and_takes_values_beside_it(any_app):
    """Marks that come from the dead letter are marks; what only looks so is refused."""
    seen = []

    @any_app.job(max_retries=0)
    def work(parcel: Parcel, tags: set[str], note: dict[str, str]):
        seen.append((parcel, tags, note))
        raise ValueError

    given = (Parcel(id=UUID(int=7), to=Address("x")), {"a"}, {"$uuid": "no uuid"})
    job_id = await work.aenqueue(*given)
    await any_app.run_worker(run_once=True)
    letter = await any_app.dead_letter.get_dead_letter_job(job_id)
    await any_app.dead_letter.replay(job_id)
    await any_app.dead_letter.replay(job_id, new_args={**letter.args, "tags": {"b"}})
    await any_app.run_worker(run_once=True)
    assert same(seen, [given, given, (given[0], {"b"}, given[2])])
    with pytest.raises(InvalidArguments, match=r"args\.tags cannot be read as \$uuid"):
        await any_app.dead_letter.replay(job_id, new_args={**letter.args, "tags": {"$uuid": "x"}})


async def test_replay_of_a_validated_job_shows_its_model_values(any_app):
    """The model never sees a mark."""

    class Model(BaseModel):
        note: dict[str, str]

    @any_app.job(max_retries=0, validate=Model)
    def work(note: dict[str, str]):
        raise ValueError(note["$x"])

    job_id = await work.aenqueue(note={"$x": "y"})
    await any_app.run_worker(run_once=True)
    letter = await any_app.dead_letter.get_dead_letter_job(job_id)
    assert letter.last_error.endswith("ValueError: y")
    new_id = await any_app.dead_letter.replay(job_id)
    assert (await any_app.get_job(new_id))["args"] == letter.args == {"note": {"$dict": {"$x": "y"}}}


async def test_result_of_a_job_that_is_gone_is_read_as_far_as_no_class_is_needed(any_app, make_any):
    """Of a class that nothing allows, the error says so."""

    @any_app.job
    def work(address: Address | None) -> Address | tuple[int, int]:
        return address or (1, 2)

    ids = [await any_app.enqueue(work, address=address) for address in (Address("x"), None)]
    await any_app.run_worker(run_once=True)
    any_app.registry._tasks.clear()
    with pytest.raises(InvalidArguments, match=r"result is stored as the dataclass .*Address"):
        await any_app.get_result(ids[0])
    assert await any_app.get_result(ids[1]) == (1, 2)


def test_option_missing_is_checked(app):
    """Like every other."""
    with pytest.raises(soniq.InvalidJob, match="missing is 'skip': give 'fail', 'discard' or 'none'"):
        app.job(missing="skip")(lambda: None)
