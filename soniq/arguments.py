"""What may be stored: the JSON codec of arguments and results, its limits, and clean text.

The same rules hold for every store, so that a job which a test accepts is accepted in production.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping

from soniq.errors import InvalidArguments, PayloadTooLarge
from soniq.jobs import JSON

MAX_DEPTH = 64
ERROR_TEXT_BYTES = 32_768

_SCALARS = frozenset({bool, int, type(None)})
_CUT = "\n[... {count:,} characters left out ...]\n"


def encode(value: object, *, limit: int, path: str = "args") -> str:
    """The JSON text of ``value``; decoding it gives an equal value.

    Types stay as well, but for floats from 1e16 on: a database that stores numbers and not their
    spelling (PostgreSQL's jsonb) may give back the equal int.

    :param limit: bytes that the text may take
    :param path: what errors call the value
    :raises InvalidArguments: a value is not JSON, or JSON databases could not hold it; names the path
    :raises PayloadTooLarge: the text takes more than ``limit`` bytes
    """
    _check(value, path, MAX_DEPTH)
    try:
        text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    except (ValueError, RecursionError) as error:  # e.g. an int over Python's digit limit
        raise InvalidArguments(f"{path} cannot be stored: {error}", path=path) from error
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
    half = max(0, (limit - len(_CUT) - 16) // 2)
    head = raw[:half].decode("utf-8", "ignore")
    tail = raw[-half:].decode("utf-8", "ignore") if half else ""
    left_out = len(text) - len(head) - len(tail)
    return f"{head}{_CUT.format(count=left_out)}{tail}"


def _check(value: object, path: str, depth: int) -> None:
    """Refuse what JSON, or one of the databases, would change or reject."""
    kind = type(value)
    if kind in _SCALARS:
        return
    if kind is str:
        _check_text(value, path)  # type: ignore[arg-type]  # kind says it is a str
    elif kind is float:
        if not math.isfinite(value):  # type: ignore[arg-type]  # kind says it is a float
            raise InvalidArguments(f"{path} is {value!r}, which JSON cannot hold", path=path)
    elif depth <= 0:
        raise InvalidArguments(
            f"{path} is nested deeper than {MAX_DEPTH} levels, or contains itself", path=path
        )
    elif kind is dict:
        for key, item in value.items():  # type: ignore[attr-defined]  # kind says it is a dict
            if type(key) is not str:
                raise InvalidArguments(
                    f"{path} has the key {key!r}: keys must be str, not {type(key).__name__}",
                    path=path,
                )
            _check_text(key, f"{path} (a key)")
            _check(item, f"{path}.{key}", depth - 1)
    elif kind is list:
        for index, item in enumerate(value):  # type: ignore[arg-type]  # kind says it is a list
            _check(item, f"{path}[{index}]", depth - 1)
    else:
        raise InvalidArguments(_foreign(value, path), path=path)


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
    elif hasattr(value, "pk"):
        remedy = "pass its pk and load it in the job"
    elif isinstance(value, (str, int, float)):
        remedy = "pass the plain value"
    else:
        remedy = "pass a str, a number, or a list or dict of these"
    return f"{path} is of type {kind.__qualname__}, which JSON cannot hold; {remedy}"
