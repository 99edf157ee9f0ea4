"""The options that our tasks have besides Django's: in ``@task``, ``using()`` and the backend's OPTIONS."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from functools import lru_cache
from typing import Any, TypedDict, cast

from django.utils.module_loading import import_string

from soniq.codec import Missing
from soniq.errors import ConfigurationError, InvalidJob
from soniq.ids import uuid7_text
from soniq.job_options import JobKeywords, JobOptions
from soniq.settings import check_known
from soniq_django.tasks.policy import TaskOptions


class UsingOptions(TypedDict, total=False):
    """What ``using()`` takes besides Django's own. They are stored with the job."""

    max_retries: int  # attempts after the first one
    retry_delay: float | tuple[float, ...] | list[float]  # seconds; of a list the last value repeats
    retry_backoff: bool  # double the delay with each attempt
    retry_max_delay: float  # seconds
    retry_jitter: bool  # default: on with retry_backoff
    timeout: float  # seconds; 0 = none
    unique: bool  # one live job per arguments
    dedup_key: str  # at most one live job of this task may hold it
    result_ttl: float  # seconds
    atomic: bool  # its writes and its success commit in one transaction
    missing: Missing  # when an object that an argument refers to is gone: "fail", "discard" or "none"


class TaskKeywords(UsingOptions, total=False):
    """What ``@task`` takes besides Django's own. Of exception classes no more than the code can be stored."""

    retry_on: type[BaseException] | Sequence[type[BaseException]]  # only these are retried
    discard_on: type[BaseException] | Sequence[type[BaseException]]  # these never are


USING = tuple(UsingOptions.__annotations__)
DECLARED = (*(name for name in USING if name != "dedup_key"), "retry_on", "discard_on")
_OF_JOBS = frozenset(field.name for field in fields(JobOptions))
ID_FUNCTION = "id_function"  # of a backend alone: makes the ids of its tasks
PRIORITY = 100  # of a soniq job for the priority 0 of a task; there, less is first


def check_options(options: object) -> None:
    """Refuse what cannot be the OPTIONS of a backend.

    :raises ConfigurationError: names the option and what is wrong
    """
    if not isinstance(options, Mapping):
        raise ConfigurationError(f"OPTIONS is {options!r}: give a dict")
    check_known(options, [*DECLARED, ID_FUNCTION], what="key in OPTIONS")
    try:
        _made(tuple(_frozen({name: value for name, value in options.items() if name != ID_FUNCTION})))
        id_function(options)
    except InvalidJob as error:
        raise ConfigurationError(str(error)) from None
    except ImportError as error:
        raise ConfigurationError(f"{ID_FUNCTION} is {options[ID_FUNCTION]!r}: {error}") from None


def id_function(options: Mapping[str, Any]) -> Callable[[], object]:
    """What makes the ids of a backend's tasks.

    :raises ImportError: there is nothing where they say
    :raises ConfigurationError: it is no function
    """
    given = options.get(ID_FUNCTION, uuid7_text)
    made = import_string(given) if isinstance(given, str) else given
    if not callable(made):
        raise ConfigurationError(f"{ID_FUNCTION} is {given!r}: give a function, or its path")
    return cast("Callable[[], object]", made)


def job_options(
    own: Mapping[str, Any], defaults: Mapping[str, Any], *, queue: str, priority: int
) -> TaskOptions:
    """The options of the job that a task stands for.

    :param own: the task's; what is None in them is taken from ``defaults``
    :param defaults: the backend's OPTIONS
    :param priority: Django's, from -100 to 100 (first)
    :raises InvalidJob: an option is impossible
    """
    given = {name: value for name, value in defaults.items() if name in _OF_JOBS}
    given |= {name: value for name, value in own.items() if value is not None and name in _OF_JOBS}
    return _made((("queue", queue), ("priority", job_priority(priority)), *_frozen(given)))


def job_priority(priority: int) -> int:
    """A soniq job's priority for a task's."""
    return PRIORITY - int(priority)


def task_priority(priority: int) -> int:
    """A task's priority for a soniq job's."""
    return PRIORITY - priority


def _frozen(options: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """The options in a form that can be a key."""
    return [
        (name, tuple(value) if isinstance(value, (list, set)) else value)
        for name, value in sorted(options.items())
    ]


@lru_cache(maxsize=1024)
def _made(options: tuple[tuple[str, Any], ...]) -> TaskOptions:
    return cast("TaskOptions", TaskOptions.from_keywords(cast("JobKeywords", dict(options))))
