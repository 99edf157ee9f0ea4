"""What may be stored: the JSON codec of arguments and results, its limits, and clean text.

The same rules hold for every store, so that a job which a test accepts is accepted in production.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator, Mapping
from typing import Any

from soniq.errors import InvalidArguments, PayloadTooLarge
from soniq.jobs import JSON

MAX_DEPTH = 64
MAX_INT_BITS = 14_000  # Python writes no int of more than 4,300 digits
ERROR_TEXT_BYTES = 32_768

_SCALARS = frozenset({bool, type(None)})
_dumps = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode
_CUT = "\n[... {count:,} characters left out ...]\n"


def encode(value: object, *, limit: int, path: str = "args") -> str:
    """The JSON text of ``value``; decoding it gives an equal value of the same type.

    Floats from 1e16 on are the exception: a database that stores numbers and not their spelling
    (PostgreSQL's jsonb) gives back an int, of which ``float()`` makes the same float; and 0.0 for -0.0.

    :param limit: bytes that the text may take
    :param path: what errors call the value
    :raises InvalidArguments: a value is not JSON, or JSON databases could not hold it; names the path
    :raises PayloadTooLarge: the text takes more than ``limit`` bytes
    """
    if not _is_flat(value) and _check(value, path, MAX_DEPTH, limit) < 0:
        raise PayloadTooLarge(path=path, size=None, limit=limit)
    text = _dumps(value)
    size = len(text) if text.isascii() else len(text.encode())
    if size > limit:
        raise PayloadTooLarge(path=path, size=size, limit=limit)
    return text


def decode(text: str) -> JSON:
    """The value that :func:`encode` was given."""
    return json.loads(text)


def fingerprint(args: Mapping[str, JSON]) -> str:
    """A hash that is equal for equal arguments, whatever their order."""
    canonical = json.dumps(args, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()


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


def _is_flat(value: object) -> bool:
    """Whether this is a dict of texts and small numbers, as most arguments are, and beyond doubt."""
    if type(value) is not dict:
        return False
    for key, item in value.items():
        if type(key) is not str or not key.isascii() or "\x00" in key:
            return False
        kind = type(item)
        if kind is str:
            if not item.isascii() or "\x00" in item:
                return False
        elif kind is int:
            if not -(2**63) < item < 2**63:
                return False
        elif kind not in _SCALARS:
            return False
    return True


def _check(value: object, path: str, depth: int, room: int) -> int:
    """Refuse what JSON, or one of the databases, would change or reject.

    :param room: how many bytes the text may take; each value in a list or dict takes one at least
    :returns: the room that is left. Less than 0: the rest was not looked at. Without it, lists that are
        shared sixty times over would be looked at for years before their text is found too long.
    """
    kind = type(value)
    if kind in _SCALARS:
        return room
    if kind is str:
        _check_text(value, path)  # type: ignore[arg-type]  # kind says it is a str
    elif kind is int:
        if value.bit_length() > MAX_INT_BITS:  # type: ignore[attr-defined]  # kind says it is an int
            raise InvalidArguments(f"{path} is an int of more than 4,000 digits; pass it as a str", path=path)
    elif kind is float:
        if not math.isfinite(value):  # type: ignore[arg-type]  # kind says it is a float
            raise InvalidArguments(f"{path} is {value!r}, which JSON cannot hold", path=path)
    elif kind is not dict and kind is not list:
        raise InvalidArguments(_foreign(value, path), path=path)
    elif depth <= 0:
        raise InvalidArguments(
            f"{path} is nested deeper than {MAX_DEPTH} levels, or contains itself", path=path
        )
    else:
        room -= len(value)  # type: ignore[arg-type]  # kind says it is a dict or list
        for place, item in _items(value, path):
            if room < 0:
                break
            room = _check(item, place, depth - 1, room)
    return room


def _items(value: Any, path: str) -> Iterator[tuple[str, object]]:
    """What a list or dict holds, each with its path. Refuses keys that are no plain text."""
    if type(value) is list:
        for index, item in enumerate(value):
            yield f"{path}[{index}]", item
        return
    for key, item in value.items():
        if type(key) is not str:
            raise InvalidArguments(
                f"{path} has a key of type {type(key).__qualname__}; keys must be str", path=path
            )
        _check_text(key, f"{path} (a key)")
        yield f"{path}.{key}", item


def _check_text(text: str, path: str) -> None:
    if "\x00" in text:
        raise InvalidArguments(f"{path} contains a NUL character, which databases refuse", path=path)
    try:
        if not text.isascii():
            text.encode()
    except UnicodeEncodeError as error:
        raise InvalidArguments(
            f"{path} contains the lone surrogate {text[error.start]!r}, which is not text", path=path
        ) from error


def _foreign(value: object, path: str) -> str:
    kind = type(value)
    if kind is tuple:
        remedy = "pass a list"
    elif kind in (set, frozenset):
        remedy = "pass a sorted list"
    elif hasattr(kind, "pk"):  # asking the value itself might run code of its own
        remedy = "pass its pk and load it in the job"
    elif isinstance(value, (str, int, float)):
        remedy = "pass the plain value"
    else:
        remedy = "pass a str, a number, or a list or dict of these"
    return f"{path} is of type {kind.__qualname__}, which JSON cannot hold; {remedy}"
