"""What ORM jobs would cost without a queue: threads that make their calls in a plain loop.

``python -m benchmarks.threads JOBS THREADS sync``, or ``async`` for the calls of the async ORM, which each
thread awaits in an event loop that ``async_to_sync`` gives it.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Iterable

from asgiref.sync import async_to_sync


def main(jobs: int, threads: int, kind: str) -> None:
    """Print the seconds it took, from the moment that every thread is connected."""
    import django  # noqa: PLC0415  # the settings come from the environment

    django.setup()
    from django.db import connection  # noqa: PLC0415  # as Django is set up now

    make_calls = {"sync": _sync, "async": async_to_sync(_async)}[kind]

    def work(index: int) -> None:
        connection.ensure_connection()
        ready.wait()
        make_calls(range(index, jobs, threads))
        connection.close()

    ready = threading.Barrier(threads + 1)
    running = [threading.Thread(target=work, args=[index]) for index in range(threads)]
    for thread in running:
        thread.start()
    ready.wait()
    begun = time.perf_counter()
    for thread in running:
        thread.join()
    print(json.dumps({"seconds": time.perf_counter() - begun}))


def _sync(numbers: Iterable[int]) -> None:
    from benchmarks.project.work import body  # noqa: PLC0415  # as Django is set up now

    for number in numbers:
        body.orm(number)


async def _async(numbers: Iterable[int]) -> None:
    from benchmarks.project.work import body  # noqa: PLC0415  # as Django is set up now

    for number in numbers:
        await body.orm_async(number)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3])
