"""Tasks of the shop, found because this module is called `tasks`."""

import sys
import threading
import time

from django.utils import translation

from tests.shop.models import Note
from tests.support.task_api import task


@task
def total(*numbers, factor=1):
    return sum(numbers) * factor


@task
async def atotal(*numbers, factor=1):
    return sum(numbers) * factor


@task
def order(number, *, express=False):
    return [number, express]


@task(max_retries=0)
def refuse(message="no"):
    raise ValueError(message)


@task(max_retries=0)
async def arefuse(message="no"):
    raise ValueError(message)


@task(max_retries=2, retry_delay=[0.0, 60.0])
def flaky(message="again"):
    raise LookupError(message)


@task(max_retries=2)
def wrapped():
    raise ValueError(ValueError("inside"))


@task(max_retries=0)
def leave(kind):
    raise {"SystemExit": SystemExit, "KeyboardInterrupt": KeyboardInterrupt}[kind](kind)


@task(max_retries=3)
def unstorable():
    return lambda: True


@task
def echo(value):
    return value


@task
def take(*values, more=None):
    """Takes anything."""


@task(takes_context=True, max_retries=1)
def about_me(context, fail_first=False):
    if fail_first and context.attempt == 1:
        raise ValueError("first")
    result = context.task_result
    return [
        result.id,
        context.attempt,
        result.status,
        result.worker_ids,
        [e.traceback for e in result.errors],
    ]


@task(takes_context=True)
async def aabout_me(context, *, word):
    return [context.task_result.id, context.attempt, word]


@task(timeout=0.1, max_retries=0)
def overrun():
    time.sleep(0.4)


let_go = threading.Event()


@task(timeout=0.1, max_retries=0)
def overstay():
    """Returns when it is told to, long after it was given up."""
    let_go.wait(60)


@task
def write_note(text, alias):
    Note.objects.using(alias).create(text=text)


@task(unique=True)
def rebuild(shop):
    return shop


@task(max_retries=0)
def exit_process():
    sys.exit(1)


nameless = task(lambda: None)


@task(backend="slow", queue_name="anything")
def slow():
    return "slow"


@task
def language():
    return translation.get_language()


@task
async def alanguage():
    return translation.get_language()


@task(atomic=True, max_retries=0)
def write_and_refuse(text, alias):
    Note.objects.using(alias).create(text=text)
    raise ValueError(text)


@task
def read_note(note: Note):
    return note.text


@task
def has_note(note: Note):
    return note is not None
