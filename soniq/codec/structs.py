"""Dataclasses and pydantic models, taken apart and made again by their own classes."""

from __future__ import annotations

import dataclasses
import inspect
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from functools import lru_cache
from typing import Any
from uuid import UUID

from soniq.arguments import Refused

_KEPT = (str, int, float, bool, type(None), UUID, datetime, date, time, timedelta, Decimal, bytes, Enum)


def fields_of(value: Any) -> dict[str, Any]:
    """All fields of a dataclass instance.

    :raises Refused: its class could not be called with them
    """
    kind: Any = type(value)
    passed, needed = _parameters(kind)
    given = {field.name for field in dataclasses.fields(kind) if field.init}
    if not needed <= given <= passed:
        odd = ", ".join(sorted((needed - given) | (given - passed)))
        raise Refused(f"is a {kind.__qualname__}, whose constructor and fields differ in {odd}; pass a dict")
    return {field.name: getattr(value, field.name) for field in dataclasses.fields(kind)}


def made_of(kind: Any, fields: dict[str, Any]) -> Any:
    """The instance of a dataclass with these fields. Its constructor runs; fields it does not take are set.

    :raises Refused: the class has not got these fields any more
    """
    known = {field.name: field for field in dataclasses.fields(kind)}
    extra = sorted(fields.keys() - known.keys())
    lacking = sorted(_parameters(kind)[1] - fields.keys())
    if extra or lacking:
        what = f"has no {', '.join(extra)}" if extra else f"needs {', '.join(lacking)}"
        raise Refused(f"is stored as an earlier {kind.__qualname__}: the class of today {what}")
    made = kind(**{name: item for name, item in fields.items() if known[name].init})
    for name, item in fields.items():
        if not known[name].init:
            object.__setattr__(made, name, item)  # the class may be frozen
    return made


def dumped(value: Any) -> dict[str, Any]:
    """The fields of a pydantic model, as its class would take them; what only pydantic knows as JSON.

    :raises Refused: the class would make another value of them
    """
    kind = type(value)
    fields: dict[str, Any] = _plain(value.model_dump(by_alias=True, round_trip=True, warnings=False))
    try:
        same = kind.model_validate(fields) == value
    except Exception as error:  # a validator may raise anything
        raise Refused(f"is a {kind.__qualname__} that does not accept its own fields") from error
    if not same:
        raise Refused(
            f"is a {kind.__qualname__} that would not come back as it is: it hides a field (SecretStr, "
            "exclude=True) or changes what it is given; pass plain values"
        )
    return fields


def _plain(value: Any) -> Any:
    """``value`` with the parts that only pydantic knows, such as URLs, in the form they have in JSON."""
    kind = type(value)
    if kind is dict:
        return {key: _plain(item) for key, item in value.items()}
    if kind in (list, tuple, set, frozenset):
        return kind(map(_plain, value))
    if isinstance(value, _KEPT):
        return value
    from pydantic_core import to_jsonable_python  # noqa: PLC0415  # an extra; there is one, as there is a model

    return to_jsonable_python(value)


@lru_cache(maxsize=256)
def _parameters(kind: Any) -> tuple[frozenset[str], frozenset[str]]:
    """Names that the constructor takes, and those that it needs."""
    parameters = inspect.signature(kind).parameters.values()
    passed = frozenset(one.name for one in parameters if one.kind is not inspect.Parameter.VAR_POSITIONAL)
    variable = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    empty = inspect.Parameter.empty
    return passed, frozenset(p.name for p in parameters if p.default is empty and p.kind not in variable)
