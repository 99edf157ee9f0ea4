"""What may be stored: refused values name their path, accepted ones come back as they were."""

from __future__ import annotations

import json
import math
import tracemalloc
from collections import OrderedDict
from decimal import Decimal
from enum import IntEnum, StrEnum
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from soniq.arguments import ERROR_TEXT_BYTES, MAX_DEPTH, clean_text, decode, encode, fingerprint
from soniq.codec import REGISTERED, decode_values, encode_arguments, encode_result
from soniq.errors import InvalidArguments, PayloadTooLarge


class Colour(StrEnum):
    RED = "red"


class Size(IntEnum):
    LARGE = 3


class Order:
    """Looks like a Django model."""

    pk = 7


class Shy:
    """Answers no question about itself."""

    @property
    def pk(self):
        raise RuntimeError("not now")

    def __repr__(self):
        raise RuntimeError("not now")

    def __hash__(self):
        return 1


class Point(NamedTuple):
    x: int
    y: int


class Text(str):
    __slots__ = ()


def cycle():
    value = {}
    value["self"] = [value]
    return value


def nested(levels, kind=list):
    value = 1
    for _ in range(levels):
        value = [value] if kind is list else {"a": value}
    return value


def shared(levels):
    """Small in memory, but 2 ** levels long when written out."""
    value = []
    for _ in range(levels):
        value = [value, value]
    return value


# name: (value, what the message says besides the path)
REFUSED = {
    "nul": ("a\x00b", "NUL"),
    "lone-high-surrogate": ("a\ud800", r"surrogate '\\ud800'"),
    "lone-low-surrogate": ("\udfff", "surrogate"),
    "nan": (math.nan, "nan"),
    "inf": (math.inf, "inf"),
    "minus-inf": (-math.inf, "-inf"),
    "int-of-5000-digits": (10**5000, "int"),
    "nan-in-a-tuple": ((math.nan,), "nan"),
    "lone-surrogate-in-a-set": ({"a\ud800"}, "surrogate"),
    "named-tuple": (Point(1, 2), "Point.*pass a tuple"),
    "bytearray": (bytearray(b"raw"), "bytearray.*pass bytes"),
    "decimal-nan": (Decimal("nan"), "no number"),
    "decimal-inf": (Decimal("-inf"), "no number"),
    "fraction": (Fraction(1, 2), "Fraction"),
    "complex": (1j, "complex"),
    "path": (Path("x"), "Path"),
    "str-enum": (Colour.RED, "Colour.*register_type"),
    "int-enum": (Size.LARGE, "Size.*register_type"),
    "str-subclass": (Text("x"), "Text.*pass the plain value"),
    "ordered-dict": (OrderedDict(a=1), "OrderedDict"),
    "model": (Order(), "Order.*pass its pk"),
    "shy-object": (Shy(), "Shy"),
    "function": (len, "builtin_function"),
    "class": (Order, "type"),
    "generator": ((x for x in ()), "generator"),
    "ellipsis": (..., "ellipsis"),
    "cycle": (cycle(), "contains itself"),
    "too-deep": (nested(MAX_DEPTH + 1), "deeper than 64 levels"),
    "far-too-deep": (nested(10_000, dict), "deeper than 64 levels"),
}

