"""The settings, as one frozen object that was checked before anything uses it."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal

from soniq.errors import ConfigurationError, InvalidSchedule
from soniq.redaction import check_names
from soniq.zones import zone

QUEUE_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.:-]{0,62}")
MAX_PRIORITY = 1000
MAX_ATTEMPTS = 32_767  # what a smallint column holds
MAX_COUNT = 2**63 - 1  # of rows; what a database takes as LIMIT
MAX_SECONDS = 100 * 366 * 86400.0  # later dates may be more than a database can hold


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How an app and its workers behave. Times are in seconds.

    :raises ConfigurationError: a value is out of range or two contradict each other; names both and
        what to change
    """

    concurrency: int = 4  # slots per worker process
    queues: tuple[str, ...] | None = None  # what a worker serves; None = all
    poll_interval: float = 5.0  # the longest an idle worker goes without looking
    heartbeat_interval: float = 10.0
    dead_after: float = 45.0  # a worker silent for so long is taken for dead
    sweep_interval: float = 15.0  # between two looks for orphaned jobs
    max_crashes: int = 3  # lost workers before a job is dead-lettered
    shutdown_timeout: float = 30.0  # for running jobs after SIGTERM
    job_timeout: float | None = 300.0  # default of the jobs' option; None = none
    max_retries: int = 3  # default of the jobs' option
    retry_delay: float = 0.0  # default of the jobs' option
    priority: int = 100  # default of the jobs' option
    result_ttl: float | None = 86400.0  # how long finished rows stay; None = for ever
    dead_letter_ttl: float | None = None  # how long dead letters stay; None = for ever
    unknown_job_ttl: float | None = None  # how long jobs that no worker knows wait; None = for ever
    max_args_bytes: int = 1_048_576
    max_result_bytes: int = 1_048_576
    enqueue_validation: Literal["strict", "warn", "none"] = "strict"  # names unknown here
    snooze_max_seconds: float = 86400.0
    scheduler: bool = True  # whether workers fire schedules
    timezone: str = "UTC"  # of schedules that name none
    redact: tuple[str, ...] = ()  # names masked where jobs are shown, besides redaction.USUAL_NAMES

    def __post_init__(self) -> None:
        for name in ("concurrency", "max_crashes", "max_args_bytes", "max_result_bytes"):
            _whole(name, getattr(self, name), least=1)
        check_retries(self.max_retries, ConfigurationError)
        check_priority(self.priority, ConfigurationError)
        for name in ("poll_interval", "heartbeat_interval", "dead_after", "sweep_interval"):
            _seconds(name, getattr(self, name), positive=True)
        for name in ("shutdown_timeout", "retry_delay", "snooze_max_seconds"):
            _seconds(name, getattr(self, name))
        for name in ("result_ttl", "dead_letter_ttl"):
            if getattr(self, name) is not None:
                _seconds(name, getattr(self, name))
        for name in ("job_timeout", "unknown_job_ttl"):
            if getattr(self, name) is not None:
                _seconds(name, getattr(self, name), positive=True)
        if not isinstance(self.scheduler, bool):
            raise ConfigurationError(f"scheduler is {self.scheduler!r}: give True or False")
        try:
            zone(self.timezone)
        except InvalidSchedule as error:
            raise ConfigurationError(str(error)) from None
        if self.enqueue_validation not in ("strict", "warn", "none"):
            raise ConfigurationError(
                f"enqueue_validation is {self.enqueue_validation!r}: give 'strict', 'warn' or 'none'"
            )
        if self.queues is not None:
            object.__setattr__(self, "queues", check_queues(self.queues))
        object.__setattr__(self, "redact", check_names(self.redact))
        if 3 * self.heartbeat_interval > self.dead_after:
            raise ConfigurationError(
                f"heartbeat_interval ({self.heartbeat_interval:g} s) leaves fewer than 3 beats within "
                f"dead_after ({self.dead_after:g} s), so a late beat would look like a dead worker; "
                f"set dead_after to {3 * self.heartbeat_interval:g} or more"
            )

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any]) -> Settings:
        """Settings from keywords; an unknown one is an error that suggests the nearest known name."""
        check_known(values, [field.name for field in fields(cls)], what="setting")
        return cls(**values)


def check_known(values: Mapping[str, Any], known: list[str], *, what: str) -> None:
    """Refuse keys that are not in ``known``, naming the nearest one that is."""
    for key in values:
        if key not in known:
            near = [name for name in known if name.casefold() == str(key).casefold()]
            near = near or difflib.get_close_matches(str(key), known, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(sorted(known))}"
            raise ConfigurationError(f"unknown {what} {key!r}; {hint}")


def check_queue(name: object, error: type[Exception] = ConfigurationError) -> str:
    """``name`` if it can be the name of a queue."""
    if not isinstance(name, str) or not QUEUE_NAME.fullmatch(name):
        raise error(
            f"{name!r} is no queue name: use 1 to 63 letters, digits and _ . : -, "
            "starting with a letter, digit or _"
        )
    return name


def check_queues(names: object, error: type[Exception] = ConfigurationError) -> tuple[str, ...]:
    """A non-empty list of queue names, each once, in order."""
    if isinstance(names, str) or not isinstance(names, (list, tuple, set, frozenset)):
        raise error(f"queues is {names!r}: give a list of names")
    if not names:
        raise error("queues is empty: name at least one queue, or leave it out for all")
    return tuple(dict.fromkeys(check_queue(name, error) for name in names))


def check_priority(value: object, error: type[Exception]) -> int:
    """``value`` if it is a priority."""
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= MAX_PRIORITY:
        raise error(f"priority is {value!r}: give a whole number from 0 (first) to {MAX_PRIORITY}")
    return value


def check_retries(value: object, error: type[Exception]) -> int:
    """``value`` if it is a number of retries."""
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < MAX_ATTEMPTS:
        raise error(f"max_retries is {value!r}: give a whole number from 0 to {MAX_ATTEMPTS - 1}")
    return value


def is_seconds(value: object) -> bool:
    """Whether ``value`` is a time that can be added to now: 0 or more, and finite."""
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return number and 0 <= value <= MAX_SECONDS  # type: ignore[operator]  # number guards it


def check_page(limit: object, offset: object) -> None:
    """Refuse what is no part of a list."""
    if not _is_count(limit) or not _is_count(offset):
        raise ConfigurationError(
            f"limit is {limit!r} and offset {offset!r}: give whole numbers from 0 to {MAX_COUNT}"
        )


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MAX_COUNT


def _whole(name: str, value: object, *, least: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise ConfigurationError(f"{name} is {value!r}: give a whole number, {least} or more")


def _seconds(name: str, value: object, *, positive: bool = False) -> None:
    if not is_seconds(value) or (positive and not value):
        bound = "more than 0" if positive else "0 or more"
        raise ConfigurationError(f"{name} is {value!r}: give {bound} seconds")
