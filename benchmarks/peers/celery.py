"""Celery on a Redis of its own: ``celery worker``, one process per core."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import socket
import subprocess
import time
from datetime import datetime

from benchmarks.peers.base import DatabasePeer, NotRun
from benchmarks.processes import die_with_parent
from benchmarks.server import Server
from benchmarks.tally import Tally


class CeleryPeer(DatabasePeer):
    """Redis keeps nothing on disk here, so this is a queue that a power cut empties."""

    name = "celery"
    package = "celery"
    module = "celery"
    jobs = "celery_jobs"
    asynchronous = False
    bulk = False
    tables = ()
    _redis: subprocess.Popen[bytes] | None = None

    def missing(self) -> str | None:
        """See the base class."""
        if reason := super().missing():
            return reason
        if importlib.util.find_spec("redis") is None:
            return "redis is not installed; pip install -e '.[bench]'"
        return None if shutil.which("redis-server") else "no redis-server found on the PATH"

    def setup(self, server: Server) -> None:
        """See the base class."""
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self._redis = subprocess.Popen(
            ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"],
            stdout=subprocess.DEVNULL,
            cwd=server.directory,
            start_new_session=True,
            preexec_fn=die_with_parent,  # noqa: PLW1509  # it calls one C function, and no Python lock
        )
        super().setup(server)
        self.environment["SONIQ_BENCH_REDIS"] = f"redis://127.0.0.1:{port}"

        import redis  # noqa: PLC0415  # only this peer needs it

        self._broker, self._results = (redis.Redis(port=port, db=number) for number in (0, 1))
        while True:
            try:
                self._broker.ping()
                break
            except redis.ConnectionError:
                time.sleep(0.05)

    def cleanup(self) -> None:
        """See the base class."""
        super().cleanup()
        if self._redis is not None:
            self._redis.terminate()
            self._redis.wait()

    def reset(self, size: int) -> Tally:
        """See the base class."""
        self._broker.flushall()
        return super().reset(size)

    def multiply(self, first: int, count: int, kind: str, state: str = "queued") -> None:
        """See the base class."""
        raise NotRun("its jobs are not in PostgreSQL")

    def count_stored(self) -> int:
        """See the base class."""
        return int(self._broker.llen("celery"))

    def count_finished(self) -> int:
        """See the base class."""
        return int(self._results.dbsize())

    def finished(self) -> list[tuple[float, int]]:
        """See the base class. Here it is the workers' clock."""
        keys = list(self._results.scan_iter("celery-task-meta-*", count=10_000))
        results = [json.loads(value) for value in self._results.mget(keys)] if keys else []
        done = [result["date_done"] for result in results if result["status"] == "SUCCESS"]
        return sorted((datetime.fromisoformat(moment).timestamp(), 1) for moment in done)

    def worker_command(self) -> list[str]:
        """See the base class."""
        app = "benchmarks.project.work.celery_jobs"
        command = ["-m", "celery", "-A", app, "worker", "--concurrency", str(os.cpu_count())]
        name = f"bench{len(self._workers)}@localhost"
        return [*command, "--loglevel", "ERROR", "-n", name, "--without-gossip", "--without-mingle"]
