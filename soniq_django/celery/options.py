"""From Celery's options to soniq's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypedDict

from soniq import InvalidEnqueue, InvalidJob
from soniq.job_options import EnqueueOptions, JobOptions
from soniq.jobs import Claim
from soniq.retry import TaskRetryPolicy, delays_of
from soniq.settings import MAX_ATTEMPTS, Settings, check_retries, is_seconds
from soniq_django.celery.refusals import DECLARED, SENT, Unsupported, refuse

PRIORITY = 100  # of a job without one
HIGHEST = 100


class TaskKeywords(TypedDict, total=False):
    """The options of Celery's decorators that have a counterpart here. All others are refused."""

    name: str
    queue: str
    priority: int  # 0..100, higher first, as on RabbitMQ
    max_retries: int
    default_retry_delay: float  # seconds
    autoretry_for: Sequence[type[BaseException]]
    dont_autoretry_for: Sequence[type[BaseException]]
    retry_kwargs: Mapping[str, Any]  # max_retries, countdown
    retry_backoff: bool | float  # True = 1 second, doubled by each retry
    retry_backoff_max: float  # seconds
    retry_jitter: bool
    time_limit: float  # seconds; soniq's timeout
    ignore_result: bool
    # What soniq always does. Celery's opposite is refused.
    acks_late: bool
    reject_on_worker_lost: bool
    retry_on_worker_lost: bool
    acks_on_failure: bool
    acks_on_timeout: bool
    acks_on_failure_or_timeout: bool
    track_started: bool
    store_errors_even_if_ignored: bool
    # Without an effect here: matters of Celery's messages and its log.
    throws: Sequence[type[BaseException]]
    send_events: bool
    trail: bool
    resultrepr_maxsize: int


class SentKeywords(TypedDict, total=False):
    """The options of ``apply_async`` that have a counterpart here. All others are refused."""

    queue: str | None
    priority: int | None  # 0..100, higher first, as on RabbitMQ
    countdown: float | None  # seconds from now
    eta: datetime | None  # aware
    # Without an effect here: matters of Celery's way to its broker.
    retry: bool | None
    retry_policy: Mapping[str, Any] | None


_AT_LEAST_ONCE = "a job is delivered at least once: when its worker dies, another one runs it"
_DEAD_LETTER = "a job that failed for good is a dead letter, never back by itself"
_ALWAYS = {
    "acks_late": _AT_LEAST_ONCE,
    "reject_on_worker_lost": _AT_LEAST_ONCE,
    "retry_on_worker_lost": _AT_LEAST_ONCE,
    "acks_on_failure": _DEAD_LETTER,
    "acks_on_timeout": _DEAD_LETTER,
    "acks_on_failure_or_timeout": _DEAD_LETTER,
}


class Retry(Exception):  # Celery's name
    """Raised by ``self.retry()``: this attempt is over, another one follows.

    :ivar exc: the error that led to it, or None
    :ivar when: seconds until the next attempt
    """

    def __init__(self, message: str = "", exc: BaseException | None = None, when: float = 0.0) -> None:
        self.exc = exc
        self.when = when
        super().__init__(message or f"again in {when:g} s" + (f": {exc!r}" if exc is not None else ""))


class MaxRetriesExceededError(Exception):
    """``self.retry()`` was called, and there is none left."""


class Ignore(Exception):  # Celery's name
    """Raised by a task that is done with nothing to say: the job is done, without a result."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CeleryRetryPolicy(TaskRetryPolicy):
    """Celery's rule: an exception fails the task at once, unless it asks for a retry or is one to retry."""

    def delay_for(self, *, attempt: int, job: Claim, exc: BaseException) -> float | None:
        """See :meth:`soniq.RetryPolicy.delay_for`."""
        if isinstance(exc, Retry):
            return exc.when
        if not self.retry_on or isinstance(exc, MaxRetriesExceededError):
            return None
        return TaskRetryPolicy.delay_for(self, attempt=attempt, job=job, exc=exc)


@dataclass(frozen=True, slots=True, kw_only=True)
class CeleryOptions(JobOptions):
    """The options of one task, in soniq's terms."""

    max_retries: int = 3
    default_retry_delay: float = 180.0  # seconds, of self.retry() without a countdown
    bind: bool = False
    ignore_result: bool = False

    def retry_policy(self, settings: Settings) -> CeleryRetryPolicy:
        """See :class:`CeleryRetryPolicy`."""
        plain = JobOptions.retry_policy(self, settings)
        return CeleryRetryPolicy(
            delays=plain.delays,
            backoff=plain.backoff,
            max_delay=plain.max_delay,
            jitter=plain.jitter,
            retry_on=plain.retry_on,
            discard_on=plain.discard_on,
        )


