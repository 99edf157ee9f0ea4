"""The jobs of PgQueuer, and its worker: ``python -m benchmarks.project.work.pgqueuer_jobs BATCH``.

The worker is what ``pgq run`` does, which itself does not start with every release of typer.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import threading
from collections.abc import Coroutine, Iterable
from typing import Any

import asyncpg
import django
import psycopg
import uvloop
from pgqueuer import AsyncpgDriver, Job, PgQueuer
from pgqueuer.adapters.drivers.psycopg import SyncPsycopgDriver
from pgqueuer.adapters.persistence.queries import SyncQueries
from pgqueuer.queries import Queries

from benchmarks import producer


async def work(batch: int) -> None:
    """Run jobs until SIGTERM: an entrypoint per kind of job, on one asyncpg connection, as documented."""
    django.setup()  # for the jobs that use the ORM
    from benchmarks.project.work import body  # noqa: PLC0415  # needs Django to be set up

    connection = await asyncpg.connect(os.environ["SONIQ_BENCH_DATABASE"])
    queue = PgQueuer(AsyncpgDriver(connection))
    for name, function in body.JOBS.items():
        queue.entrypoint(name)(_entrypoint(name, function))
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, queue.shutdown.set)
    try:
        await queue.run(batch_size=batch)
    finally:
        await connection.close()


def _entrypoint(name: str, function: Any) -> Any:
    if name.endswith("_async"):

        async def run_async(job: Job) -> None:
            await function(**json.loads(job.payload or b""))

        return run_async

    async def run(job: Job) -> None:  # as its error for sync entrypoints says
        await asyncio.to_thread(function, **json.loads(job.payload or b""))

    return run


class Producer(producer.Producer):
    """Enqueues on asyncpg; with threads, which asyncpg does not serve, by its calls on psycopg."""

    def __init__(self, kind: str) -> None:
        super().__init__(kind)
        self._loop = asyncio.new_event_loop()
        self._connection = self._wait(asyncpg.connect(os.environ["SONIQ_BENCH_DATABASE"]))
        self._queries = Queries(AsyncpgDriver(self._connection))
        self._local = threading.local()

    def one(self, number: int) -> None:
        """See the base class."""
        if not hasattr(self._local, "queries"):
            connection = psycopg.connect(
                os.environ["SONIQ_BENCH_DATABASE"], autocommit=True, prepare_threshold=1
            )
            self._local.queries = SyncQueries(SyncPsycopgDriver(connection))
            self._local.connection = connection
        self._local.queries.enqueue(self.kind, _payload(number))

    def singles(self, numbers: Iterable[int]) -> None:
        """See the base class."""
        self._wait(self._singles(numbers))

    def transaction(self, numbers: Iterable[int]) -> None:
        """See the base class."""
        if threading.current_thread() is threading.main_thread():
            self._wait(self._transaction(numbers))
            return
        for number in numbers:
            self.one(number)  # a transaction of one

    def bulk(self, numbers: range) -> None:
        """See the base class."""
        payloads: list[bytes | None] = [_payload(number) for number in numbers]
        count = len(payloads)
        self._wait(self._queries.enqueue([self.kind] * count, payloads, [0] * count))

    async def _singles(self, numbers: Iterable[int]) -> None:
        for number in numbers:
            await self._queries.enqueue(self.kind, _payload(number))

    async def _transaction(self, numbers: Iterable[int]) -> None:
        async with self._connection.transaction():
            await self._singles(numbers)

    def _wait(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        return self._loop.run_until_complete(coroutine)


def _payload(number: int) -> bytes:
    return json.dumps({"n": number}).encode()


if __name__ == "__main__":
    uvloop.run(work(int(sys.argv[1])))
