"""How a call is stored: keyword arguments by name, positional ones as a list under the name ``*``.

``send.enqueue(7, "x", copy=True)`` is stored as ``{"*": [7, "x"], "copy": true}``. So a result can say what
the caller gave, a call by name alone looks like that of any other job, and neither depends on the code
that the task has when somebody asks.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

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

    def call_arguments(
        self, stored: Mapping[str, JSON], context: Callable[[], JobContext]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The arguments as they were given. Whether they fit, the call itself finds out."""
        positional, named = parted(stored)
        return tuple(positional), named
