"""Everything Soniq raises on purpose.

::

    SoniqError
    ├── ConfigurationError          a setting or a combination of settings is wrong
    │   └── NotConfigured           there is no default app yet
    ├── InvalidJob                  a job was declared with impossible options
    ├── UnknownTask                 no job of that name is registered here
    ├── InvalidSchedule             a schedule's rule, time zone or another option of it is wrong
    ├── ScheduleNotFound            there is no schedule of that name
    ├── InvalidEnqueue              options of one enqueue are wrong: queue, priority, time
    ├── InvalidArguments            arguments do not fit the job, or cannot be stored
    │   ├── PayloadTooLarge         ... because they are over the size limit
    │   └── ReferenceGone           ... because what they refer to is not there any more
    ├── JobTimeout                  what is recorded for a job that overran its timeout
    ├── DeadLetterNotFound          there is no dead letter with that id
    ├── AppClosed                   the Soniq object was closed
    └── BackendError
        ├── BackendUnavailable      the database cannot be reached or refuses to write
        │   └── BackendNotReady     ... or lacks tables or migrations that this code needs
        └── BackendConflict         the database gave up a transaction; doing it again may work

Each class carries a stable ``code`` for programs; the message is for people and names the value
and the next step.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar


class SoniqError(Exception):
    """Base class of all errors of this library. They can be pickled and copied."""

    code: ClassVar[str] = "soniq_error"

    def __reduce__(self) -> tuple[Any, ...]:
        # Python would make the twin of its message, which is not what the classes below are made of.
        return _restored, (type(self), self.args), self.__dict__


def _restored(kind: type[SoniqError], args: tuple[Any, ...]) -> SoniqError:
    return kind.__new__(kind, *args)


class ConfigurationError(SoniqError):
    """A setting is unknown, out of range, or contradicts another one."""

    code = "configuration"


class NotConfigured(ConfigurationError):
    """There is no default app: a shared job was enqueued before anything configured Soniq."""

    code = "not_configured"


class InvalidJob(SoniqError):
    """A job was declared with options that cannot work."""

    code = "invalid_job"


class UnknownTask(SoniqError):
    """No job of this name is registered.

    :ivar name: the name that was asked for
    :ivar nearest: the registered name most like it, or None
    """

    code = "unknown_task"

    def __init__(self, name: str, nearest: str | None = None) -> None:
        self.name = name
        self.nearest = nearest
        hint = f"did you mean {nearest!r}?" if nearest else "is the module that declares it imported?"
        super().__init__(f"no job named {name!r} is registered; {hint}")


class InvalidSchedule(SoniqError):
    """A schedule's rule can never fire or cannot be read, or another option of it is impossible."""

    code = "invalid_schedule"


class ScheduleNotFound(SoniqError):
    """There is no schedule of this name.

    :ivar name: the name that was asked for
    """

    code = "schedule_not_found"

    def __init__(self, name: str) -> None:
        self.name = name
        super().__init__(f"no schedule is named {name!r}; app.scheduler.list() gives those there are")


class InvalidEnqueue(SoniqError):
    """An option of one enqueue is wrong: queue, priority, scheduled_at; or a handler of a signal makes it
    while what it has interrupted is using the same connection.
    """

    code = "invalid_enqueue"


class InvalidArguments(SoniqError):
    """Arguments do not fit the job's signature, or hold a value that cannot be stored.

    :ivar path: where in the arguments the value stands, such as ``args.items[3].name``
    """

    code = "invalid_arguments"

    def __init__(self, message: str, *, path: str = "args") -> None:
        self.path = path
        super().__init__(message)


class PayloadTooLarge(InvalidArguments):
    """The stored form would be larger than the limit allows.

    :ivar size: bytes of the stored form
    :ivar limit: bytes allowed
    """

    code = "payload_too_large"

    def __init__(self, *, path: str, size: int | None, limit: int) -> None:
        self.size = size
        self.limit = limit
        takes = f"{size:,}" if size is not None else "far too many"
        super().__init__(
            f"{path} takes {takes} bytes, over the limit of {limit:,}; "
            "store the data elsewhere and pass a reference",
            path=path,
        )


class ReferenceGone(InvalidArguments):
    """A stored argument or result refers to an object, such as a row, that is not there any more."""

    code = "reference_gone"


class JobTimeout(SoniqError):
    """A job ran longer than its timeout.

    :ivar seconds: the timeout
    """

    code = "timeout"

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        super().__init__(f"the job ran longer than its timeout of {seconds:g} s")


class DeadLetterNotFound(SoniqError):
    """There is no dead letter with this id.

    :ivar job_id: the id that was asked for
    """

    code = "dead_letter_not_found"

    def __init__(self, job_id: str) -> None:
        self.job_id = job_id
        super().__init__(f"no dead letter has the id {job_id!r}; it may have been deleted")


class AppClosed(SoniqError):
    """The Soniq object was closed; make a new one."""

    code = "closed"

    def __init__(self) -> None:
        super().__init__("this Soniq object was closed; make a new one")


class BackendError(SoniqError):
    """The storage failed."""

    code = "backend"


class BackendUnavailable(BackendError):
    """The database cannot be reached, or refuses to write; backing off and trying again is right."""

    code = "backend_unavailable"


class BackendNotReady(BackendUnavailable):
    """The database lacks tables or migrations that this code needs; it is ready once they are applied.

    :ivar missing: the names of these migrations, in order; empty if they are not known
    """

    code = "backend_not_ready"

    def __init__(self, message: str, *, missing: Sequence[str] = ()) -> None:
        self.missing = tuple(missing)
        super().__init__(message)


class BackendConflict(BackendError):
    """The database gave up a transaction (deadlock, serialization); trying again at once is right."""

    code = "backend_conflict"
