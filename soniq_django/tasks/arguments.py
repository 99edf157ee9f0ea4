"""How a call is stored: keyword arguments by name, positional ones as a list under the name ``*``.

``send.enqueue(7, "x", copy=True)`` is stored as ``{"*": [7, "x"], "copy": true}``. So a result can say what
the caller gave, a call by name alone looks like that of any other job, and neither depends on the code
that the task has when somebody asks.
"""

from __future__ import annotations

import inspect
from base64 import b64decode
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

from soniq.codec import is_marked
from soniq.errors import InvalidArguments
from soniq.jobs import JSON, JobContext
from soniq.signature import Signature

POSITIONAL = "*"


def joined(args: Any, kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """A call in the form that is stored."""
    if POSITIONAL in kwargs:
        raise InvalidArguments(
            f"a keyword argument is named {POSITIONAL!r}, which stands for the positional ones; rename it"
        )
    return {POSITIONAL: list(args), **kwargs} if args else dict(kwargs)


def parted(stored: object) -> tuple[list[Any], dict[str, Any]]:
    """The positional and the keyword arguments of a stored call; none of a row that holds no call."""
    if not isinstance(stored, Mapping):
        return [], {}
    positional = stored.get(POSITIONAL, [])
    named = {name: value for name, value in stored.items() if name != POSITIONAL}
    return positional if isinstance(positional, list) else [positional], named


def shown(stored: object) -> tuple[list[Any], dict[str, Any]]:
    """:func:`parted`, as a result shows it: a tuple as a list and bytes as a text, as with all backends.

    What Django's Tasks do not take, such as a datetime, is shown in its stored form.
    """
    args, kwargs = parted(stored)
    if not is_marked([args, kwargs]):
        return args, kwargs
    return [_unmarked(item) for item in args], {name: _unmarked(item) for name, item in kwargs.items()}


def _unmarked(value: Any) -> Any:
    if isinstance(value, list):
        return [_unmarked(item) for item in value]
    if not isinstance(value, dict):
        return value
    mark: Any = None
    of: Any = None
    if len(value) == 1:
        [(mark, of)] = value.items()
    try:
        if mark == "$tuple" and isinstance(of, list):
            return _unmarked(of)
        if mark == "$bytes":
            return b64decode(of).decode()
        if mark == "$float":
            return float(of)
        if mark == "$dict":
            pairs = of.items() if isinstance(of, dict) else of
            return {_unmarked(key): _unmarked(item) for key, item in pairs}
    except (TypeError, ValueError):  # what else, such as a key that is a list, stays as it is stored
        return value
    return {name: _unmarked(item) for name, item in value.items()}


def plainer(value: Any) -> Any:
    """``value`` with what Django's Tasks take for JSON as JSON itself, such as a ``SafeString`` as its text.

    What they would not take stays as it is.
    """
    kind = type(value)
    if kind in (str, int, float, bool, bytes, type(None)):
        return value
    if isinstance(value, str):
        return str.__str__(value)  # not str(): that of an Enum is its name
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return float(value)
    if isinstance(value, Mapping):
        return {plainer(key): plainer(item) for key, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, (bytes, bytearray, memoryview)):
        items = [plainer(item) for item in value]
        return tuple(items) if kind is tuple else items
    return value


def has_naive_time(value: Any) -> bool:
    """Whether a time without a zone is in it; such a one would mean something else elsewhere."""
    if isinstance(value, datetime):
        return value.utcoffset() is None
    if isinstance(value, Mapping):
        return any(has_naive_time(item) for item in value.values())
    return isinstance(value, (list, tuple, set, frozenset)) and any(map(has_naive_time, value))


class CallSignature(Signature):
    """What a task's function takes, and how a call of it is stored.

    :param takes_context: its first parameter is given by the worker
    """

    def __init__(self, fn: Callable[..., Any], job_name: str, *, takes_context: bool) -> None:
        super().__init__(fn, job_name)
        parameters = list(inspect.signature(fn).parameters.values())
        self._callers = inspect.Signature(parameters[1:] if takes_context else parameters)
        self._name = job_name

    def bind(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> dict[str, Any]:
        """The call as it is stored; ``kwargs`` may be one that was stored before.

        :raises InvalidArguments: the function could not be called like this
        """
        if not isinstance(kwargs, Mapping):
            raise InvalidArguments(f"the arguments of {self._name} are {kwargs!r}: give a dict")
        stored = joined(args, kwargs) if args else dict(kwargs)
        positional, named = parted(stored)
        try:
            self._callers.bind(*positional, **named)
        except TypeError as error:
            raise InvalidArguments(
                f"{self._name}{self._callers} cannot take these arguments: {error}"
            ) from None
        return stored

    @property
    def parameters(self) -> Mapping[str, inspect.Parameter]:
        """See :class:`soniq.signature.Signature`."""
        return self._callers.parameters

    def by_name(self, stored: Mapping[str, JSON]) -> Mapping[str, JSON]:
        """Stored arguments under the names of the function's parameters, those of ``*values`` as a tuple.

        A call that does not fit the function (any more) stays as it is stored.
        """
        positional, named = parted(stored)
        try:
            bound = self._callers.bind(*positional, **named).arguments
        except TypeError:
            return stored
        found: dict[str, JSON] = {}
        for name, value in bound.items():
            kind = self._callers.parameters[name].kind
            if kind is inspect.Parameter.VAR_KEYWORD:
                found |= value
            else:
                found[name] = {"$tuple": list(value)} if kind is inspect.Parameter.VAR_POSITIONAL else value
        return found

    def call_arguments(
        self, stored: Mapping[str, Any], context: Callable[[], JobContext]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The arguments as they were given. Whether they fit, the call itself finds out."""
        positional, named = parted(stored)
        return tuple(positional), named
