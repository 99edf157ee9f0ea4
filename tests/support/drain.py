"""A program that works through jobs in a SQLite file until it is stopped: the subject of test_signals.

``python -m tests.support.drain PATH KIND``: KIND is what the jobs are, "sync" or "async", or what else they
do: "deaf" ones are async and ignore SIGTERM and SIGINT, "greedy" ones handle them in the event loop, "mute"
ones close the error stream. Each job writes "started", waits for the file PATH.go, and writes "finished".
Runs with two slots and the time of SHUTDOWN_TIMEOUT in the environment.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
import time
from pathlib import Path

from soniq import Soniq
from soniq.testing import wait_until

PATH, KIND = sys.argv[1:]
GO = Path(f"{PATH}.go")

app = Soniq(
    database_url=PATH,
    concurrency=2,
    poll_interval=0.05,
    max_retries=0,
    shutdown_timeout=float(os.environ["SHUTDOWN_TIMEOUT"]),
)


def say(word: str) -> None:
    os.write(1, f"{word}\n".encode())  # at once: two threads speak


if KIND in ("sync", "mute"):

    @app.job(name="work")
    def work() -> None:
        if KIND == "mute":
            sys.stderr.close()
        say("started")
        while not GO.exists():
            time.sleep(0.005)
        say("finished")

else:

    @app.job(name="work")
    async def work() -> None:
        if KIND == "deaf":
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            signal.signal(signal.SIGINT, signal.SIG_IGN)
        if KIND == "greedy":
            for number in (signal.SIGTERM, signal.SIGINT):
                asyncio.get_running_loop().add_signal_handler(number, say, "handled")
            signal.set_wakeup_fd(-1)
        say("started")
        await wait_until(GO.exists, timeout=600)
        say("finished")


async def main() -> None:
    async with app:
        say("ran" if await app.run_worker() else "idle")


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO)
    asyncio.run(main())
