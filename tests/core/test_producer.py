"""From a call to a row: every option of an enqueue, checked before anything is written."""

from __future__ import annotations

import logging
import math
import os
import socket
import warnings
from datetime import UTC, datetime, timedelta, timezone

import pytest

from soniq import Snooze, TaskRef
from soniq.errors import InvalidArguments, InvalidEnqueue, PayloadTooLarge, UnknownTask
from soniq.ids import is_job_id
from soniq.job_options import EnqueueOptions


@pytest.fixture
def work(any_app):
    @any_app.job(name="work")
    async def work(number=0):
        return number

    return work


async def total(app):
    return (await app.get_queue_stats())["total"]


async def refused(app, error=InvalidEnqueue, target="work", **options):
    """The message that this enqueue is refused with; nothing was written."""
    with pytest.raises(error) as raised:
        await app.enqueue(target, **options)
    assert "\n" not in str(raised.value)
    assert await total(app) == 0
    return str(raised.value)


def due_in(job):
    return (job["scheduled_at"] - job["created_at"]).total_seconds()


# -- the stored job


async def test_a_new_job_has_every_documented_key(any_app, work):
    """With the values of job and settings."""
    job_id = await any_app.enqueue(work, number=5)
    job = await any_app.get_job(job_id)
    assert is_job_id(job_id)
    documented = (
        "id job_name args args_hash status attempts max_attempts priority queue unique_job dedup_key "
        "scheduled_at expires_at last_error result producer_id worker_id created_at updated_at "
        "started_at finished_at context failures"
    )
    assert set(documented.split()) <= set(job)
    assert {key: job[key] for key in ("id", "job_name", "args", "status", "attempts", "max_attempts")} == {
        "id": job_id,
        "job_name": "work",
        "args": {"number": 5},
        "status": "queued",
        "attempts": 0,
        "max_attempts": 4,
    }
    assert (job["priority"], job["queue"], job["unique_job"], job["args_hash"]) == (
        100,
        "default",
        False,
        None,
    )
    assert (job["dedup_key"], job["last_error"], job["result"], job["worker_id"]) == (None,) * 4
    assert (job["started_at"], job["finished_at"], job["expires_at"]) == (None,) * 3
    assert ":" in job["producer_id"]
    assert due_in(job) == 0
    assert type(job["status"]) is str


async def test_ids_sort_in_the_order_of_the_enqueues(any_app, work):
    """Newest first in lists."""
    ids = [await any_app.enqueue(work, number=number) for number in range(5)]
    assert ids == sorted(ids)
    assert [job["id"] for job in await any_app.list_jobs()] == ids[::-1]


@pytest.mark.parametrize("target", ["task", "name", "ref"])
async def test_a_job_a_name_and_a_reference_are_targets(any_app, work, target):
    """All three run the same code."""
    given = {"task": work, "name": "work", "ref": TaskRef(name="work")}[target]
    job_id = await any_app.enqueue(given, args={"number": 7})
    await any_app.run_worker(run_once=True)
    assert await any_app.get_result(job_id) == 7


async def test_a_reference_brings_its_own_queue_and_priority(any_app, work):
    """The enqueue's win over them, they win over the job's."""
    ref = TaskRef(name="work", queue="slow", priority=7)
    job = await any_app.get_job(await any_app.enqueue(ref))
    assert (job["queue"], job["priority"]) == ("slow", 7)
    job = await any_app.get_job(await any_app.enqueue(ref, queue="fast", priority=0))
    assert (job["queue"], job["priority"]) == ("fast", 0)


@pytest.mark.parametrize("target", [len, 5, None, b"work", {"name": "work"}, TaskRef(name=5)], ids=repr)
async def test_what_is_no_job_is_refused(any_app, work, target):
    """An undecorated function, for one."""
    assert "decorate it with @job" in await refused(any_app, target=target)


