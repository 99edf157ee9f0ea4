"""What can be said of a job: its name, its options, and what one enqueue says differently."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from datetime import datetime, timedelta
from typing import Any, TypeAlias, TypedDict, cast, get_args

from soniq.codec import Missing
from soniq.errors import ConfigurationError, InvalidJob
from soniq.jobs import JSON
from soniq.retry import TaskRetryPolicy, delays_of
from soniq.settings import Settings, check_known, check_priority, check_queue, check_retries, is_seconds

When: TypeAlias = datetime | timedelta | float


EXPLICIT_NAME = re.compile(r"[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)*")
MAX_NAME = 255

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
