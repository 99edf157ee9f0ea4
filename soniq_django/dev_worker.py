"""``SONIQ["DEV_WORKER"]``: a worker that comes and goes with ``runserver``.

It is a process of its own, a child of the one that serves: a job that hangs, or ends its process, does not
take the server along. It stops when the server's process ends, however that happens, as its standard input
ends then. On a reload the server waits for it: its jobs are given back before new code starts.
"""

from __future__ import annotations

import atexit
import os
import subprocess
import sys
from typing import Any

from django.conf import settings
from django.utils import autoreload

from soniq.steady import get_logger
from soniq.supervisor import KILL_AFTER, PATIENCE, RELOAD_PATIENCE, SUPERVISED

logger = get_logger("soniq.supervisor")


class DevWorker:
    """The worker of one server process."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, **_: Any) -> None:
        """Start it, once. It is stopped as this process ends."""
        if self._process is not None:
            return
        command = [sys.executable, *(f"-W{option}" for option in sys.warnoptions), "-m", "django"]
        self._process = subprocess.Popen(  # noqa: S603  # our own command line
            [*command, "soniq_worker", "--processes=1"],
            stdin=subprocess.PIPE,
            env={
                **os.environ,
                "DJANGO_SETTINGS_MODULE": settings.SETTINGS_MODULE,
                "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
                SUPERVISED: "1",
                PATIENCE: str(RELOAD_PATIENCE),
            },
            start_new_session=True,  # Ctrl-C reaches it through us, once
        )
        atexit.register(self.stop)
        logger.info("runserver started a worker beside itself, since SONIQ['DEV_WORKER'] is True")

    def stop(self) -> None:
        """Let jobs finish for a moment, then have them given back; return when the worker is gone.

        Upon Ctrl-C, Django kills this process before that. The worker does its part all the same.
        """
        process, self._process = self._process, None
        if process is None:
            return
        if process.stdin is not None:
            process.stdin.close()  # it notices, and stops
        try:
            process.wait(RELOAD_PATIENCE + KILL_AFTER)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


_worker = DevWorker()


def accompany(argv: list[str]) -> None:
    """Start a worker if this process is to serve ``runserver`` in DEBUG; called when apps are ready.

    With Django's autoreload two processes run ``runserver``: one that only watches over the other, and the
    other, which serves. The worker belongs to the one that serves.

    :param argv: the command line of this process
    """
    if not settings.DEBUG:
        logger.warning(
            "SONIQ['DEV_WORKER'] is True, but DEBUG is not: no worker runs beside the server; "
            "start manage.py soniq_worker"
        )
        return
    if argv[1:2] != ["runserver"] or {"-h", "--help"} & set(argv):
        return
    if "--noreload" in argv:
        _worker.start()
    elif os.environ.get(autoreload.DJANGO_AUTORELOAD_ENV) == "true":
        autoreload.autoreload_started.connect(_worker.start, dispatch_uid="soniq_django.dev_worker")
