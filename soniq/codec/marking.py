"""From values to marks: what the codec makes of a value that is no JSON."""

from __future__ import annotations

import base64
import dataclasses
from collections.abc import Callable, Mapping
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum, Flag
from typing import Any
from uuid import UUID

from soniq.arguments import Refused, Writer, check_depth
from soniq.codec.moments import date_of, datetime_of, duration_text, moment_text
from soniq.codec.references import conversions, references
from soniq.codec.structs import dumped, fields_of
from soniq.codec.types import Types, is_pydantic
from soniq.jobs import JSON


class Marker:
    """Marks the values that are no JSON, for :class:`soniq.arguments.Writer`."""

    def __init__(self, types: Types) -> None:
        self._types = types

    def __call__(self, value: Any, writer: Writer, depth: int) -> JSON:
        """The mark for ``value``; ``writer`` brings its parts into JSON, within ``depth`` levels."""
        kind = type(value)
        check_depth(depth)
        text = _TEXTS.get(kind)
        if text is not None:
            if kind is bytes:
                writer.check_length(value)
            return {text[0]: text[1](value)}
        if kind is tuple:
            return {"$tuple": writer.items(value, depth - 1)}
        if kind is set or kind is frozenset:
            return {f"${kind.__name__}": writer.unordered(value, depth - 1)}
        if issubclass(kind, Enum):
            name = self._types.name_of(kind)
            if isinstance(value, Flag):
                return {"$enum": name, "value": writer.value(value.value, depth - 1)}
            return {"$enum": name, "name": writer.value(value.name, depth - 1)}
        if dataclasses.is_dataclass(kind):
            name = self._types.name_of(kind)
            return {"$dataclass": name, "value": writer.value(_own(kind, fields_of, value), depth - 1)}
        if is_pydantic(kind):
            name = self._types.name_of(kind)
            return {"$pydantic": name, "value": writer.value(_own(kind, dumped, value), depth - 1)}
        for convertible, convert in conversions.items():
            if _own(kind, isinstance, value, convertible):
                return writer.value(_own(kind, convert, value), depth - 1)
        for kind_of_reference in references.values():
            if _own(kind, kind_of_reference.owns, value):
                parts = _own(kind, kind_of_reference.stored, value, self._types)
                return {name: writer.value(part, depth - 1) for name, part in parts.items()}
        for base in (datetime, date):  # such as freezegun's
            if issubclass(kind, base):
                return writer.value(_own(kind, _as_plain, base, value), depth - 1)
        raise Refused(_foreign(kind))


def _own(kind: type, call: Callable[..., Any], *args: Any) -> Any:
    """What a call says that may run a value's own code, which may raise anything."""
    try:
        return call(*args)
    except Refused:
        raise
    except Exception as error:
        raise Refused(f"is a {kind.__qualname__} that cannot be stored: {type(error).__name__}") from error


def _as_plain(base: type, value: Any) -> object:
    """A datetime or date of a class of its own as one of Python's."""
    _, write = _TEXTS[base]
    same = _READ_PLAIN[base](write(value))
    if same != value:
        raise Refused(f"is a {type(value).__qualname__} that is no plain {base.__name__}; pass one")
    return same


def _foreign(kind: type) -> str:
    if issubclass(kind, tuple):
        remedy = "pass a tuple or a dataclass"
    elif issubclass(kind, (bytearray, memoryview)):
        remedy = "pass bytes"
    elif issubclass(kind, (str, int, float, list, dict, set, frozenset, bytes)):
        remedy = "pass the plain value"
    elif hasattr(kind, "pk"):  # asking the value itself might run code of its own
        remedy = "pass its pk and load it in the job"
    else:
        remedy = "pass a str, a number, a dataclass, or another type that docs/arguments.md lists"
    return f"is of type {kind.__qualname__}, which cannot be stored; {remedy}"


def _decimal_text(value: Decimal) -> str:
    if not value.is_finite():
        raise Refused(f"is {value!r}, which is no number")
    return str(value)


_TEXTS: Mapping[type, tuple[str, Callable[[Any], str]]] = {
    UUID: ("$uuid", str),
    datetime: ("$datetime", moment_text),
    date: ("$date", date.isoformat),
    time: ("$time", moment_text),
    timedelta: ("$timedelta", duration_text),
    Decimal: ("$decimal", _decimal_text),
    bytes: ("$bytes", lambda value: base64.b64encode(value).decode()),
}


_READ_PLAIN: Mapping[type, Callable[[str], object]] = {datetime: datetime_of, date: date_of}
