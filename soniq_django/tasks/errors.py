"""What the results of tasks say where no exception of the task's own tells it.

::

    SoniqError
    ├── JobCancelled                in the result of a task that was cancelled
    ├── AttemptLost                 in that of a task whose worker died
    └── InvalidArguments
        └── UnsupportedArguments    also a TypeError: raised by enqueue()
"""

from __future__ import annotations

from soniq.errors import InvalidArguments, SoniqError


class JobCancelled(SoniqError):
    """The job was cancelled before a worker claimed it."""

    code = "cancelled"


class AttemptLost(SoniqError):
    """An attempt ended without an exception: its worker was lost."""

    code = "attempt_lost"


class UnsupportedArguments(InvalidArguments, TypeError):
    """The arguments do not fit the task, or hold a value that cannot be stored."""