async def test_a_job_of_another_app_is_unknown_here(any_app, make):
    """Apps are isolated; a job of the same name here is this app's own."""
    other = make()

    @other.job(name="theirs")
    async def theirs():
        pass

    with pytest.raises(UnknownTask):
        await any_app.enqueue(theirs)
    ours = any_app.job(name="theirs")(lambda number: number)
    with pytest.raises(InvalidArguments):
        await any_app.enqueue(theirs)  # ours needs a number
    assert await any_app.enqueue(theirs, number=1)
    assert ours.name == "theirs"


# -- names that are not known here


async def test_an_unknown_name_is_refused_when_strict(any_app, work):
    """By default, with the nearest name."""
    message = await refused(any_app, UnknownTask, "wrok")
    assert message == "no job named 'wrok' is registered; did you mean 'work'?"
    await refused(any_app, UnknownTask, TaskRef(name="wrok"))


@pytest.mark.parametrize(("validation", "warns"), [("warn", True), ("none", False)])
async def test_an_unknown_name_may_be_for_other_workers(make_any, caplog, validation, warns):
    """With enqueue_validation "warn" or "none"; no worker here claims it."""
    app = make_any(enqueue_validation=validation)
    with caplog.at_level(logging.WARNING, "soniq.enqueue"):
        job_id = await app.enqueue("elsewhere.job", args={"x": [1]}, queue="q", priority=3)
    assert ("elsewhere.job" in caplog.text) is warns
    assert await app.run_worker(run_once=True) is False
    job = await app.get_job(job_id)
    assert (job["status"], job["args"], job["queue"], job["priority"]) == ("queued", {"x": [1]}, "q", 3)


@pytest.mark.parametrize(
    "name", ["", "a\x00b", "a\ud800", "n" * 256], ids=["empty", "nul", "surrogate", "long"]
)
async def test_a_name_that_no_column_holds_is_refused(make_any, name):
    """Whatever enqueue_validation says."""
    await refused(make_any(enqueue_validation="none"), (InvalidEnqueue, InvalidArguments), name)
    await refused(make_any(enqueue_validation="none"), (InvalidEnqueue, InvalidArguments), TaskRef(name=name))


@pytest.mark.parametrize("args", [{"x": math.nan}, {1: 2}, {"x": object}, {"x\x00": 1}], ids=repr)
async def test_arguments_of_unknown_names_are_checked_as_well(make_any, args):
    """The codec's rules hold for every job."""
    await refused(make_any(enqueue_validation="none"), InvalidArguments, "elsewhere", args=args)


# -- args


async def test_args_and_keywords_are_joined(any_app):
    """For parameters that have the names of options."""

    @any_app.job
    async def work(queue, priority, number):
        return [queue, priority, number]

    job_id = await any_app.enqueue(work, args={"queue": "a", "priority": "b"}, number=3, queue="q")
    job = await any_app.get_job(job_id)
    assert job["queue"] == "q"
    assert job["args"] == {"queue": "a", "priority": "b", "number": 3}


async def test_an_argument_given_twice_is_refused(any_app, work):
    """Which of the two would count?"""
    assert "number: given both in args and as keyword" in await refused(any_app, args={"number": 1}, number=2)


@pytest.mark.parametrize("args", ["x", 5, [1], [("number", 1)], b"", ()], ids=repr)
async def test_args_is_a_dict(any_app, work, args):
    """Not a list of values."""
    assert "give a dict" in await refused(any_app, args=args)


@pytest.mark.parametrize("args", [{1: 2}, {None: 1}, {b"number": 1}], ids=repr)
async def test_args_has_names_for_keys(any_app, work, args):
    """Anything else is no keyword."""
    await refused(any_app, InvalidArguments, args=args)


# -- when


