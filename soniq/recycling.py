"""Workers that leave after some work, so that another one starts with a clean memory.

Libraries leak, and memory that was needed once is not always given back. A worker that has done its share
claims nothing more, finishes what runs, however long that takes, and leaves with exit code 0. Whoever
supervises it (``--processes``, systemd, a container platform) starts the next one.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

from soniq.errors import ConfigurationError
from soniq.steady import get_logger

logger = get_logger("soniq.worker")

MEGABYTE = 1_048_576
_STATM = Path("/proc/self/statm")


class Recycling:
    """When a worker has done its share.

    :param max_jobs: attempts, after which it starts no other; None = no limit
    :param max_memory: megabytes (MiB) of resident memory beyond which it starts no other; None = no limit
    :param resident: bytes of resident memory now
    :raises ConfigurationError: a limit is below 1, or would end the worker before its first job
    """

    def __init__(
        self,
        *,
        max_jobs: int | None = None,
        max_memory: int | None = None,
        resident: Callable[[], int] | None = None,
    ) -> None:
        self._max_jobs = max_jobs
        self._max_memory = max_memory
        self._resident = resident or resident_bytes
        self.reason = ""  # why the worker leaves; empty while it goes on
        if max_jobs is not None and max_jobs < 1:
            raise ConfigurationError(f"max_jobs is {max_jobs}: give 1 or more")
        if max_memory is not None:
            if max_memory < 1:
                raise ConfigurationError(f"max_memory is {max_memory}: give 1 or more megabytes")
            used = self._resident() / MEGABYTE
            if used >= max_memory:
                raise ConfigurationError(
                    f"max_memory is {max_memory} MB, and the process takes {used:.0f} MB before its first "
                    f"job; give {2 * used:.0f} or more"
                )

    def allowed(self, wanted: int, *, started: int) -> int:
        """How many of ``wanted`` jobs may be claimed by a worker that has claimed ``started`` before."""
        if self._max_jobs is not None and started >= self._max_jobs:
            self._decide(f"it has started {started} of at most {self._max_jobs} jobs")
        if self.reason:
            return 0
        return wanted if self._max_jobs is None else min(wanted, self._max_jobs - started)

    def weigh(self) -> None:
        """Look at the memory; to be called when jobs have ended, and now and then."""
        if self._max_memory is not None:
            used = self._resident() / MEGABYTE
            if used > self._max_memory:
                self._decide(f"it takes {used:.0f} MB of at most {self._max_memory} MB of memory")

    def _decide(self, reason: str) -> None:
        """Leave. Said once: what was decided stays decided."""
        if not self.reason:
            self.reason = reason
            logger.info("this worker is to be replaced, it finishes what runs and leaves: %s", reason)


def resident_bytes() -> int:
    """Resident memory of this process: what it takes now or, where only that is known, took at most.

    :raises ConfigurationError: this platform says neither
    """
    try:
        return int(_STATM.read_text().split()[1]) * _page_size()
    except OSError:
        return _peak()


def _page_size() -> int:
    import resource  # noqa: PLC0415  # absent on Windows

    return resource.getpagesize()


def _peak() -> int:
    try:
        import resource  # noqa: PLC0415  # absent on Windows
    except ImportError:
        raise ConfigurationError(
            f"the memory of a process cannot be measured on {sys.platform}; leave out max_memory"
        ) from None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024  # kilobytes everywhere but there
