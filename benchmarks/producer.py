"""The enqueueing side of each figure, in a process of its own: Django with one peer's app and nothing else.

``python -m benchmarks.producer MODULE KIND ACTION {json}`` prints its answer as JSON.
"""

from __future__ import annotations

import importlib
import json
import os
import random
import sys
import threading
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from benchmarks.tally import DIRECTORY, SIZE, Tally

WARM_UP = 50


class Producer:
    """How one peer enqueues jobs of one kind, from Django. Each peer's module has a subclass.

    :param kind: a key of :data:`benchmarks.project.work.body.JOBS`
    :param options: of the variant to measure
    """

    def __init__(self, kind: str, **options: Any) -> None:
        self.kind = kind

    def one(self, number: int) -> None:
        """Enqueue one job, which is committed on return. Threads may call this at the same time."""
        raise NotImplementedError

    def singles(self, numbers: Iterable[int]) -> None:
        """Enqueue one by one, each with a commit of its own."""
        for number in numbers:
            self.one(number)

    def transaction(self, numbers: Iterable[int]) -> None:
        """Enqueue one by one, all within one transaction."""
        from django.db import transaction  # noqa: PLC0415  # not every peer has Django here

        with transaction.atomic():
            self.singles(numbers)

    def bulk(self, numbers: range) -> None:
        """Enqueue all at once, in the fastest way the peer has."""
        raise NotImplementedError


def timed(producer: Producer, how: str, first: int, count: int) -> dict[str, float]:
    """Seconds that ``count`` jobs take, after a few that nobody times."""
    call = getattr(producer, how)
    call(range(first, first + WARM_UP))
    begun = time.perf_counter()
    call(range(first + WARM_UP, first + WARM_UP + count))
    return {"seconds": time.perf_counter() - begun}


def bulk(producer: Producer, first: int, count: int) -> dict[str, float]:
    """Store jobs for workers to run; nobody times it."""
    producer.bulk(range(first, first + count))
    return {}


def sessions(producer: Producer, first: int, count: int, threads: int) -> dict[str, float]:
    """``count`` transactions in each of several threads, all waiting for a line on standard input."""

    def enqueue(begin: int) -> None:
        producer.transaction([begin])  # connects
        ready.wait()
        for number in range(begin + 1, begin + count):
            producer.transaction([number])

    ready = threading.Barrier(threads + 1)
    running = [threading.Thread(target=enqueue, args=[first + index * count]) for index in range(threads)]
    for thread in running:
        thread.start()
    print("ready", flush=True)
    sys.stdin.readline()
    begun = time.time()
    ready.wait()
    for thread in running:
        thread.join()
    return {"begun": begun, "ended": time.time()}


def latencies(producer: Producer, count: int, seconds: float) -> dict[str, list[float]]:
    """From the call that enqueues a job to the job's own code, for single jobs and an idle worker."""
    tally = Tally(Path(os.environ[DIRECTORY]), int(os.environ[SIZE]))
    found: list[float] = []
    deadline = time.time() + seconds
    for number in range(count):
        time.sleep(random.uniform(0.01, 0.03))
        called = time.time()
        producer.singles([number])
        while (stamped := tally.stamped(number)) is None and time.time() < deadline:
            time.sleep(0.002)
        if stamped is None:
            break
        found.append(stamped - called)
    return {"latencies": found}


ACTIONS = {"timed": timed, "bulk": bulk, "sessions": sessions, "latencies": latencies}


def main(module: str, kind: str, action: str, arguments: str) -> None:
    """Do one action and print its answer."""
    import django  # noqa: PLC0415  # the settings come first

    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "benchmarks.project.settings")
    django.setup()
    given = json.loads(arguments)
    producer = importlib.import_module(module).Producer(kind, **given.pop("options", {}))
    print(json.dumps(ACTIONS[action](producer, **given)), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
