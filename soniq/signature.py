"""A handler's parameters: which arguments fit, and where the job context goes."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable, Mapping
from typing import Any

from soniq.errors import InvalidArguments, InvalidJob
from soniq.jobs import JSON, JobContext

_NAMED = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)


class Signature:
    """The parameters of one handler, looked up once.

    :raises InvalidJob: two parameters ask for the job context
    """

    def __init__(self, fn: Callable[..., Any], job_name: str) -> None:
        self._job_name = job_name
        self._signature = inspect.signature(fn)
        parameters = self._signature.parameters.values()
        self.context_name = _context_parameter(fn, self._signature, job_name)
        own = [p for p in parameters if p.name != self.context_name]
        self._without_context = self._signature.replace(parameters=own)
        self._names = frozenset(p.name for p in own if p.kind in _NAMED)
        self._required = frozenset(
            p.name for p in own if p.kind in _NAMED and p.default is inspect.Parameter.empty
        )
        self._positional_only = [p.name for p in parameters if p.kind is inspect.Parameter.POSITIONAL_ONLY]
        self._extra = any(p.kind is inspect.Parameter.VAR_KEYWORD for p in own)
        self._simple = not self._positional_only and not self._extra

    def bind(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> dict[str, Any]:
        """The call as keyword arguments, the form in which jobs are stored.

        :raises InvalidArguments: the handler could not be called like this
        """
        if not args and self._fits(kwargs):
            return dict(kwargs)
        try:
            bound = self._without_context.bind(*args, **kwargs)
        except TypeError as error:
            raise InvalidArguments(
                f"{self._job_name}{self._without_context} cannot take these arguments: {error}"
            ) from None
        named: dict[str, Any] = {}
        for name, value in bound.arguments.items():
            kind = self._without_context.parameters[name].kind
            if kind is inspect.Parameter.VAR_POSITIONAL:
                raise InvalidArguments(
                    f"{self._job_name}{self._without_context} takes *{name}, which cannot be stored "
                    "by name; give the handler named parameters"
                )
            if kind is inspect.Parameter.VAR_KEYWORD:
                named.update(value)
            else:
                named[name] = value
        return named

    def call_arguments(
        self, stored: Mapping[str, JSON], context: JobContext
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Positional and keyword arguments of the handler for a stored job.

        :raises InvalidArguments: the stored arguments do not fit the handler (any more)
        """
        kwargs = dict(stored)
        if not self._fits(kwargs):
            positional = [kwargs.pop(n) for n in self._positional_only if n in kwargs]
            self.bind(tuple(positional), kwargs)
        else:
            positional = []
        if self.context_name is not None:
            if self.context_name in self._positional_only:
                positional.insert(self._positional_only.index(self.context_name), context)
            else:
                kwargs[self.context_name] = context
        return tuple(positional), kwargs

    def _fits(self, kwargs: Mapping[str, Any]) -> bool:
        """The common case, without the cost of ``inspect``."""
        return self._simple and self._required <= kwargs.keys() <= self._names


def _context_parameter(fn: Callable[..., Any], signature: inspect.Signature, job_name: str) -> str | None:
    """The name of the parameter that is annotated with JobContext."""
    try:
        hints = typing.get_type_hints(fn)
    except Exception:  # noqa: BLE001  # names that exist only for type checkers; compare their text
        hints = {p.name: p.annotation for p in signature.parameters.values()}
    found = [name for name, hint in hints.items() if name != "return" and _is_context(hint)]
    if len(found) > 1:
        raise InvalidJob(f"{job_name} asks for its JobContext twice: {', '.join(found)}")
    return found[0] if found else None


def _is_context(hint: object) -> bool:
    if isinstance(hint, str):
        return hint.strip("'\" ").removesuffix(" | None").rpartition(".")[2] == "JobContext"
    return hint is JobContext or JobContext in typing.get_args(hint)
