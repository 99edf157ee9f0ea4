"""A handler's parameters: which arguments fit, and where the job context goes."""

from __future__ import annotations

import inspect
import re
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from soniq.errors import InvalidArguments, InvalidJob
from soniq.jobs import JSON, JobContext

_NAMED = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
_CONTEXT_TEXT = re.compile(r"((typing\.)?Optional\[)?(\w+\.)*JobContext\]?( *\| *None)?")


class Signature:
    """The parameters of one handler, looked up once.

    :raises InvalidJob: two parameters ask for the job context, or one that can take no single value
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
        self._positional_only = [p for p in parameters if p.kind is inspect.Parameter.POSITIONAL_ONLY]
        self._extra = any(p.kind is inspect.Parameter.VAR_KEYWORD for p in own)
        self._simple = not self._positional_only and not self._extra

    @property
    def parameters(self) -> Mapping[str, inspect.Parameter]:
        """Those that whoever enqueues may give, by name."""
        return self._without_context.parameters

    def by_name(self, stored: Mapping[str, JSON]) -> Mapping[str, JSON]:
        """Stored arguments under the names of the handler's parameters: jobs are stored like this."""
        return stored

    def bind(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> dict[str, Any]:
        """The call as keyword arguments, the form in which jobs are stored.

        Without ``args``, positional-only parameters may be given by name: that is how they are stored.

        :raises InvalidArguments: the handler could not be called like this
        """
        if not isinstance(kwargs, Mapping):
            raise InvalidArguments(f"the arguments of {self._job_name} are {kwargs!r}: give a dict")
        if not args:
            if not self._fits(kwargs):
                self._check_extra(kwargs)
                positional, named = self._split(kwargs)
                self._bound(tuple(positional), named)
            return dict(kwargs)
        arguments: dict[str, Any] = {}
        for name, value in self._bound(args, kwargs).arguments.items():
            kind = self._without_context.parameters[name].kind
            if kind is inspect.Parameter.VAR_POSITIONAL:
                raise InvalidArguments(
                    f"{self._job_name}{self._without_context} takes *{name}, which cannot be stored "
                    "by name; give the handler named parameters"
                )
            if kind is inspect.Parameter.VAR_KEYWORD:
                self._check_extra(value, taken=[p.name for p in self._positional_only])
                arguments.update(value)
            else:
                arguments[name] = value
        return arguments

    def call_arguments(
        self, stored: Mapping[str, JSON], context: Callable[[], JobContext]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Positional and keyword arguments of the handler for a stored job.

        :raises InvalidArguments: the stored arguments do not fit the handler (any more)
        """
        if self._fits(stored):
            named = dict(stored)
            if self.context_name is not None:
                named[self.context_name] = context()
            return (), named
        self.bind((), stored)
        if self.context_name is not None:
            stored = {**stored, self.context_name: context()}
        positional, named = self._split(stored)
        return tuple(positional), named

    def _fits(self, kwargs: Mapping[str, Any]) -> bool:
        """The common case, without the cost of ``inspect``."""
        return self._simple and self._required <= kwargs.keys() <= self._names

    def _bound(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> inspect.BoundArguments:
        try:
            return self._without_context.bind(*args, **kwargs)
        except TypeError as error:
            raise InvalidArguments(
                f"{self._job_name}{self._without_context} cannot take these arguments: {error}"
            ) from None

    def _check_extra(self, extra: Mapping[str, Any], taken: Sequence[str] = ()) -> None:
        """Refuse what ``**kwargs`` would take, but what has another meaning once it is stored."""
        for name in (*taken, self.context_name):
            if name is not None and name in extra:
                use = "the job's context" if name == self.context_name else "given twice"
                raise InvalidArguments(
                    f"{self._job_name}{self._without_context} cannot take these arguments: {name!r} is {use}"
                )

    def _split(self, kwargs: Mapping[str, Any]) -> tuple[list[Any], dict[str, Any]]:
        """Take the positional-only parameters out of ``kwargs``, as far as there is something for them.

        Defaults fill the gaps before those that were given.
        """
        named = dict(kwargs)
        positional: list[Any] = []
        gap: list[Any] = []
        for parameter in self._positional_only:
            if parameter.name in named:
                positional += [*gap, named.pop(parameter.name)]
                gap = []
            elif parameter.default is not inspect.Parameter.empty:
                gap.append(parameter.default)
            elif parameter.name != self.context_name:
                break  # missing; whoever binds this finds out
        return positional, named


def _context_parameter(fn: Callable[..., Any], signature: inspect.Signature, job_name: str) -> str | None:
    """The name of the parameter that is annotated with JobContext."""
    hints = _hints(fn, signature)
    found = [p for p in signature.parameters.values() if _is_context(hints.get(p.name))]
    if len(found) > 1:
        names = ", ".join(p.name for p in found)
        raise InvalidJob(f"{job_name} asks for its JobContext twice: {names}")
    for parameter in found:
        if parameter.kind in (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD):
            raise InvalidJob(
                f"{job_name} asks for its JobContext in {parameter}; give it a parameter of its own"
            )
        return parameter.name
    return None


def _hints(fn: Callable[..., Any], signature: inspect.Signature) -> dict[str, object]:
    """The annotations of the parameters; as text where they name what only type checkers know."""
    try:
        return typing.get_type_hints(fn)
    except Exception:  # noqa: BLE001  # an annotation is code, which may raise anything
        names = getattr(inspect.unwrap(fn), "__globals__", {})
        return {p.name: _hint(p.annotation, names) for p in signature.parameters.values()}


def _hint(annotation: object, names: dict[str, Any]) -> object:
    holder = types.SimpleNamespace(__annotations__={"it": annotation})
    try:
        return typing.get_type_hints(holder, globalns=names)["it"]
    except Exception:  # noqa: BLE001  # as above
        return annotation


def _is_context(hint: object) -> bool:
    if isinstance(hint, str):
        return _CONTEXT_TEXT.fullmatch(hint.replace("'", "").replace('"', "")) is not None
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        return JobContext in typing.get_args(hint)
    return hint is JobContext
