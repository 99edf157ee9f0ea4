"""What async ORM jobs would cost without a queue: tasks that await their calls in a plain loop.

Each task has a thread and a connection of its own, by asgiref's ``ThreadSensitiveContext``, as each
request to an ASGI server has.

``python -m benchmarks.tasks JOBS TASKS``
"""

from __future__ import annotations

import asyncio
import json
import sys
import time

from asgiref.sync import ThreadSensitiveContext, sync_to_async


def main(jobs: int, tasks: int) -> None:
    """Print the seconds it took, from the moment that every task is connected."""
    import django  # noqa: PLC0415  # the settings come from the environment

    django.setup()
    print(json.dumps({"seconds": asyncio.run(_run(jobs, tasks))}))


async def _run(jobs: int, tasks: int) -> float:
    from django.db import connection  # noqa: PLC0415  # as Django is set up now

    from benchmarks.project.work import body  # noqa: PLC0415  # as above

    def connect() -> None:
        connection.ensure_connection()

    def disconnect() -> None:
        connection.close()

    async def work(index: int) -> None:
        async with ThreadSensitiveContext():
            await sync_to_async(connect)()
            connected[index].set()
            await go.wait()
            for number in range(index, jobs, tasks):
                await body.orm_async(number)
            await sync_to_async(disconnect)()

    connected = [asyncio.Event() for _ in range(tasks)]
    go = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        for index in range(tasks):
            group.create_task(work(index))
        for event in connected:
            await event.wait()
        begun = time.perf_counter()
        go.set()
    return time.perf_counter() - begun


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