@pytest.mark.parametrize(
    ("when", "seconds"),
    [(90, 90), (0.5, 0.5), (0, 0), (timedelta(hours=2), 7200), (timedelta(0), 0)],
    ids=repr,
)
@pytest.mark.parametrize("way", ["enqueue", "schedule", "many", "using"])
async def test_seconds_and_timedeltas_count_from_now(any_app, work, way, when, seconds):
    """By the clock of the store."""
    if way == "enqueue":
        job_id = await any_app.enqueue(work, scheduled_at=when)
    elif way == "schedule":
        job_id = await any_app.schedule(work, when)
    elif way == "many":
        [job_id] = await any_app.enqueue_many(work, [{}], scheduled_at=when)
    else:
        job_id = await work.using(scheduled_at=when).aenqueue()
    assert due_in(await any_app.get_job(job_id)) == pytest.approx(seconds, abs=1e-5)


@pytest.mark.parametrize("hours", [0, 5.5, -8])
async def test_an_aware_datetime_is_an_instant(any_app, work, hours):
    """In whichever zone it is written; it comes back as the same instant."""
    when = datetime(2040, 2, 29, 12, 30, 15, 123456, tzinfo=timezone(timedelta(hours=hours)))
    job = await any_app.get_job(await any_app.schedule(work, when))
    assert job["scheduled_at"] == when
    assert job["scheduled_at"].utcoffset() == timedelta(0)


async def test_a_datetime_in_the_past_is_due_at_once(any_app, work):
    """It is no mistake: the caller computed it a moment ago."""
    job_id = await any_app.enqueue(work, number=3, scheduled_at=datetime(2001, 1, 1, tzinfo=UTC))
    await any_app.run_worker(run_once=True)
    assert await any_app.get_result(job_id) == 3


async def test_a_naive_datetime_is_refused(any_app, work):
    """With the remedy for Django and for everybody else."""
    message = await refused(any_app, scheduled_at=datetime(2040, 1, 1))  # noqa: DTZ001  # on purpose
    assert "naive 2040-01-01T00:00:00" in message
    assert "timezone.make_aware" in message


@pytest.mark.parametrize(
    "when",
    [
        -1,
        -0.001,
        timedelta(seconds=-1),
        timedelta.max,
        math.nan,
        math.inf,
        1e300,
        True,
        "tomorrow",
        [5],
        datetime.max.replace(tzinfo=timezone(timedelta(hours=-5))),
        datetime.min.replace(tzinfo=timezone(timedelta(hours=5))),
    ],
    ids=repr,
)
async def test_an_impossible_time_is_refused(any_app, work, when):
    """Negative, endless, or no time at all."""
    assert "scheduled_at is" in await refused(any_app, scheduled_at=when)


async def test_schedule_needs_a_time(any_app, work):
    """None is a forgotten value, not now."""
    with pytest.raises(InvalidEnqueue, match="run_at"):
        await any_app.schedule(work, None)
    assert await total(any_app) == 0


# -- queue and priority


@pytest.mark.parametrize("queue", ["a b", "", "a,b", "x" * 64, 5, b"a", ["a"]], ids=repr)
async def test_an_impossible_queue_is_refused(any_app, work, queue):
    """In one line with the syntax."""
    assert "is no queue name: use 1 to 63" in await refused(any_app, queue=queue)


@pytest.mark.parametrize("priority", [-1, 1001, 1.0, "5", True, math.nan], ids=repr)
async def test_an_impossible_priority_is_refused(any_app, work, priority):
    """In one line with the range."""
    assert "give a whole number from 0 (first) to 1000" in await refused(any_app, priority=priority)


@pytest.mark.parametrize("priority", [0, 1000])
async def test_the_ends_of_the_priorities_are_accepted(any_app, work, priority):
    """Zero is a priority, not the absence of one."""
    job = await any_app.get_job(await any_app.enqueue(work, priority=priority))
    assert job["priority"] == priority


async def test_the_settings_give_the_default_priority(make_any):
    """Where the job says nothing."""
    app = make_any(priority=7)
    plain, own = app.job(name="plain")(lambda: None), app.job(name="own", priority=0)(lambda: None)
    jobs = [await app.get_job(await app.enqueue(job)) for job in (plain, own)]
    assert [job["priority"] for job in jobs] == [7, 0]