def declared(options: Mapping[str, Any], *, bind: bool) -> CeleryOptions:
    """What ``@shared_task(...)`` says, in soniq's terms (the name apart).

    :raises Unsupported: soniq has no counterpart of an option; names what to do instead
    :raises InvalidJob: a value is impossible
    """
    refuse("option of the task", options, DECLARED, TaskKeywords.__annotations__)
    for name, truth in _ALWAYS.items():
        if options.get(name) is False:
            raise Unsupported(f"{name}=False", f"{truth}; leave the option out, and make the task idempotent")
    again = dict(options.get("retry_kwargs") or {})
    refuse("in retry_kwargs", again, {}, ("max_retries", "countdown"))
    default_delay = _seconds("default_retry_delay", options.get("default_retry_delay", 180))
    backoff = options.get("retry_backoff", False)
    given: dict[str, Any] = {}
    if backoff:
        given["retry_delay"] = delays_of(max(1.0, float(backoff)))
        given["retry_backoff"] = True
        given["retry_max_delay"] = _seconds("retry_backoff_max", options.get("retry_backoff_max", 600))
        given["retry_jitter"] = options.get("retry_jitter", True)
    else:
        given["retry_delay"] = (_seconds("countdown", again.get("countdown", default_delay)),)
    if options.get("queue") is not None:
        given["queue"] = options["queue"]
    if options.get("priority") is not None:
        given["priority"] = stored_priority(options["priority"], InvalidJob)
    if options.get("time_limit") is not None:
        given["timeout"] = _seconds("time_limit", options["time_limit"])
    return CeleryOptions(
        bind=bind,
        ignore_result=bool(options.get("ignore_result")),
        max_retries=_max_retries(options, again),
        default_retry_delay=default_delay,
        retry_on=_types("autoretry_for", options.get("autoretry_for", ())),
        discard_on=_types("dont_autoretry_for", options.get("dont_autoretry_for", ())),
        **given,
    )


def sent(options: Mapping[str, Any]) -> EnqueueOptions:
    """What ``apply_async(...)`` says besides the arguments, in soniq's terms.

    :raises Unsupported: soniq has no counterpart of an option; names what to do instead
    :raises InvalidEnqueue: a value is impossible
    """
    refuse("option of apply_async", options, SENT, SentKeywords.__annotations__)
    countdown, eta, priority = (options.get(name) for name in ("countdown", "eta", "priority"))
    if countdown is not None and eta is not None:
        raise InvalidEnqueue(f"countdown={countdown!r} and eta={eta!r} are both given; give one of them")
    if eta is not None and not isinstance(eta, datetime):
        raise InvalidEnqueue(f"eta is {eta!r}: give an aware datetime")
    return EnqueueOptions(
        queue=options.get("queue"),
        priority=None if priority is None else stored_priority(priority, InvalidEnqueue),
        scheduled_at=eta if countdown is None else max(0, countdown),
    )


def stored_priority(value: object, error: type[Exception]) -> int:
    """Celery's priority (higher first, 0 = no hurry) as soniq's (lower first, 100 = no hurry)."""
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= HIGHEST:
        raise error(f"priority is {value!r}: give a whole number from 0 to {HIGHEST} (first)")
    return PRIORITY - value


def _max_retries(options: Mapping[str, Any], again: Mapping[str, Any]) -> int:
    given = options.get("max_retries", again.get("max_retries", 3))
    if given is None:
        raise Unsupported(
            "max_retries=None", f"retries are counted here; give a number, up to {MAX_ATTEMPTS - 1}"
        )
    if again.get("max_retries", given) != given:
        raise InvalidJob(
            f"max_retries is {given!r}, and {again['max_retries']!r} in retry_kwargs; give it once"
        )
    return check_retries(given, InvalidJob)


def _seconds(name: str, value: object) -> float:
    if not is_seconds(value):
        raise InvalidJob(f"{name} is {value!r}: give 0 or more seconds")
    return float(value)  # type: ignore[arg-type]  # a number, as is_seconds says


def _types(option: str, value: Any) -> tuple[type[BaseException], ...]:
    types = tuple(value) if isinstance(value, (list, tuple, set, frozenset)) else (value,)
    for item in types:
        if not (isinstance(item, type) and issubclass(item, BaseException)):
            raise InvalidJob(f"{option} holds {item!r}: give exception classes")
    return types
