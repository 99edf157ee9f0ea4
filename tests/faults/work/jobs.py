"""Jobs that note in the ledger when they start and when they finish.

What they note and what they leave in the database is what the invariants are checked against.
"""
# ruff: noqa: ASYNC240, ASYNC110, ASYNC251  # they talk to another process by files, and misbehave on purpose

import asyncio
import contextlib
import ctypes
import mmap
import os
import select
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from django.db import IntegrityError, connection, transaction

import soniq
from soniq.schedule_records import ScheduleChange
from soniq_django.models import Job
from soniq_django.store.schedules import ScheduleTable
from tests.faults.harness.ledger import note
from tests.faults.work.models import Row

MANY = 50  # retries: a scenario may hit the same job again and again


@soniq.job(name="faults.write", max_retries=MANY, retry_delay=0.1)
def write(ctx: soniq.JobContext, ms: int = 0) -> None:
    note(ctx, "started")
    time.sleep(ms / 1000)
    Row.objects.create(job=ctx.job_id, attempt=ctx.attempt)
    note(ctx, "finished")


@soniq.job(name="faults.awrite", max_retries=MANY)
async def awrite(ctx: soniq.JobContext, ms: int = 0) -> None:
    note(ctx, "started")
    await asyncio.sleep(ms / 1000)
    await Row.objects.acreate(job=ctx.job_id, attempt=ctx.attempt)
    note(ctx, "finished")


@soniq.job(name="faults.write_once", max_retries=MANY, retry_delay=0.1, atomic=True)
def write_once(ctx: soniq.JobContext, ms: int = 0) -> None:
    """Its row is there as often as the job is done."""
    note(ctx, "started")
    Row.objects.create(job=ctx.job_id, attempt=ctx.attempt)
    time.sleep(ms / 1000)
    note(ctx, "finished")


@soniq.job(name="faults.awrite_once", max_retries=MANY, retry_delay=0.1, atomic=True)
async def awrite_once(ctx: soniq.JobContext, ms: int = 0) -> None:
    note(ctx, "started")
    await Row.objects.acreate(job=ctx.job_id, attempt=ctx.attempt)
    await asyncio.sleep(ms / 1000)
    note(ctx, "finished")


@soniq.job(name="faults.hold_once", max_retries=MANY, atomic=True)
def hold_once(ctx: soniq.JobContext, until: str) -> str:
    """Writes its row, then runs until a file appears."""
    note(ctx, "started")
    Row.objects.create(job=ctx.job_id, attempt=ctx.attempt)
    while not Path(until).exists():
        time.sleep(0.01)
    note(ctx, "finished")
    return f"by {ctx.worker_id}"


@soniq.job(name="faults.quick", max_retries=MANY)
def quick(ctx: soniq.JobContext) -> None:
    """Touches no database, so it cannot fail with it."""
    note(ctx, "started")
    note(ctx, "finished")


@soniq.job(name="faults.carry", max_retries=MANY)
def carry(ctx: soniq.JobContext, luggage: str) -> None:
    """Has arguments that are long on their way."""
    note(ctx, "started")
    note(ctx, "finished")


@soniq.job(name="faults.hold", max_retries=0)
def hold(ctx: soniq.JobContext, until: str) -> str:
    """Runs until a file appears."""
    note(ctx, "started")
    while not Path(until).exists():
        time.sleep(0.01)
    note(ctx, "finished")
    return f"by {ctx.worker_id}"


@soniq.job(name="faults.hold_again", max_retries=MANY)
def hold_again(ctx: soniq.JobContext, until: str) -> str:
    """The same, and may be tried again."""
    return hold(ctx, until)


@soniq.job(name="faults.ahold", max_retries=0)
async def ahold(ctx: soniq.JobContext, until: str) -> str:
    note(ctx, "started")
    while not Path(until).exists():
        await asyncio.sleep(0.01)
    note(ctx, "finished")
    return f"by {ctx.worker_id}"