# -- many at once


async def test_enqueue_many_gives_ids_in_order(any_app, work):
    """One per mapping; a generator will do."""
    ids = await any_app.enqueue_many(work, ({"number": n} for n in range(50)), queue="q", priority=9)
    jobs = [await any_app.get_job(job_id) for job_id in ids]
    assert [job["args"] for job in jobs] == [{"number": n} for n in range(50)]
    assert {(job["queue"], job["priority"]) for job in jobs} == {("q", 9)}


async def test_enqueue_many_of_nothing_is_nothing(any_app, work):
    """No error, no ids."""
    assert await any_app.enqueue_many(work, []) == []
    assert await total(any_app) == 0


@pytest.mark.parametrize(
    ("bad", "error", "path"),
    [
        ({"number": math.nan}, InvalidArguments, "args_list[2].args.number"),
        ({"number": [1, {"x": object()}]}, InvalidArguments, "args_list[2].args.number[1].x"),
        ({"number": "x" * 2_000_000}, PayloadTooLarge, "args_list[2].args"),
        ({"numbr": 1}, InvalidArguments, "args_list[2].args"),
        ("number", InvalidArguments, "args_list[2]"),
        (None, InvalidArguments, "args_list[2]"),
    ],
    ids=["nan", "object", "too-large", "signature", "text", "none"],
)
async def test_one_bad_mapping_refuses_all_and_is_named(any_app, work, bad, error, path):
    """By its index, in path and message; nothing is written."""
    with pytest.raises(error) as raised:
        await any_app.enqueue_many(work, [{"number": 1}, {}, bad, {"number": 4}])
    assert raised.value.path == path
    assert str(raised.value).startswith("args_list[2]")
    assert "\n" not in str(raised.value)
    assert await total(any_app) == 0


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"queue": "a b"}, InvalidEnqueue),
        ({"priority": -1}, InvalidEnqueue),
        ({"scheduled_at": -1}, InvalidEnqueue),
    ],
)
async def test_bad_options_refuse_all(any_app, work, options, error):
    """Before anything is written."""
    with pytest.raises(error):
        await any_app.enqueue_many(work, [{}, {}], **options)
    assert await total(any_app) == 0


@pytest.mark.parametrize("value", [None, 5, "abc", {"number": 1}], ids=repr)
async def test_enqueue_many_takes_a_list_of_dicts(any_app, work, value):
    """One dict alone, or a text, is a mistake."""
    with pytest.raises((InvalidEnqueue, InvalidArguments)):
        await any_app.enqueue_many(work, value)
    assert await total(any_app) == 0


# -- one at a time


async def test_a_unique_job_is_stored_once_while_it_is_live(any_app):
    """The second enqueue gives the first id; after the job ended it counts anew."""

    @any_app.job(unique=True)
    async def work(number, text=""):
        return number

    first = await any_app.enqueue(work, number=1, text="a")
    assert await any_app.enqueue(work, text="a", number=1) == first
    other = await any_app.enqueue(work, number=2, text="a")
    assert other != first
    job = await any_app.get_job(first)
    assert job["unique_job"] is True
    assert job["args_hash"]
    await any_app.run_worker(run_once=True)
    assert await any_app.enqueue(work, number=1, text="a") not in (first, other)


async def test_unique_can_be_said_per_enqueue(any_app, work):
    """In both directions."""
    first = await any_app.enqueue(work, unique=True)
    assert await any_app.enqueue(work, unique=True) == first
    assert await any_app.enqueue(work) != first
    always = any_app.job(name="always", unique=True)(lambda: None)
    once = await any_app.enqueue(always)
    assert await any_app.enqueue(always, unique=False) != once


