"""Which classes the values of a job may be of: those that its annotations name, and registered ones.

A stored value names its class, and rows may be written by others. So a name is never imported, and never
looked up anywhere but here: what a handler does not ask for, nobody can make the worker construct.
"""

from __future__ import annotations

import contextlib
import dataclasses
import inspect
import sys
import types
import typing
from collections.abc import Callable, Iterator, Mapping, Sequence
from enum import Enum
from typing import Any, TypeVar

from soniq.arguments import Refused
from soniq.errors import InvalidJob
from soniq.jobs import JobContext

C = TypeVar("C", bound=type)


class Types:
    """Classes that are allowed, by their stored names.

    :param of: what allows them, for messages
    """

    def __init__(self, classes: Sequence[type], *, of: str) -> None:
        self.classes = tuple(classes)
        self.of_what = of
        self._names = {_default_name(kind): kind for kind in classes if is_storable(kind)}

    @classmethod
    def of(cls, fn: Callable[..., Any], name: str | None = None) -> Types:
        """Those that the annotations of ``fn`` name, its return value included, at any depth.

        What stands in a dataclass, a pydantic model, a TypedDict or a generic counts as well. Annotations
        that cannot be resolved at run time name nothing.
        """
        return cls(list(_named_by(_hints(fn).values())), of=name or fn.__qualname__)

    def name_of(self, kind: type) -> str:
        """What is stored for a class.

        :raises Refused: it is not allowed
        """
        name = _registered_names.get(kind)
        if name is not None:
            return name
        if kind in self.classes:
            return _default_name(kind)
        raise Refused(
            f"is a {kind.__qualname__}, which no annotation of {self.of_what} names, or none that can be "
            "resolved at run time; annotate the parameter with it, or call "
            f"soniq.register_type({kind.__qualname__})"
        )

    def named(self, name: object, what: str, fits: Callable[[type], bool]) -> Any:
        """The class that a stored value names.

        :param what: the kind of class that it has to be, for the message
        :raises Refused: there is none of this name, or it is none of the kind
        """
        kind = None
        if type(name) is str:
            kind = self._names.get(name) or _registered.get(name)
        if kind is None:
            raise Refused(
                f"is stored as the {what} {name!r:.200}, which no annotation of {self.of_what} names; if it "
                "was moved or renamed, say so: soniq.register_type(Class, former_names=[...])"
            )
        if not fits(kind):
            raise Refused(f"is stored as the {what} {name!r:.200}, which is none")
        return kind


class AnyTypes(Types):
    """For producers that do not hold the job's code: what the job takes is decided where it is run."""

    def __init__(self) -> None:
        super().__init__((), of="the job")

    def name_of(self, kind: type) -> str:
        """Any class has a name."""
        return _registered_names.get(kind) or _default_name(kind)


ANY = AnyTypes()
REGISTERED = Types((), of="the job")  # nothing but registered classes

_registered: dict[str, type] = {}
_registered_names: dict[type, str] = {}


def register_type(kind: C, *, name: str | None = None, former_names: Sequence[str] = ()) -> C:
    """Let values of this class be arguments and results of every job. Usable as a decorator.

    Needed for classes that no annotation names (a subclass of the one that does), and for stored values
    of a class that was moved or renamed since.

    :param kind: an enum, a dataclass or a pydantic model
    :param name: what is stored; default: ``module.qualname``
    :param former_names: names under which stored values may know it, too
    :raises InvalidJob: it is another kind of class, or another class has the name
    """
    if not isinstance(kind, type) or not is_storable(kind):
        raise InvalidJob(f"{kind!r} is no enum, no dataclass and no pydantic model")
    name = name or _default_name(kind)
    for one in (name, *former_names):
        taken = _registered.get(one)
        if taken is not None and _default_name(taken) != _default_name(kind):
            raise InvalidJob(
                f"the name {one!r} is taken by {_default_name(taken)}; give {kind!r} another name="
            )
    for one in (name, *former_names):
        _registered[one] = kind
    _registered_names[kind] = name
    return kind


def is_enum(kind: type) -> bool:
    """Whether this is a class of named values."""
    return issubclass(kind, Enum)


def is_pydantic(kind: type) -> bool:
    """Whether this is a pydantic model; without pydantic there is none."""
    return hasattr(kind, "model_validate") and hasattr(kind, "model_fields") and hasattr(kind, "model_dump")


def is_storable(kind: type) -> bool:
    """Whether values of this class can be stored by the name of the class."""
    return is_enum(kind) or dataclasses.is_dataclass(kind) or is_pydantic(kind)


def _default_name(kind: type) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"


def _hints(holder: Any) -> Mapping[str, Any]:
    """The annotations of a function or class; those that cannot be resolved are left out."""
    try:
        return typing.get_type_hints(holder)
    except Exception:  # noqa: BLE001  # an annotation is code, which may raise anything
        names = vars(sys.modules.get(holder.__module__, types))
        found: dict[str, Any] = {}
        for name, hint in getattr(inspect.unwrap(holder), "__annotations__", {}).items():
            one = types.SimpleNamespace(__annotations__={name: hint})
            with contextlib.suppress(Exception):  # as above; the class is missed when it is needed
                found |= typing.get_type_hints(one, globalns=names)
        return found


def _named_by(hints: Any) -> Iterator[type]:
    """Every class that the annotations speak of, each once."""
    seen: dict[int, object] = {id(JobContext): JobContext}  # the objects, too: ids are used again
    left = list(hints)
    while left:
        hint = left.pop()
        if id(hint) in seen:
            continue
        seen[id(hint)] = hint
        left += typing.get_args(hint)  # of a generic: its parts; of a Literal: values
        left += [part for name in _PARTS if (part := getattr(hint, name, None)) is not None]
        if isinstance(hint, Enum):  # of a Literal
            left.append(type(hint))
        elif isinstance(hint, type) and typing.get_origin(hint) is None:
            yield hint
            if is_pydantic(hint):
                left += [field.annotation for field in hint.model_fields.values()]  # type: ignore[attr-defined]  # is_pydantic
            elif dataclasses.is_dataclass(hint) or typing.is_typeddict(hint):
                left += _hints(hint).values()


_PARTS = ("__value__", "__supertype__", "__bound__")  # of a `type` statement, a NewType, a TypeVar