@soniq.job(name="faults.swallow", max_retries=0)
async def swallow(ctx: soniq.JobContext) -> None:
    """Goes on for a minute, whoever cancels it."""
    note(ctx, "started")
    ends = time.monotonic() + 60
    while time.monotonic() < ends:
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(1)


@soniq.job(name="faults.block_loop", max_retries=0)
async def block_loop(ctx: soniq.JobContext, seconds: float) -> None:
    """Keeps the event loop from turning."""
    note(ctx, "started")
    time.sleep(seconds)
    note(ctx, "finished")


@soniq.job(name="faults.poison", max_retries=MANY)
def poison(ctx: soniq.JobContext) -> None:
    """Takes its worker with it."""
    note(ctx, "started")
    os._exit(137)


@soniq.job(name="faults.hog", max_retries=MANY)
def hog(ctx: soniq.JobContext) -> None:
    """Takes memory as C code does that never looks whether it got any: until there is none, and it dies."""
    note(ctx, "started")
    libc = ctypes.CDLL(None)
    libc.malloc.restype = ctypes.c_void_p
    libc.memset.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_size_t]
    while True:
        libc.memset(libc.malloc(64 << 20), 1, 64)  # address space is what is limited; a page of each will do


@soniq.job(name="faults.fill", max_retries=0)
def fill(ctx: soniq.JobContext, go: str) -> None:
    """Takes all memory there is, keeps it until a file appears, and fails for want of more."""
    note(ctx, "started")
    kept = []
    for size in (64 << 20, 1 << 20, 1 << 16):
        with contextlib.suppress(OSError):
            while True:
                kept.append(mmap.mmap(-1, size))  # address space, which is what is limited
    while not Path(go).exists():
        time.sleep(0.01)
    bytearray(1 << 30)


# -- misbehaviour that a worker has to survive


@soniq.job(name="faults.leave_transaction_open", max_retries=0)
def leave_transaction_open(ctx: soniq.JobContext) -> None:
    note(ctx, "started")
    transaction.set_autocommit(False)
    Row.objects.create(job=ctx.job_id, attempt=-1)  # must not be committed by anybody
    note(ctx, "finished")


@soniq.job(name="faults.leave_transaction_aborted", max_retries=0)
def leave_transaction_aborted(ctx: soniq.JobContext) -> None:
    note(ctx, "started")
    transaction.set_autocommit(False)
    with contextlib.suppress(IntegrityError), connection.cursor() as cursor:
        cursor.execute("INSERT INTO faults_work_row (job, attempt) VALUES (NULL, NULL)")
    note(ctx, "finished")


@soniq.job(name="faults.enter_atomic", max_retries=0)
def enter_atomic(ctx: soniq.JobContext) -> None:
    """Enters a block that it never leaves."""
    note(ctx, "started")
    transaction.atomic().__enter__()
    Row.objects.create(job=ctx.job_id, attempt=-1)  # must not be committed by anybody
    note(ctx, "finished")


@soniq.job(name="faults.begin_in_sql", max_retries=0)
def begin_in_sql(ctx: soniq.JobContext) -> None:
    """Opens a transaction that Django knows nothing of."""
    note(ctx, "started")
    with connection.cursor() as cursor:
        cursor.execute("BEGIN")
        cursor.execute("INSERT INTO faults_work_row (job, attempt) VALUES (%s, -1)", [ctx.job_id])
    note(ctx, "finished")


@soniq.job(name="faults.close_connection", max_retries=0)
def close_connection(ctx: soniq.JobContext) -> None:
    """Closes it below Django, which still thinks that it is open."""
    note(ctx, "started")
    connection.ensure_connection()
    connection.connection.close()
    note(ctx, "finished")


@soniq.job(name="faults.broken_on_commit", max_retries=0)
def broken_on_commit(ctx: soniq.JobContext) -> None:
    note(ctx, "started")
    with transaction.atomic():
        transaction.on_commit(lambda: 1 / 0)
    note(ctx, "finished")


@soniq.job(name="faults.delete_itself", max_retries=0)
def delete_itself(ctx: soniq.JobContext) -> None:
    note(ctx, "started")
    Job.objects.filter(pk=ctx.job_id).delete()
    note(ctx, "finished")


