"""The decorated function: it stays callable, and it can be enqueued."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import (
    TYPE_CHECKING,
    Any,
    ClassVar,
    Generic,
    ParamSpec,
    Protocol,
    Self,
    TypeVar,
    cast,
    runtime_checkable,
)

from soniq.codec import Loaded, Types, Unloaded, is_marked, read, references_in
from soniq.errors import InvalidArguments
from soniq.job_options import EnqueueOptions, JobOptions, When
from soniq.jobs import JSON, Claim, JobContext
from soniq.signature import Signature
from soniq.transitions import Change

P = ParamSpec("P")
C = ParamSpec("C")
R = TypeVar("R")

_CONTAINERS = frozenset({dict, list})


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskRef:
    """A job that is named, not imported: for producers that do not hold its code."""

    name: str
    queue: str | None = None
    priority: int | None = None


class Producer(Protocol):
    """What a task needs of the app it enqueues to."""

    def enqueue(self, target: Task[..., Any], args: Mapping[str, Any], options: EnqueueOptions) -> str:
        """Store one job on the calling thread; return its id."""
        ...

    async def aenqueue(self, target: Task[..., Any], args: Mapping[str, Any], options: EnqueueOptions) -> str:
        """Store one job; return its id."""
        ...

    def enqueue_many(
        self,
        target: Task[..., Any],
        args_list: Iterable[Mapping[str, Any]],
        options: EnqueueOptions,
    ) -> list[str]:
        """Store one job per arguments on the calling thread; return their ids in order."""
        ...

    async def aenqueue_many(
        self,
        target: Task[..., Any],
        args_list: Iterable[Mapping[str, Any]],
        options: EnqueueOptions,
    ) -> list[str]:
        """Store one job per arguments; return their ids in order."""
        ...


@runtime_checkable
class JobBehind(Protocol):
    """What other ways to declare a job may make: an object that knows its job."""

    def __soniq_job__(self) -> Task[..., Any]:
        """The job, registered."""
        ...


class Task(Generic[P, R]):
    """A function that can also run later, in a worker.

    Calling it calls the function. ``enqueue`` stores a job that a worker will run at least once.
    """

    def __init__(
        self,
        fn: Callable[P, R],
        *,
        name: str,
        options: JobOptions,
        producer: Callable[[], Producer],
    ) -> None:
        self.fn = fn
        self.name = name
        self.options = options
        self.signature = Signature(fn, name)
        self.is_async = inspect.iscoroutinefunction(fn)
        self.defaults = EnqueueOptions()
        self._producer = producer
        # Not its attributes: a function's own .name or .enqueue would take the place of the job's.
        functools.update_wrapper(cast("Callable[P, R]", self), fn, updated=())

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Call the function itself; no queue involved."""
        return self.fn(*args, **kwargs)

    def __repr__(self) -> str:
        return f"<Task {self.name}>"

    @property
    def declared(self) -> object:
        """What the code has that declares the job: itself, unless it stands for something else."""
        return self

    @functools.cached_property
    def types(self) -> Types:
        """The classes that arguments and results may be of; looked up when they are first needed."""
        return Types.of(self.fn, self.name)

    def call_arguments(
        self,
        stored: object,
        context: Callable[[], JobContext],
        loaded: Loaded | None = None,
        *,
        unseen: bool = False,
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Positional and keyword arguments of the function for a stored job.

        :param loaded: what references among them mean
        :param unseen: read references as None, to see whether the rest fits
        :raises Unloaded: there are references among them, and ``loaded`` is None
        :raises InvalidArguments: the stored arguments cannot be read, or do not fit the function (any more)
        :raises ReferenceGone: a reference leads nowhere, and the job's ``missing`` is not "none"
        :raises Exception: whatever the job's model raises for arguments that it refuses
        """
        if not isinstance(stored, dict):
            raise InvalidArguments(f"the stored arguments are {type(stored).__name__}, no dict")
        for item in stored.values():
            if type(item) in _CONTAINERS:  # most jobs have none, and nothing else can hold a mark
                stored = self._read(stored, loaded, unseen=unseen)
                break
        if self.options.validate is not None:
            model = self.options.validate.model_validate(stored)
            stored = {name: getattr(model, name) for name in stored}
        return self.signature.call_arguments(stored, context)

    def _read(self, stored: dict[str, JSON], loaded: Loaded | None, *, unseen: bool) -> dict[str, Any]:
        if not is_marked(stored):
            return stored
        if loaded is None and not unseen and (references := references_in(list(stored.values()))):
            raise Unloaded(references)
        values: dict[str, Any] = read(
            stored, self.types, loaded=loaded, missing=self.options.missing, of_call=True
        )
        return values

    # Whether :meth:`ended` is to be called.
    observes: ClassVar[bool] = False

    def for_claim(self, claim: Claim) -> Task[P, R]:
        """The task as it is run for one claimed job; a subclass may take options from what is stored with it.

        Must not raise, and not do I/O.
        """
        return self

    def instead_of(self, value: Any, error: BaseException) -> Any:
        """What to store instead of a result that cannot be; None: nothing, the job is done all the same.

        :param error: why it cannot
        :raises Exception: whatever this raises is the job's failure
        """
        return None

    def ended(self, claim: Claim, change: Change, error: BaseException | None) -> None:
        """What became of an attempt, before it is recorded; called where its sync code runs.

        :param error: what the handler raised
        """

    def using(
        self,
        *,
        queue: str | None = None,
        priority: int | None = None,
        scheduled_at: When | None = None,
        unique: bool | None = None,
        dedup_key: str | None = None,
    ) -> Self:
        """A copy that enqueues with these options. What is not given stays.

        :param scheduled_at: not before: an aware datetime, or from now a timedelta or seconds
        :param dedup_key: while a job of this name with this key is live, another is not stored
        """
        given = EnqueueOptions(
            queue=queue,
            priority=priority,
            scheduled_at=scheduled_at,
            unique=unique,
            dedup_key=dedup_key,
        )
        twin = object.__new__(type(self))
        twin.__dict__.update(self.__dict__)
        twin.defaults = given.over(self.defaults)
        return twin

    def enqueue(self, *args: P.args, **kwargs: P.kwargs) -> str:
        """Store a job with these arguments; return its id.

        With a database that the caller has a transaction open on, the job becomes visible when that
        commits, and never was if it rolls back.

        :raises InvalidArguments: they do not fit the function or cannot be stored; nothing was written
        """
        return self._producer().enqueue(self, self.signature.bind(args, kwargs), self.defaults)

    async def aenqueue(self, *args: P.args, **kwargs: P.kwargs) -> str:
        """:meth:`enqueue` for async code."""
        bound = self.signature.bind(args, kwargs)
        return await self._producer().aenqueue(self, bound, self.defaults)

    def enqueue_many(self, args_list: Iterable[Mapping[str, Any]]) -> list[str]:
        """Store one job per mapping of keyword arguments, all or none; return their ids in order."""
        return self._producer().enqueue_many(self, args_list, self.defaults)

    async def aenqueue_many(self, args_list: Iterable[Mapping[str, Any]]) -> list[str]:
        """:meth:`enqueue_many` for async code."""
        return await self._producer().aenqueue_many(self, args_list, self.defaults)


if TYPE_CHECKING:

    class ContextTask(Task[P, R], Generic[C, P, R]):
        """What a job with a JobContext is to :mod:`soniq.mypy_plugin`: called with it, enqueued without."""

        def __call__(  # type: ignore[override]  # of the two signatures that a job has, each to its use
            self, *args: C.args, **kwargs: C.kwargs
        ) -> R:
            """Call the function itself; no queue involved."""
            ...
