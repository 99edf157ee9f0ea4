"""A program that enqueues, and is interrupted all the time by a signal whose handler enqueues as well.

    python -m tests.faults.work.interrupted direct|thread|rest SIGNALS SEED

``direct``: the handler enqueues itself; ``thread``: on a thread that it starts; ``rest``: itself, while the
program does nothing. Prints as JSON what was stored by whom, what it cannot know, and what was refused.
"""

import json
import random
import signal
import sys
import threading
import time
from contextlib import suppress

import django

django.setup()

from django.db import connections, transaction  # noqa: E402  # after setup()

import soniq  # noqa: E402
from tests.faults.work.jobs import quick  # noqa: E402
from tests.faults.work.models import Row  # noqa: E402

SOON, LATE = 0.0002, 0.005  # seconds until the next signal

how, signals, chance = sys.argv[1], int(sys.argv[2]), random.Random(int(sys.argv[3]))
by_handler: list[str] = []
by_program: list[str] = []
unsure: list[str] = []  # jobs of the handler that a rollback of the program may have taken along
refused: list[str] = []
threads: list[threading.Thread] = []
came = 0
undoing = False  # whether a block is open that will be rolled back


class Undo(Exception):
    """Rolls a block back."""


def enqueue(answers: list[str]) -> None:
    try:
        answers.append(quick.enqueue())
    except soniq.InvalidEnqueue as error:
        refused.append(str(error))


def enqueue_alone() -> None:
    try:
        enqueue(by_handler)
    finally:
        connections.close_all()


def next_signal() -> None:
    """After one has been handled: no handler interrupts a handler."""
    signal.setitimer(signal.ITIMER_REAL, chance.uniform(SOON, LATE))


def handle(_number: int, _frame: object) -> None:
    global came  # noqa: PLW0603  # handlers have nowhere else to count
    if how == "thread":
        threads.append(threading.Thread(target=enqueue_alone))
        threads[-1].start()
    else:
        enqueue(unsure if undoing else by_handler)
    came += 1
    if came < signals:
        next_signal()


def use_the_database() -> None:
    """In all ways in which a program does."""
    global undoing  # noqa: PLW0603  # for the handler
    by_program.append(quick.enqueue())
    with transaction.atomic():
        Row.objects.create(job=by_program[-1], attempt=0)
        with transaction.atomic():
            by_program.extend(quick.enqueue_many([{}] * 2))
    undoing = True
    with suppress(Undo), transaction.atomic():
        Row.objects.create(job=quick.enqueue(), attempt=-1)
        raise Undo
    undoing = False
    assert not Row.objects.filter(attempt=-1).exists(), "a block was rolled back in part"
    assert Row.objects.filter(job=by_program[-3]).count() == 1, "a block was not committed"


signal.signal(signal.SIGALRM, handle)
Row.objects.count()  # connected
next_signal()
while came < signals:
    if how == "rest":
        time.sleep(LATE / 10)
    else:
        use_the_database()
for thread in threads:
    thread.join()
print(json.dumps({"handler": by_handler, "program": by_program, "unsure": unsure, "refused": refused}))