@soniq.job(name="faults.large_result", max_retries=0)
def large_result(ctx: soniq.JobContext) -> str:
    note(ctx, "started")
    note(ctx, "finished")
    return "x" * 10_000_000


class OwnBaseError(BaseException):
    """Not an Exception."""


EXITS = {
    kind.__name__: kind
    for kind in (SystemExit, KeyboardInterrupt, GeneratorExit, asyncio.CancelledError, OwnBaseError)
}


@soniq.job(name="faults.leave", max_retries=0)
def leave(ctx: soniq.JobContext, how: str) -> None:
    note(ctx, "started")
    raise EXITS[how]("not an Exception")


@soniq.job(name="faults.aleave", max_retries=0)
async def aleave(ctx: soniq.JobContext, how: str) -> None:
    note(ctx, "started")
    raise EXITS[how]("not an Exception")


@soniq.job(name="faults.start_thread", max_retries=0)
def start_thread(ctx: soniq.JobContext) -> None:
    """A daemon thread that outlives the job by a minute."""
    note(ctx, "started")
    threading.Thread(target=time.sleep, args=(60,), daemon=True).start()
    note(ctx, "finished")


@soniq.job(name="faults.leave_thread", max_retries=0)
async def leave_thread(ctx: soniq.JobContext) -> None:
    """A thread for which Python waits when the process is to end: for a minute."""
    note(ctx, "started")
    threading.Thread(target=time.sleep, args=(60,), daemon=False).start()
    note(ctx, "finished")


@soniq.job(name="faults.fork", max_retries=0)
def fork(ctx: soniq.JobContext) -> None:
    """A child that leaves as a program would: it must not take our connections with it."""
    note(ctx, "started")
    Row.objects.count()  # a connection that the child inherits
    child = os.fork()
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)
    note(ctx, "finished")


@soniq.job(name="faults.run_program", max_retries=0)
def run_program(ctx: soniq.JobContext) -> None:
    note(ctx, "started")
    subprocess.run([sys.executable, "-c", "pass"], check=True)
    note(ctx, "finished")


@soniq.job(name="faults.spin", max_retries=MANY)
def spin(ctx: soniq.JobContext, seconds: float) -> None:
    """Holds the interpreter's lock for the whole time."""
    note(ctx, "started")
    ends = time.monotonic() + seconds
    while time.monotonic() < ends:
        sum(range(20_000_000))  # one call into C, during which no other thread runs
    note(ctx, "finished")


def stop_here(pause: str) -> None:
    """Say that it got this far, and go on once the file is gone."""
    Path(pause).touch()
    while Path(pause).exists():
        time.sleep(0.01)


if "FAKETIME" in os.environ:
    # libfaketime takes the moment at which Python wants to wake up for one in the past, or for none at all.
    time.sleep = lambda seconds: select.select((), (), (), seconds)

if pause := os.environ.get("FAULTS_PAUSE_BEFORE_JOBS"):

    @soniq.before_job
    def wait_before_job(job_name: str, job_id: str, attempt: int) -> None:
        """Between the claim and the start of the job's own code."""
        stop_here(pause)


if pause_within := os.environ.get("FAULTS_PAUSE_WITHIN_FIRING"):
    advance = ScheduleTable._written

    def advance_and_stop(self: ScheduleTable, change: ScheduleChange) -> bool:
        """Between a schedule's next fire time and the jobs of this one."""
        held = advance(self, change)
        if change.jobs:
            stop_here(pause_within)
        return held

    ScheduleTable._written = advance_and_stop

if pause_after := os.environ.get("FAULTS_PAUSE_AFTER_FIRING"):
    written = ScheduleTable.write_schedules

    def write_and_stop(self: ScheduleTable, changes: Sequence[ScheduleChange]) -> list[list[str] | None]:
        """Right after the commit, before the worker knows of it."""
        answers = written(self, changes)
        if any(change.jobs for change in changes):
            stop_here(pause_after)
        return answers

    ScheduleTable.write_schedules = write_and_stop
