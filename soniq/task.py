"""The decorated function: it stays callable, and it can be enqueued."""

from __future__ import annotations

import functools
import inspect
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from datetime import datetime, timedelta
from typing import (
    TYPE_CHECKING,
    Any,
    ClassVar,
    Generic,
    ParamSpec,
    Protocol,
    Self,
    TypeAlias,
    TypedDict,
    TypeVar,
    cast,
    get_args,
)

from soniq.codec import Loaded, Missing, Types, Unloaded, is_marked, read, references_in
from soniq.errors import ConfigurationError, InvalidArguments, InvalidJob
from soniq.jobs import JSON, Claim, JobContext
from soniq.retry import TaskRetryPolicy, delays_of
from soniq.settings import (
    Settings,
    check_known,
    check_priority,
    check_queue,
    check_retries,
    is_seconds,
)
from soniq.signature import Signature
from soniq.transitions import Change

P = ParamSpec("P")
C = ParamSpec("C")
R = TypeVar("R")

When: TypeAlias = datetime | timedelta | float

EXPLICIT_NAME = re.compile(r"[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)*")
MAX_NAME = 255
_CONTAINERS = frozenset({dict, list})


_ALIASES = {"retries": "max_retries", "args_model": "validate"}


class JobKeywords(TypedDict, total=False):
    """The options of ``@job``."""

    name: str  # default: module.qualname
    queue: str  # default: "default"
    priority: int  # 0..1000, lower first
    max_retries: int  # attempts after the first one
    retries: int  # the same as max_retries
    retry_delay: float | Sequence[float]  # seconds; of a list the last value repeats
    retry_backoff: bool  # double the delay with each attempt
    retry_max_delay: float  # seconds
    retry_jitter: bool  # default: on with retry_backoff
    retry_on: type[BaseException] | Sequence[type[BaseException]]  # only these are retried
    discard_on: type[BaseException] | Sequence[type[BaseException]]  # these never are
    timeout: float  # seconds; 0 = none
    unique: bool  # one live job per arguments
    atomic: bool  # the handler's writes and its end commit in one transaction (Django)
    validate: type[Any]  # a pydantic model of the arguments
    args_model: type[Any]  # the same as validate
    result_ttl: float  # seconds
    missing: Missing  # when an object that an argument refers to is gone: "fail", "discard" or "none"


@dataclass(frozen=True, slots=True, kw_only=True)
class JobOptions:
    """The options of one job, checked. None leaves the value to the settings."""

    queue: str = "default"
    priority: int | None = None
    max_retries: int | None = None
    retry_delay: tuple[float, ...] | None = None
    retry_backoff: bool = False
    retry_max_delay: float | None = None
    retry_jitter: bool = False
    retry_on: tuple[type[BaseException], ...] = ()
    discard_on: tuple[type[BaseException], ...] = ()
    timeout: float | None = None
    unique: bool = False
    atomic: bool = False
    validate: type[Any] | None = None
    result_ttl: float | None = None
    missing: Missing = "fail"

    @classmethod
    def from_keywords(cls, keywords: JobKeywords) -> JobOptions:
        """Check the keywords of ``@job`` (its name apart).

        :raises InvalidJob: an option is unknown, impossible, or given twice under two names
        """
        given: dict[str, Any] = dict(keywords)
        try:
            check_known(given, [*(field.name for field in fields(cls)), *_ALIASES], what="job option")
        except ConfigurationError as error:
            raise InvalidJob(str(error)) from None
        for alias, name in _ALIASES.items():
            if alias in given:
                if name in given:
                    raise InvalidJob(f"{alias} and {name} are the same option; give one of them")
                given[name] = given.pop(alias)
        if "retry_delay" in given:
            given["retry_delay"] = delays_of(given["retry_delay"])
        for name in ("retry_on", "discard_on"):
            if name in given:
                given[name] = _exception_types(name, given[name])
        given.setdefault("retry_jitter", given.get("retry_backoff") is True)
        return cls(**given)

    def __post_init__(self) -> None:
        check_queue(self.queue, InvalidJob)
        if self.priority is not None:
            check_priority(self.priority, InvalidJob)
        if self.max_retries is not None:
            check_retries(self.max_retries, InvalidJob)
        for name in ("retry_backoff", "retry_jitter", "unique", "atomic"):
            if not isinstance(getattr(self, name), bool):
                raise InvalidJob(f"{name} is {getattr(self, name)!r}: give True or False")
        for name in ("timeout", "result_ttl"):
            value = getattr(self, name)
            if value is not None and not is_seconds(value):
                raise InvalidJob(f"{name} is {value!r}: give 0 or more seconds")
        if self.missing not in get_args(Missing):
            raise InvalidJob(f"missing is {self.missing!r}: give 'fail', 'discard' or 'none'")
        if self.validate is not None and not hasattr(self.validate, "model_validate"):
            raise InvalidJob(f"validate is {self.validate!r}: give a pydantic model")
        self.retry_policy(Settings())

    def retry_policy(self, settings: Settings) -> TaskRetryPolicy:
        """The policy that these options describe."""
        return TaskRetryPolicy(
            delays=(settings.retry_delay,) if self.retry_delay is None else self.retry_delay,
            backoff=self.retry_backoff,
            max_delay=self.retry_max_delay,
            jitter=self.retry_jitter,
            retry_on=self.retry_on,
            discard_on=self.discard_on,
        )

    def timeout_seconds(self, settings: Settings) -> float | None:
        """Seconds an attempt may take; None = any time."""
        return settings.job_timeout if self.timeout is None else (self.timeout or None)

    def result_seconds(self, settings: Settings) -> float | None:
        """Seconds for which a finished job is kept; None = for ever."""
        return settings.result_ttl if self.result_ttl is None else self.result_ttl


@dataclass(frozen=True, slots=True, kw_only=True)
class EnqueueOptions:
    """What one enqueue says differently from the job's options. None leaves it as it is."""

    queue: str | None = None
    priority: int | None = None
    scheduled_at: When | None = None  # aware datetime, or from now: timedelta or seconds
    unique: bool | None = None
    dedup_key: str | None = None  # at most one live job of this name may hold it
    context: Mapping[str, JSON] | None = None  # stored with the job, besides what is captured
    job_id: str | None = None  # a UUIDv7; None = a new one

    def over(self, others: EnqueueOptions) -> EnqueueOptions:
        """These options; what is None in them is taken from ``others``."""
        if self is others:
            return self
        mine = {name: getattr(self, name) for name in _ENQUEUE_OPTIONS}
        return replace(others, **{name: value for name, value in mine.items() if value is not None})


_ENQUEUE_OPTIONS = tuple(field.name for field in fields(EnqueueOptions))


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


def default_name(fn: Callable[..., Any]) -> str:
    """``module.qualname``."""
    return f"{fn.__module__}.{fn.__qualname__}"


def check_name(name: object) -> str:
    """An explicit name, if it can be one."""
    if not isinstance(name, str) or not EXPLICIT_NAME.fullmatch(name) or len(name) > MAX_NAME:
        raise InvalidJob(
            f"{name!r} is no job name: use dotted lower-case words such as 'shop.send_receipt', "
            f"at most {MAX_NAME} characters"
        )
    return name


def _exception_types(option: str, value: object) -> tuple[type[BaseException], ...]:
    types = tuple(value) if isinstance(value, (list, tuple, set, frozenset)) else (value,)
    for item in types:
        if not (isinstance(item, type) and issubclass(item, BaseException)):
            raise InvalidJob(f"{option} holds {item!r}: give exception classes")
    return cast("tuple[type[BaseException], ...]", types)
