"""A program that enqueues, and is interrupted all the time by a signal whose handler enqueues as well.

    python -m tests.faults.work.interrupted direct|thread|rest SIGNALS

``direct``: the handler enqueues itself; ``thread``: on a thread that it starts; ``rest``: itself, while the
program does nothing. Prints as JSON what was stored by whom, and how many enqueues were refused.
"""

import json
import signal
import sys
import threading
import time

import django

django.setup()

from django.db import connections  # noqa: E402  # after setup()

import soniq  # noqa: E402
from tests.faults.work.jobs import quick  # noqa: E402
from tests.faults.work.models import Row  # noqa: E402

EVERY = 0.005  # seconds

how, signals = sys.argv[1], int(sys.argv[2])
by_handler: list[str] = []
by_program: list[str] = []
refused: list[str] = []
threads: list[threading.Thread] = []
came = 0


def enqueue() -> None:
    try:
        by_handler.append(quick.enqueue())
    except soniq.InvalidEnqueue as error:
        refused.append(str(error))


def enqueue_alone() -> None:
    try:
        enqueue()
    finally:
        connections.close_all()


def handle(_number: int, _frame: object) -> None:
    global came  # noqa: PLW0603  # handlers have nowhere else to count
    if how == "thread":
        threads.append(threading.Thread(target=enqueue_alone))
        threads[-1].start()
    else:
        enqueue()
    came += 1
    if came < signals:
        signal.setitimer(signal.ITIMER_REAL, EVERY)  # not before: no handler interrupts a handler


signal.signal(signal.SIGALRM, handle)
Row.objects.count()  # connected
signal.setitimer(signal.ITIMER_REAL, EVERY)
while came < signals:
    if how == "rest":
        time.sleep(EVERY / 10)
        continue
    by_program.append(quick.enqueue())
    Row.objects.count()
for thread in threads:
    thread.join()
print(json.dumps({"handler": by_handler, "program": by_program, "refused": refused}))
