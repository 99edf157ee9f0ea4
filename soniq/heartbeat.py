"""The heart of a worker: says to the storage that it lives.

It beats from an operating-system thread, so that neither a busy event loop nor a long job silences it,
and until the last outcome is recorded, so that nobody rescues a job that is still being finished.
"""

from __future__ import annotations

import logging
import threading

from soniq.backend import StorageBackend
from soniq.jobs import WorkerInfo

logger = logging.getLogger("soniq.worker")


class Heart:
    """Beats every ``interval`` seconds from :meth:`start` to :meth:`stop`.

    The worker must be registered before.
    """

    def __init__(self, backend: StorageBackend, worker: WorkerInfo, interval: float) -> None:
        self._backend = backend
        self._worker = worker
        self._interval = interval
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="soniq-heart", daemon=True)

    def start(self) -> None:
        """Begin to beat."""
        self._thread.start()

    def stop(self, timeout: float = 5.0) -> None:
        """Stop beating; wait for a beat under way at most ``timeout`` seconds."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(timeout)

    def _run(self) -> None:
        while not self._stopping.wait(self._interval):
            try:
                if not self._backend.beat(self._worker.id):
                    logger.warning(
                        "worker %s was taken for dead; it registers again, "
                        "and what it lost meanwhile is dropped",
                        self._worker.id,
                    )
                    self._backend.register(self._worker)
            except Exception as error:  # noqa: BLE001  # the next beat may succeed
                logger.warning("heartbeat of worker %s failed: %s", self._worker.id, error)
        self._backend.release()