# name: (value, path of the error)
BAD_KEYS = {
    "str-enum-key": ({Colour.RED: 1}, "args.x (a key)"),
    "shy-key": ({Shy(): 1}, "args.x (a key)"),
    "nan-key": ({math.nan: 1}, "args.x (a key)"),
    "value-of-an-int-key": ({1: Shy()}, "args.x[1]"),
    "value-of-a-str-key-beside-it": ({"a": Shy(), 1: 1}, "args.x['a']"),
    "value-of-a-tuple-key": ({(1, 2): math.nan}, "args.x[a tuple]"),
    "nul-in-key": ({"a\x00": 1}, "args.x (a key)"),
    "surrogate-in-key": ({"a\ud800": 1}, "args.x (a key)"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_foreign_value_is_refused_with_the_path_to_it(case):
    """However deep it stands; the message is one line that names path, kind and remedy."""
    value, says = REFUSED[case]
    with pytest.raises(InvalidArguments, match=says) as error:
        encode_arguments({"orders": [{"note": value}]}, limit=10**6, types=REGISTERED)
    assert error.value.path.startswith("args.orders[0].note")
    assert error.value.path in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("case", REFUSED)
async def test_refused_argument_is_not_enqueued(any_app, case):
    """The same on every store: enqueue raises, and nothing is written."""

    @any_app.job()
    def work(items):
        pass

    for enqueue in (
        lambda: any_app.enqueue(work, items=[REFUSED[case][0]]),
        lambda: work.aenqueue(items=[REFUSED[case][0]]),
        lambda: any_app.enqueue_many(work, [{"items": []}, {"items": [REFUSED[case][0]]}]),
    ):
        with pytest.raises(InvalidArguments) as error:
            await enqueue()
        assert "args.items[0]" in error.value.path
    assert (await any_app.get_queue_stats())["total"] == 0


@pytest.mark.parametrize("case", BAD_KEYS)
def test_bad_key_is_refused_with_the_path_to_its_dict(case):
    """Keys that no database stores, or whose values none does."""
    value, path = BAD_KEYS[case]
    with pytest.raises(InvalidArguments) as error:
        encode_arguments({"x": value}, limit=10**6, types=REGISTERED)
    assert error.value.path == path
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("args", [{1: 2}, {"a": [], None: 1}], ids=repr)
def test_a_name_of_an_argument_is_text(args):
    """Unlike the keys of a dict among them."""
    with pytest.raises(InvalidArguments, match="keys must be str") as error:
        encode_arguments(args, limit=100)
    assert error.value.path == "args"


@pytest.mark.parametrize("value", [b"raw", (1,), {1}, {1: 2}, math.nan], ids=repr)
def test_what_must_be_json_is_json(value):
    """Names, keys, tags and contexts are no place for marks."""
    with pytest.raises(InvalidArguments, match=r"which JSON cannot hold|keys must be str|cannot hold"):
        encode([value], limit=100)
    assert encode({"$x": [1e16, -0.0]}, limit=100) == '{"$x":[1e+16,-0.0]}'


def test_the_path_names_the_value_exactly():
    """Dict keys after dots, list places in brackets."""
    with pytest.raises(InvalidArguments) as error:
        encode({"order": {"lines": [1, {"price": math.nan}]}}, limit=1000)
    assert error.value.path == "args.order.lines[1].price"
    assert error.value.code == "invalid_arguments"


def test_depth_at_the_limit_is_accepted():
    """Sixty-four levels, not one more."""
    for kind in (list, dict):
        value = nested(MAX_DEPTH, kind)
        assert decode(encode(value, limit=10**6)) == value
        with pytest.raises(InvalidArguments):
            encode(nested(MAX_DEPTH + 1, kind), limit=10**6)


@pytest.mark.timeout(20)
def test_value_that_grows_when_written_out_is_refused_at_once():
    """Sixty shared lists would be 2 ** 60 lists of JSON; nobody waits for that."""
    with pytest.raises(PayloadTooLarge):
        encode({"x": shared(60)}, limit=10**5)


def test_a_shared_value_within_the_limit_is_accepted():
    """Sharing as such is no fault."""
    assert decode(encode(shared(5), limit=10**6)) == shared(5)


def test_one_text_a_thousand_times_is_refused_at_once():
    """A thousand times a megabyte are not written out first."""
    text = "ü" * 2**20
    with pytest.raises(PayloadTooLarge, match="far too many"):
        encode_arguments({"x": [text] * 1000}, limit=2**20)


@pytest.mark.parametrize(
    ("value", "size"),
    [({"x": "a" * 92}, 100), ({"x": "ü" * 46}, 100), ({"x": [1] * 46}, 99), ({"x": "日" * 30}, 98)],
)
def test_the_limit_counts_bytes_of_utf_8(value, size):
    """At the limit accepted, one byte above refused with both numbers."""
    assert len(encode(value, limit=size).encode()) == size
    with pytest.raises(PayloadTooLarge) as error:
        encode(value, limit=size - 1)
    assert (error.value.size, error.value.limit, error.value.path) == (size, size - 1, "args")
    assert error.value.code == "payload_too_large"
    assert "pass a reference" in str(error.value)


async def test_ten_megabytes_are_refused_and_not_written(any_app):
    """The default limit is 1 MiB."""

    @any_app.job()
    def work(text):
        pass

    with pytest.raises(PayloadTooLarge):
        await any_app.enqueue(work, text="x" * 10_000_000)
    assert (await any_app.get_queue_stats())["total"] == 0


HUGE = 300_000_000
HUGE_VALUES = {
    "text": lambda: "x" * HUGE,
    "text in two bytes a letter": lambda: "ü" * (HUGE // 2),
    "bytes": lambda: bytes(HUGE),
    "a text in a list": lambda: ["x" * HUGE],
    "a text in a dict": lambda: {"text": "x" * HUGE},
    "a text as a key": lambda: {"x" * HUGE: 1},
    "many texts": lambda: ["x" * 1_000] * (HUGE // 1_000),
}


@pytest.mark.slow
@pytest.mark.parametrize("huge", HUGE_VALUES.values(), ids=HUGE_VALUES)
async def test_300_megabytes_are_refused_before_they_are_copied(any_app, huge):
    """Memory stays within a few times the limit, whatever is passed; nothing is written."""

    @any_app.job()
    def work(data):
        pass

    data = huge()
    tracemalloc.start()
    try:
        with pytest.raises(PayloadTooLarge, match=r"args.* over the limit of 1,048,576; store the data"):
            await any_app.enqueue(work, data=data)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 16 * 2**20
    assert (await any_app.get_queue_stats())["total"] == 0


async def test_a_result_of_300_megabytes_is_refused_before_it_is_copied(any_app):
    """The job has run, and is done; what it returned is not stored."""

    @any_app.job()
    def work():
        return "x" * HUGE

    job_id = await any_app.enqueue(work)
    tracemalloc.start()
    try:
        await any_app.run_worker(run_once=True)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    job = await any_app.get_job(job_id)
    assert job["status"] == "done"
    assert "the result was not stored" in job["last_error"]
    assert HUGE < peak < HUGE + 16 * 2**20  # the value itself, and no copy


@pytest.mark.parametrize(
    "value", [2**63, -(2**63) - 1, 10**100, 10**4000], ids=["2**63", "-2**63-1", "10**100", "10**4000"]
)
async def test_huge_int_is_stored_exactly(any_app, value):
    """JSON knows no 64 bits, and neither do we."""
    seen = []

    @any_app.job()
    def work(number):
        seen.append(number)
        return number

    job_id = await any_app.enqueue(work, number=value)
    await any_app.run_worker(run_once=True)
    assert seen == [value]
    assert await any_app.get_result(job_id) == value


JSON_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"])),
    lambda inner: (
        st.lists(inner, max_size=5)
        | st.dictionaries(
            st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"])), inner, max_size=5
        )
    ),
    max_leaves=20,
)


def same(one, other):
    """Equal and of the same types all the way down; 1, 1.0 and True are three values."""
    if type(one) is not type(other):
        return False
    if isinstance(one, dict):
        return list(one) == list(other) and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list):
        return len(one) == len(other) and all(map(same, one, other))
    return one == other and (not isinstance(one, float) or math.copysign(1, one) == math.copysign(1, other))


@given(JSON_VALUES)
def test_every_json_value_comes_back_as_it_was(value):
    """Equal, of the same types, with keys in the same order."""
    stored = decode(encode_result(value, limit=10**6, types=REGISTERED))
    assert same(decode_values(stored, types=REGISTERED), value)


@given(st.dictionaries(st.text("abc", max_size=3), JSON_VALUES, max_size=5), st.randoms())
def test_fingerprint_knows_no_order_of_keys(args, random):
    """Equal arguments have equal fingerprints however they were written."""
    items = list(args.items())
    random.shuffle(items)
    assert fingerprint(dict(items)) == fingerprint(args)


@pytest.mark.parametrize(
    ("one", "other"),
    [({"a": 1}, {"a": 1.0}), ({"a": 1}, {"a": True}), ({"a": "1"}, {"a": 1}), ({}, {"a": None})],
)
def test_fingerprint_tells_different_arguments_apart(one, other):
    """Also those that Python calls equal."""
    assert fingerprint(one) != fingerprint(other)


ANY_TEXT = st.text(st.characters(codec=None), max_size=300)


@given(ANY_TEXT, st.integers(0, 400))
@settings(max_examples=300)
def test_clean_text_is_storable_and_within_its_limit(text, limit):
    """Whatever the text and the limit: no NUL, no surrogate, never more bytes."""
    cleaned = clean_text(text, limit=limit)
    assert "\x00" not in cleaned
    assert len(cleaned.encode("utf-8")) <= limit


@given(ANY_TEXT)
def test_clean_text_leaves_storable_text_alone(text):
    """Nothing is lost from a short text; what cannot be stored is spelled out."""
    cleaned = clean_text(text)
    assert cleaned == text.replace("\x00", "\\x00").encode("utf-8", "backslashreplace").decode()


@given(st.text(min_size=1, max_size=20), st.text(min_size=1, max_size=20), st.sampled_from("xü日😀\x00"))
@settings(max_examples=30)
def test_clean_text_keeps_head_and_tail_of_a_long_text(head, tail, filler):
    """And says how much is missing between them."""
    cleaned = clean_text(head + filler * 40_000 + tail)
    assert cleaned.startswith(clean_text(head))
    assert cleaned.endswith(clean_text(tail))
    assert "characters left out" in cleaned
    assert ERROR_TEXT_BYTES - 100 < len(cleaned.encode()) <= ERROR_TEXT_BYTES


@pytest.mark.parametrize("filler", ["x", "日", "\ud800", "\x00"])
def test_clean_text_counts_what_it_left_out(filler):
    """Kept and left out add up to the text as it would have been spelled out."""
    text = filler * 50_000
    spelled = clean_text(text, limit=10**7)
    cleaned = clean_text(text)
    head, _, rest = cleaned.partition("\n[... ")
    count, _, tail = rest.partition(" characters left out ...]\n")
    assert len(head) + int(count.replace(",", "")) + len(tail) == len(spelled)


def test_encode_writes_compact_json():
    """The text is JSON for every other program, too."""
    assert encode({"b": [1, 2.5, None], "a": "é"}, limit=100) == '{"b":[1,2.5,null],"a":"é"}'
    assert json.loads(encode("x", limit=100)) == "x"
