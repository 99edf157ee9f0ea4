"""From marks to values. Rows may be written by others: nothing needs to be as the codec writes it."""

from __future__ import annotations

import base64
import dataclasses
import math
from collections.abc import Callable, Mapping
from decimal import Decimal
from enum import Enum, Flag
from typing import Any
from uuid import UUID

from soniq.arguments import MARK, Refused, canonical
from soniq.codec.moments import date_of, datetime_of, duration_of, time_of
from soniq.codec.references import GONE, Loaded, Missing, references
from soniq.codec.structs import made_of
from soniq.codec.types import Types, is_enum, is_pydantic
from soniq.jobs import JSON


class Gone(Refused):
    """A reference leads nowhere."""


class Reader:
    """Makes values of what is stored. Nothing it is given has to be as the codec would have written it."""

    def __init__(self, types: Types, loaded: Loaded | None, missing: Missing) -> None:
        self._types = types
        self._loaded = loaded
        self._missing = missing

    def value(self, stored: JSON) -> Any:
        """Any value."""
        kind = type(stored)
        if kind is list:
            return self.items(stored)
        if kind is not dict:
            return stored
        marks = [key for key in stored if key[:1] == MARK]
        if not marks:
            return self.named(stored)
        mark = marks[0]
        if len(marks) == 1 and mark in references:
            return self._reference(mark, stored)
        reading = _READ.get(mark)
        if len(marks) > 1 or reading is None or not stored.keys() <= reading[1]:
            raise Refused(f"is stored under {', '.join(sorted(stored))}, which this release does not know")
        return reading[0](self, mark, stored)

    def items(self, stored: JSON) -> list[Any]:
        """The values of a list."""
        if type(stored) is not list:
            raise Refused("is stored as something else than a list")
        done: list[Any] = []
        try:
            for item in stored:
                done.append(self.value(item))  # noqa: PERF401  # its length is the path's last step
        except Refused as refused:
            refused.steps.append(f"[{len(done)}]")
            raise
        return done

    def named(self, stored: JSON) -> dict[str, Any]:
        """Values by name; the dict itself is no mark."""
        if type(stored) is not dict:
            raise Refused("is stored as something else than a dict")
        done = {}
        for key, item in stored.items():
            try:
                done[key] = self.value(item)
            except Refused as refused:
                refused.steps.append(f".{key}")
                raise
        return done

    def text(self, mark: str, stored: JSON) -> Any:
        """What has a text of its own."""
        text = stored[mark]
        if type(text) is not str:
            raise Refused(f"is stored as {mark}, but not as a text")
        return _made(mark, _READ_TEXT[mark], text)

    def collection(self, mark: str, stored: JSON) -> Any:
        """A tuple or a set."""
        return _made(mark, _READ_ITEMS[mark], self.items(stored[mark]))

    def mapping(self, mark: str, stored: JSON) -> dict[Any, Any]:
        """A dict whose keys are no plain text."""
        inner = stored[mark]
        if type(inner) is dict:
            return self.named(inner)
        pairs = self.items(inner)
        if any(type(pair) is not list or len(pair) != 2 for pair in pairs):  # noqa: PLR2004  # key and value
            raise Refused(f"is stored as {mark}, but not as pairs")
        made: dict[Any, Any] = _made(mark, dict, pairs)
        return made

    def enum(self, mark: str, stored: JSON) -> Enum:
        """A member, by its name; of a Flag by its number."""
        kind = self._types.named(stored[mark], "enum", is_enum)
        name, number = stored.get("name"), stored.get("value")
        if type(name) is str and name in kind.__members__:
            member: Enum = kind.__members__[name]
            return member
        if type(number) is int and issubclass(kind, Flag):
            return _made(kind.__qualname__, kind, number)  # type: ignore[no-any-return]  # a member of it
        raise Refused(
            f"is stored as the member {name or number!r:.200} of {kind.__qualname__}, which has none"
        )

    def dataclass(self, mark: str, stored: JSON) -> Any:
        """An instance, made by its class."""
        kind = self._types.named(stored[mark], "dataclass", dataclasses.is_dataclass)
        return _made(kind.__qualname__, made_of, kind, self._fields(stored))

    def pydantic(self, mark: str, stored: JSON) -> Any:
        """An instance, validated by its class."""
        kind = self._types.named(stored[mark], "pydantic model", is_pydantic)
        return _made(kind.__qualname__, kind.model_validate, self._fields(stored))

    def _fields(self, stored: JSON) -> dict[str, Any]:
        fields = self.value(stored.get("value"))
        if type(fields) is not dict:
            raise Refused("is stored without its fields")
        return fields

    def _reference(self, mark: str, stored: JSON) -> Any:
        if self._loaded is None:
            return None
        found = self._loaded.get(canonical(stored), GONE)
        if found is GONE:
            if self._missing == "none":
                return None
            parts = ", ".join(f"{key}={stored[key]}" for key in sorted(stored.keys() - {mark}))
            raise Gone(f"refers to {stored[mark]!s:.200} ({parts:.200}), which is gone")
        if isinstance(found, Refused):
            raise Refused(found.about)
        return found


def _made(what: str, make: Callable[..., Any], *args: Any) -> Any:
    """What a call makes. Its error may quote the value, a secret perhaps: it is the cause, not the text."""
    try:
        return make(*args)
    except Refused:
        raise
    except Exception as error:
        raise Refused(f"cannot be read as {what}: {type(error).__name__}") from error


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError("not finite")
    return value


_READ_TEXT: Mapping[str, Callable[[str], Any]] = {
    "$uuid": UUID,
    "$datetime": datetime_of,
    "$date": date_of,
    "$time": time_of,
    "$timedelta": duration_of,
    "$decimal": Decimal,
    "$float": _finite,
    "$bytes": lambda text: base64.b64decode(text, validate=True),
}
_READ_ITEMS: Mapping[str, Callable[[list[Any]], Any]] = {
    "$tuple": tuple,
    "$set": set,
    "$frozenset": frozenset,
}
# How each mark is read, and the keys that may stand in its dict.
_READ: Mapping[str, tuple[Callable[[Reader, str, JSON], Any], frozenset[str]]] = {
    **{mark: (Reader.text, frozenset({mark})) for mark in _READ_TEXT},
    **{mark: (Reader.collection, frozenset({mark})) for mark in _READ_ITEMS},
    "$dict": (Reader.mapping, frozenset({"$dict"})),
    "$enum": (Reader.enum, frozenset({"$enum", "name", "value"})),
    "$dataclass": (Reader.dataclass, frozenset({"$dataclass", "value"})),
    "$pydantic": (Reader.pydantic, frozenset({"$pydantic", "value"})),
}
