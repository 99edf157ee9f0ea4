"""Reads django-q's packages without running what is in them.

A package is a pickle, signed with the project's SECRET_KEY. The signature says that the project wrote it, so
the pickle of a row that anybody else wrote is never read. Even a signed pickle is read by hand: no module is
imported and nothing in it is called, but for a few plain types. Everything else becomes a :class:`Foreign`,
which has a path and nothing more; of a function that is enough.
"""

from __future__ import annotations

import datetime as dt
import io
import pickle
import uuid
from collections import OrderedDict
from decimal import Decimal
from typing import Any, ClassVar, Self

from soniq.arguments import MAX_DEPTH

PLAIN: dict[tuple[str, str], Any] = {
    ("builtins", "set"): set,
    ("builtins", "frozenset"): frozenset,
    ("builtins", "bytearray"): bytearray,
    ("collections", "OrderedDict"): OrderedDict,
    ("datetime", "date"): dt.date,
    ("datetime", "datetime"): dt.datetime,
    ("datetime", "time"): dt.time,
    ("datetime", "timedelta"): dt.timedelta,
    ("datetime", "timezone"): dt.timezone,
    ("decimal", "Decimal"): Decimal,
    ("uuid", "UUID"): uuid.UUID,
}


class PackageError(Exception):
    """A pickle is damaged, or made of what cannot be read by hand."""


class Foreign:
    """Stands for an object, or for a class or function, of a type that is not read."""

    path: ClassVar[str] = ""

    def __new__(cls, *_args: object, **_kwargs: object) -> Self:
        """Whatever the pickle hands over is dropped."""
        return object.__new__(cls)

    def __setstate__(self, _state: object) -> None: ...

    def __setitem__(self, _key: object, _value: object) -> None: ...

    def append(self, _value: object) -> None:
        """What a pickle does to the list that this may have been."""

    def extend(self, _values: object) -> None:
        """See :meth:`append`."""


def read(data: bytes) -> Any:
    """What the pickle holds, in plain types and Foreigns.

    :raises PackageError: it is damaged, or made of what cannot be read by hand
    """
    try:
        return _Reader(io.BytesIO(data)).load()
    except Exception as error:  # a damaged pickle makes the reader raise nearly anything
        raise PackageError(f"{type(error).__name__}: {error}") from error


def foreign_path(value: object) -> str | None:
    """The path of the first Foreign in ``value``, or None."""
    seen: set[int] = set()  # a pickle can hold a list that holds itself

    def found(item: object, depth: int = MAX_DEPTH) -> str | None:
        if isinstance(item, Foreign) or (isinstance(item, type) and issubclass(item, Foreign)):
            return item.path
        if not isinstance(item, (dict, list, tuple, set, frozenset)) or id(item) in seen or not depth:
            return None  # what is deeper cannot be stored, whatever it is
        seen.add(id(item))
        inner = [*item.keys(), *item.values()] if isinstance(item, dict) else list(item)
        return next((path for one in inner if (path := found(one, depth - 1)) is not None), None)

    return found(value)


class Serializer:
    """What django-q's signing asks for."""

    def loads(self, data: bytes) -> Any:
        """See :func:`read`."""
        return read(data)


class _Reader(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        """The plain type, or a Foreign."""
        plain = PLAIN.get((module, name))
        return plain if plain is not None else type("Foreign", (Foreign,), {"path": f"{module}.{name}"})

    def persistent_load(self, pid: Any) -> Any:
        """Refused."""
        raise PackageError(f"it refers to {pid!r}, which is not in it")
