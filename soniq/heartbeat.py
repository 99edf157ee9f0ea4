"""The heart of a worker: says to the storage that it lives, and knows when that is in doubt.

It beats from an operating-system thread, so that neither a busy event loop nor a long job silences it,
and until the last outcome is recorded, so that nobody rescues a job that is still being finished.

A worker whose beats do not arrive is taken for dead after ``dead_after``, and its jobs are given to others.
It cannot be told, so it has to know by itself: some beats before that moment it stops trusting its claims
(:attr:`Heart.trusted`), and a worker that was frozen finds out at once when it wakes up, by the clock.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from soniq.backend import StorageBackend
from soniq.jobs import WorkerInfo
from soniq.steady import get_logger

logger = get_logger("soniq.worker")


class Heart:
    """Beats every ``interval`` seconds from :meth:`start` to :meth:`stop`.

    The worker must be registered before.

    :param dead_after: seconds without a beat after which others take the worker for dead
    :param changed: called on the heart's thread when trust was regained or the worker forgotten
    :param clock: monotonic seconds
    """

    def __init__(
        self,
        backend: StorageBackend,
        worker: WorkerInfo,
        interval: float,
        *,
        dead_after: float,
        changed: Callable[[], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._backend = backend
        self._worker = worker
        self._interval = interval
        # Two beats of safety, where dead_after leaves room for them.
        self._trust = max(dead_after - 2 * interval, 2 * interval)
        self._changed = changed
        self._clock = clock
        self._trusted_until = clock() + self._trust
        self.forgotten = False  # whether the storage no longer knows the worker
        self.doubted = False  # whether trust was lost and regained since somebody set this to False
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="soniq-heart", daemon=True)

    @property
    def trusted(self) -> bool:
        """Whether the worker's claims are its own for certain: a beat arrived lately."""
        return not self.forgotten and self._clock() < self._trusted_until

    def start(self) -> None:
        """Begin to beat."""
        self._trusted_until = self._clock() + self._trust
        self._thread.start()

    def adopt(self, worker: WorkerInfo) -> None:
        """Beat for another worker, which was registered just now."""
        self._worker = worker
        self._trusted_until = self._clock() + self._trust
        self.forgotten = False

    def stop(self, timeout: float = 5.0) -> None:
        """Stop beating; wait for a beat under way at most ``timeout`` seconds."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(timeout)

    def _run(self) -> None:
        while not self._stopping.wait(self._interval):
            try:
                self._beat()
            except Exception as error:  # noqa: BLE001  # the next beat may succeed
                logger.warning("heartbeat of worker %s failed: %s", self._worker.id, error)
        self._backend.release()

    def _beat(self) -> None:
        worker, began, trusted = self._worker, self._clock(), self.trusted
        known = self._backend.beat(worker.id)
        if worker is not self._worker or self._stopping.is_set():
            return  # an answer about the past
        if known:
            self._trusted_until = began + self._trust
        elif not self.forgotten:
            self.forgotten = True
            self._changed()
        if known and not trusted:
            logger.warning("worker %s can beat again", worker.id)
            self.doubted = True
            self._changed()
