"""Jobs that show what a worker does to them."""
# ruff: noqa: ASYNC240, ASYNC110  # they talk to another process, by files

import asyncio
import contextlib
import gc
import time
from pathlib import Path

import soniq
from tests.shop.models import Note


@soniq.job(name="yard.write_note", max_retries=0)
def write_note(text: str, alias: str = "default") -> int:
    return Note.objects.using(alias).create(text=text).pk


@soniq.job(name="yard.awrite_note", max_retries=0)
async def awrite_note(text: str, alias: str = "default") -> int:
    note = await Note.objects.using(alias).acreate(text=text)
    return note.pk


@soniq.job(name="yard.noop")
def noop() -> None:
    pass


@soniq.job(name="yard.anoop")
async def anoop() -> None:
    pass


@soniq.job(name="yard.wait_for", max_retries=0)
def wait_for(started: str, proceed: str) -> None:
    """Say that it runs, then wait until a file appears."""
    Path(started).touch()
    while not Path(proceed).exists():
        time.sleep(0.01)


@soniq.job(name="yard.await_for", max_retries=0)
async def await_for(started: str, proceed: str) -> None:
    """The same, async."""
    Path(started).touch()
    while not Path(proceed).exists():
        await asyncio.sleep(0.01)


@soniq.job(name="yard.fail", max_retries=0)
def fail(message: str) -> None:
    raise ValueError(message)


@soniq.job(name="yard.swallow", max_retries=0)
async def swallow(started: str) -> None:
    """Goes on for a minute, whoever cancels it."""
    Path(started).touch()
    ends = time.monotonic() + 60
    while time.monotonic() < ends:
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(1)


@soniq.job(name="yard.in_default_executor", max_retries=0)
async def in_default_executor(started: str) -> None:
    """Sits in a thread that nobody can stop."""
    Path(started).touch()
    await asyncio.to_thread(time.sleep, 60)


_hoard: list[bytes] = []


@soniq.job(name="yard.hoard")
def hoard(megabytes: int) -> None:
    """Keeps what it takes."""
    _hoard.append(b"x" * (megabytes * 1_048_576))


@soniq.job(name="yard.count_frozen", max_retries=0)
def count_frozen() -> int:
    return gc.get_freeze_count()


@soniq.job(name="yard.overrun", max_retries=0, timeout=0.1)
def overrun() -> None:
    time.sleep(1)