async def test_the_same_arguments_of_another_job_are_no_twin(any_app):
    """Unique means name and arguments."""
    one, two = (any_app.job(name=name, unique=True)(lambda: None) for name in ("one", "two"))
    assert await any_app.enqueue(one) != await any_app.enqueue(two)


async def test_a_dedup_key_holds_one_live_job_of_the_name(any_app, work):
    """Whatever the arguments."""
    first = await any_app.enqueue(work, number=1, dedup_key="order-1")
    assert await any_app.enqueue(work, number=2, dedup_key="order-1") == first
    assert await any_app.enqueue(work, number=1, dedup_key="order-2") != first
    other = any_app.job(name="other")(lambda: None)
    assert await any_app.enqueue(other, dedup_key="order-1") != first
    await any_app.cancel_job(first)
    assert await any_app.enqueue(work, dedup_key="order-1") != first


async def test_a_job_that_waits_for_a_retry_still_holds_its_key(any_app):
    """It is live until it ended; a dead letter holds nothing."""

    @any_app.job(max_retries=1)
    async def fail():
        raise ValueError

    first = await any_app.enqueue(fail, dedup_key="k")
    await any_app.run_worker(run_once=True)
    assert await any_app.enqueue(fail, dedup_key="k") == first
    await any_app.run_worker(run_once=True)
    assert await any_app.enqueue(fail, dedup_key="k") != first


async def test_twins_within_one_call_are_stored_once(any_app):
    """enqueue_many gives the id of the first for each."""
    work = any_app.job(name="work", unique=True)(lambda number: number)
    ids = await any_app.enqueue_many(work, [{"number": 1}, {"number": 2}, {"number": 1}])
    assert ids[0] == ids[2] != ids[1]
    assert await total(any_app) == 2


@pytest.mark.parametrize(
    "key", ["", "x" * 256, 5, b"k", True, ["k"]], ids=["empty", "long", "int", "bytes", "bool", "list"]
)
async def test_an_impossible_dedup_key_is_refused(any_app, work, key):
    """A text of 1 to 255 characters."""
    assert "give a text of 1 to 255 characters" in await refused(any_app, dedup_key=key)


@pytest.mark.parametrize("key", ["a\x00", "a\ud800"], ids=["nul", "surrogate"])
async def test_a_dedup_key_that_no_column_holds_is_refused(any_app, work, key):
    """As arguments are."""
    assert "dedup_key" in await refused(any_app, (InvalidArguments, InvalidEnqueue), dedup_key=key)


@pytest.mark.parametrize("unique", ["yes", 1, 0, []], ids=repr)
async def test_unique_is_yes_or_no(any_app, work, unique):
    """Not something that looks like it."""
    assert "unique is" in await refused(any_app, unique=unique)


def test_snooze_is_a_value():
    """Two fields, frozen."""
    assert Snooze(5) == Snooze(seconds=5, reason=None)
    with pytest.raises(AttributeError):
        Snooze(5).seconds = 6


async def test_the_function_of_a_job_is_told_its_job(app):
    """The decorated function is easily taken for its job."""

    @app.job(name="shop.send")
    def send():
        pass

    with pytest.raises(InvalidEnqueue, match=r"it is the function of 'shop\.send'; pass that job"):
        await app.enqueue(send.fn)
    with pytest.raises(InvalidEnqueue, match="decorate it with @job"):
        await app.enqueue(len)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_a_forked_process_writes_its_own_pid(app):
    """Servers make the app and fork afterwards."""

    @app.job(name="work")
    def work():
        pass

    reading, writing = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a fork beside threads; this child does next to nothing
        child = os.fork()
    if not child:
        try:
            job = app.producer.new_job(work, {}, EnqueueOptions())
            os.write(writing, job.producer_id.encode())
        finally:
            os._exit(0)
    os.waitpid(child, 0)

    assert os.read(reading, 300).decode() == f"{socket.gethostname()}:{child}"
    os.close(reading)
    os.close(writing)
