"""What may be stored: JSON and its limits, and clean text.

The same rules hold for every store, so that a job which a test accepts is accepted in production. What
is more than JSON (a UUID, a set, a model instance) is brought into JSON by :mod:`soniq.codec`.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Mapping
from typing import Any, NoReturn, TypeAlias

from soniq.errors import InvalidArguments, PayloadTooLarge
from soniq.jobs import JSON

MAX_DEPTH = 64
MAX_INT_BITS = 14_000  # Python writes no int of more than 4,300 digits
ERROR_TEXT_BYTES = 32_768
MARK = "$"  # a stored dict with a key that begins so stands for something else than a dict

_EXACT = 1e16  # from here on databases that store numbers, not their spelling, give back an int
_SCALARS = frozenset({bool, type(None)})
_NAMEABLE = frozenset({bool, int, float, type(None)})  # kinds of keys that a path can quote
_dumps = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode
_canonical = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), sort_keys=True).encode
_CUT = "\n[... {count:,} characters left out ...]\n"


class Refused(Exception):
    """A value that cannot be stored or read, on its way out through what it stands in.

    :param about: what follows the path in the message
    """

    def __init__(self, about: str) -> None:
        super().__init__(about)
        self.about = about
        self.steps: list[str] = []  # the path, its last step first

    def invalid(self, path: str) -> InvalidArguments:
        """The error for callers, whose value is called ``path``."""
        path += "".join(reversed(self.steps))
        return InvalidArguments(f"{path} {self.about}", path=path)


class _TooLong(Exception):
    """The text would be longer than the limit; the rest was not looked at."""


def encode(value: object, *, limit: int, path: str = "args") -> str:
    """The JSON text of ``value``, which is JSON itself, and of which nothing is marked.

    A database may give back floats from 1e16 on as ints, and 0.0 for -0.0.

    :param limit: bytes that the text may take
    :param path: what errors call the value
    :raises InvalidArguments: a value is not JSON, or JSON databases could not hold it; names the path
    :raises PayloadTooLarge: the text takes more than ``limit`` bytes
    """
    return within(limit, dump(plain(value, limit=limit, path=path)), path=path)


def dump(value: JSON) -> str:
    """The text of what :func:`plain` gave."""
    return _dumps(value)


def within(limit: int, text: str, *, path: str = "args") -> str:
    """``text``, if it takes no more than ``limit`` bytes.

    :raises PayloadTooLarge: it does
    """
    size = len(text) if text.isascii() else len(text.encode())
    if size > limit:
        raise PayloadTooLarge(path=path, size=size, limit=limit)
    return text


def decode(text: str) -> JSON:
    """The value whose text this is."""
    return json.loads(text)


def canonical(value: JSON) -> str:
    """A text that is the same for the same JSON, whatever the order of keys."""
    return _canonical(value)


def fingerprint(args: Mapping[str, JSON]) -> str:
    """A hash that is equal for equal arguments, in their stored form, whatever their order."""
    return hashlib.sha256(_canonical(args).encode()).hexdigest()


def clean_text(value: str, *, limit: int = ERROR_TEXT_BYTES) -> str:
    """``value`` in a form that every database stores: no NUL, no lone surrogates, at most ``limit`` bytes.

    Of a longer text head and tail stay: the head says what was going on, the tail what went wrong.
    """
    text = value.replace("\x00", "\\x00")
    raw = text.encode("utf-8", "backslashreplace")
    if len(raw) <= limit:
        return raw.decode()
    half = (limit - len(_CUT) - 16) // 2
    if half <= 0:
        return raw[:limit].decode("utf-8", "ignore")
    head = raw[:half].decode("utf-8", "ignore")
    tail = raw[-half:].decode("utf-8", "ignore")
    left_out = len(raw.decode()) - len(head) - len(tail)
    return f"{head}{_CUT.format(count=left_out)}{tail}"


def flat_text(value: object, *, limit: int) -> str | None:
    """The text of a dict of texts and small numbers, as most arguments are. None: it may be anything else.

    What is wrong with a text is looked for in all of them at once, in the JSON.

    :param limit: bytes that the text may take. What is longer for certain is not written out here.
    """
    if type(value) is not dict:
        return None
    for key, item in value.items():
        kind = type(item)
        if kind is str:
            limit -= len(item)
            if limit < 0:
                return None
        elif kind is int:
            if not -(2**63) < item < 2**63:
                return None
        elif kind is float:
            if not -_EXACT < item < _EXACT or not item:
                return None
        elif kind not in _SCALARS:
            return None
        if type(key) is not str:
            return None
    text = _dumps(value)
    return text if text.isascii() and "\\u0000" not in text else None


def plain(
    value: object,
    *,
    limit: int,
    path: str = "args",
    tag: Tag | None = None,
    of_call: bool = False,
    keep_marks: bool = False,
) -> JSON:
    """``value`` as JSON that every database gives back as it is.

    Floats that a database would change, dicts with keys that are no text, and dicts that could be taken
    for a mark are marked: ``{"$float": ...}``, ``{"$dict": ...}``. Everything else is marked by ``tag``;
    without one, nothing is marked, and what is no JSON is refused.

    :param limit: bytes that the text of it may take; looked at as far as it is certain
    :param tag: gives the JSON for a value that is none
    :param of_call: the value is a dict of arguments; it is no mark, whatever their names
    :param keep_marks: what looks like a mark is one: the value was read from a store, and edited perhaps
    :raises InvalidArguments: a value cannot be stored; names the path
    :raises PayloadTooLarge: it grows far beyond ``limit`` when written out
    """
    writer = Writer(limit, tag, keep_marks=keep_marks)
    try:
        if of_call and type(value) is dict:
            return writer.named(value, MAX_DEPTH)
        return writer.value(value, MAX_DEPTH)
    except Refused as refused:
        raise refused.invalid(path) from refused.__cause__
    except _TooLong:
        raise PayloadTooLarge(path=path, size=None, limit=limit) from None


class Writer:
    """Brings one value into JSON.

    :param room: how many bytes the text may take. Each value in a list or dict takes one at least: lists
        that are shared sixty times over would be looked at for years before their text is found too long.
    """

    def __init__(self, room: int, tag: Tag | None, *, keep_marks: bool) -> None:
        self._room = room
        self._keep_marks = keep_marks
        self._tag = tag or _refuse
        self._marks = tag is not None

    def value(self, value: Any, depth: int) -> JSON:
        """Any value, ``depth`` levels above the deepest that is allowed."""
        kind = type(value)
        if kind is str:
            self.check_length(value)
            if not value.isascii() or "\x00" in value:
                _check_text(value)
        elif kind is int:
            if value.bit_length() > MAX_INT_BITS:
                raise Refused("is an int of more than 4,000 digits; pass it as a str")
        elif kind is float:
            return self._number(value, depth)
        elif kind is dict:
            return self._mapping(value, depth)
        elif kind is list:
            return self.items(value, depth)
        elif kind not in _SCALARS:
            return self._tag(value, self, depth)
        return value

    def check_length(self, text: str | bytes) -> None:
        """Refuse a text or bytes far beyond the limit before a copy is made.

        What is a few times too long passes: it is written out, so that the error can tell its size.
        """
        self._take(len(text) >> 4)

    def items(self, values: Any, depth: int) -> list[JSON]:
        """The values of a list, or of something like it."""
        self._enter(values, depth)
        done: list[JSON] = []
        try:
            for item in values:
                done.append(self.value(item, depth - 1))  # noqa: PERF401  # its length is the path's last step
        except Refused as refused:
            refused.steps.append(f"[{len(done)}]")
            raise
        return done

    def unordered(self, values: Any, depth: int) -> list[JSON]:
        """The values of a set, in an order that depends on nothing but them."""
        self._enter(values, depth)
        done = []
        for item in values:
            try:
                done.append(self.value(item, depth - 1))
            except Refused as refused:
                refused.steps.append("{}")
                raise
        return sorted(done, key=canonical)

    def named(self, values: Mapping[str, Any], depth: int) -> dict[str, JSON]:
        """Values by name; the dict itself is no mark."""
        self._enter(values, depth)
        done = {}
        for key, item in values.items():
            if type(key) is not str or not key.isascii() or "\x00" in key:
                self._key(key)
            self._take(len(key))
            try:
                done[key] = self.value(item, depth - 1)
            except Refused as refused:
                refused.steps.append(f".{key}")
                raise
        return done

    def _number(self, value: float, depth: int) -> JSON:
        if -_EXACT < value < _EXACT and (value or math.copysign(1.0, value) > 0):
            return value
        if not math.isfinite(value):
            raise Refused(f"is {value!r}, which JSON cannot hold")
        if not self._marks:
            return value
        check_depth(depth)
        return {"$float": repr(value)}

    def _mapping(self, value: dict[Any, Any], depth: int) -> dict[str, JSON]:
        if not self._marks:
            return self.named(value, depth)
        marked = False
        for key in value:
            if type(key) is not str:
                return {"$dict": self._pairs(value, depth - 1)}
            if key[:1] == MARK:
                marked = True
        if marked and not self._keep_marks:
            return {"$dict": self.named(value, depth - 1)}
        return self.named(value, depth)

    def _pairs(self, value: dict[Any, Any], depth: int) -> list[JSON]:
        """Keys and values, in an order that depends on nothing but the keys."""
        self._enter(value, depth)
        done = []
        for key, item in value.items():
            try:
                stored = self.value(key, depth - 2)
            except Refused as refused:
                refused.steps.append(" (a key)")
                raise
            try:
                done.append([stored, self.value(item, depth - 2)])
            except Refused as refused:
                known = type(key) in _NAMEABLE or type(key) is str
                refused.steps.append(f"[{key!r}]" if known else f"[a {type(key).__qualname__}]")
                raise
        return sorted(done, key=lambda pair: canonical(pair[0]))

    def _key(self, key: object) -> None:
        if type(key) is not str:
            raise Refused(f"has a key of type {type(key).__qualname__}; keys must be str")
        try:
            _check_text(key)
        except Refused as refused:
            refused.steps.append(" (a key)")
            raise

    def _enter(self, values: Any, depth: int) -> None:
        check_depth(depth)
        self._take(len(values))

    def _take(self, size: int) -> None:
        self._room -= size
        if self._room < 0:
            raise _TooLong


Tag: TypeAlias = Callable[[object, Writer, int], JSON]  # a value, what writes its parts, the levels left


def check_depth(depth: int) -> None:
    """Refuse what would be nested too deep.

    :param depth: levels that are left
    """
    if depth <= 0:
        raise Refused(f"is nested deeper than {MAX_DEPTH} levels, or contains itself")


def _check_text(text: str) -> None:
    if "\x00" in text:
        raise Refused("contains a NUL character, which databases refuse")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise Refused(f"contains the lone surrogate {text[error.start]!r}, which is not text") from error


def _refuse(value: object, _writer: Writer, _depth: int) -> NoReturn:
    raise Refused(f"is of type {type(value).__qualname__}, which JSON cannot hold")
