"""What a block enqueued, and messages that say how it differs from what was expected."""

from __future__ import annotations

import dataclasses
import datetime as dt
import decimal
import enum
import uuid
from unittest.mock import ANY

import pytest
from asgiref.sync import sync_to_async
from django.db import transaction

from soniq_django.testing import (
    aenqueued_jobs,
    assert_enqueued,
    assert_no_jobs,
    capture_jobs,
    drain_jobs,
    enqueued_jobs,
)
from tests.shop.jobs import rebuild_index, resize_picture, send_receipt
from tests.shop.models import Note
from tests.yard.jobs import fail

pytestmark = pytest.mark.django_db(databases="__all__")


class Undo(Exception):
    """Rolls a block back."""


def test_block_is_told_with_all_that_was_asked(app):
    when = dt.datetime(2099, 5, 17, 3, tzinfo=dt.UTC)
    with capture_jobs() as jobs:
        job_id = send_receipt.using(priority=7, scheduled_at=when, dedup_key="key").enqueue(order_id=1)

    [job] = jobs
    assert (job.id, job.name, job.args) == (job_id, "shop.send_receipt", {"order_id": 1})
    assert (job.queue, job.priority, job.scheduled_at) == ("emails", 7, when)
    assert (job.dedup_key, job.unique, job.max_attempts) == ("key", False, 3)


def test_captured_jobs_are_enqueued_all_the_same(app):
    with capture_jobs() as jobs:
        send_receipt.enqueue(order_id=1)

    assert drain_jobs().succeeded == len(jobs) == 1


def test_a_replay_of_a_dead_letter_is_captured(app):
    dead = fail.enqueue(message="no")
    drain_jobs(raising=False)
    with capture_jobs() as jobs:
        new_id = app.dead_letter.replay_now(dead).job_id

    assert [(job.id, job.args) for job in jobs] == [(new_id, {"message": "no"})]


def test_jobs_before_and_after_the_block_are_not_its_own(app):
    send_receipt.enqueue(order_id=1)
    with capture_jobs() as outer:
        send_receipt.enqueue(order_id=2)
        with capture_jobs() as inner:
            send_receipt.enqueue(order_id=3)
    send_receipt.enqueue(order_id=4)

    assert [job.args["order_id"] for job in outer] == [2, 3]
    assert [job.args["order_id"] for job in inner] == [3]


def test_batches_and_generators_are_captured(app):
    with capture_jobs() as jobs:
        ids = send_receipt.enqueue_many({"order_id": number} for number in range(30))

    assert [job.id for job in jobs] == ids


def test_repr_is_the_call_and_its_options(app):
    with capture_jobs() as jobs:
        send_receipt.enqueue(order_id=1)
        rebuild_index.using(priority=5).enqueue(shop="x")

    assert repr(jobs) == (
        "2 jobs were enqueued\n"
        "  shop.send_receipt(order_id=1): queue 'emails', priority 100, at once\n"
        "  shop.rebuild_index(shop='x'): queue 'default', priority 5, at once, unique"
    )


def test_what_is_rolled_back_was_never_enqueued(app, alias):
    with capture_jobs() as jobs:
        kept = send_receipt.enqueue(order_id=1)
        with pytest.raises(Undo), transaction.atomic(using=alias):
            send_receipt.enqueue_many([{"order_id": 2}, {"order_id": 3}])
            raise Undo
        with transaction.atomic(using=alias):
            also = send_receipt.enqueue(order_id=4)

    assert [job.id for job in jobs] == [kept, also]
    assert [job.args["order_id"] for job in jobs.rolled_back] == [2, 3]


def test_block_that_raises_tells_what_stayed(app, alias):
    with pytest.raises(Undo), capture_jobs() as jobs, transaction.atomic(using=alias):
        send_receipt.enqueue(order_id=1)
        raise Undo

    assert len(jobs) == 0
    assert len(jobs.rolled_back) == 1


def test_no_question_is_asked_of_the_database_without_a_transaction(app, alias, django_assert_num_queries):
    from django.db import connections

    with django_assert_num_queries(1, connection=connections[alias]), capture_jobs() as jobs:
        send_receipt.enqueue(order_id=1)

    assert len(jobs) == 1


def test_twin_that_a_live_job_excludes_is_told_apart(app):
    first = rebuild_index.enqueue(shop="x")
    with capture_jobs() as jobs:
        assert rebuild_index.enqueue(shop="x") == first

    assert len(jobs) == 0
    assert [job.args for job in jobs.excluded] == [{"shop": "x"}]


async def test_async_code_is_captured(soniq_app):
    with capture_jobs() as jobs:
        await send_receipt.aenqueue(order_id=1)
        await resize_picture.aenqueue_many([{"path": "a"}, {"path": "b"}])

    jobs.assert_enqueued(send_receipt, order_id=1)
    jobs.assert_enqueued(resize_picture, count=2)


@pytest.mark.django_db(transaction=True, databases="__all__")
async def test_async_block_learns_what_was_rolled_back(app, alias, transactional_db, closed_connections):
    @sync_to_async
    def roll_back():
        with pytest.raises(Undo), transaction.atomic(using=alias):
            send_receipt.enqueue(order_id=1)
            raise Undo

    async with capture_jobs() as jobs:
        await roll_back()
        await send_receipt.aenqueue(order_id=2)

    assert [job.args["order_id"] for job in jobs] == [2]
    assert len(jobs.rolled_back) == 1
    with pytest.raises(RuntimeError, match="async with capture_jobs"), capture_jobs():
        await roll_back()
    (await aenqueued_jobs()).assert_enqueued(send_receipt, order_id=2)
    with pytest.raises(RuntimeError, match="aenqueued_jobs"):
        enqueued_jobs()


# Assertions


def test_enqueued_jobs_are_found_by_any_part_of_them(app):
    resize_picture.enqueue(path="a.png", width=100)

    assert_enqueued(resize_picture)
    assert_enqueued("shop.resize_picture", path="a.png", count=1)
    assert_enqueued(resize_picture, width=ANY, queue="pictures", priority=100)
    assert_enqueued(resize_picture, width=99, count=0)
    assert_enqueued(resize_picture, args={"path": "a.png"}, width=100)


def test_jobs_that_ran_or_gave_up_were_enqueued(app):
    @app.job(max_retries=0)
    def broken():
        raise ValueError

    send_receipt.enqueue(order_id=1)
    broken.enqueue()
    drain_jobs()

    assert_enqueued(send_receipt, order_id=1)
    assert_enqueued(broken)


def test_message_shows_the_nearest_job_and_how_it_differs(app):
    with capture_jobs() as jobs:
        resize_picture.enqueue(path="a.png")
        send_receipt.using(priority=5).enqueue(order_id=2)

    with pytest.raises(AssertionError) as raised:
        jobs.assert_enqueued(send_receipt, order_id=1, queue="emails", priority=100)

    assert str(raised.value) == (
        "no job was enqueued as shop.send_receipt(order_id=1) with queue 'emails', priority 100\n"
        "2 jobs were enqueued in all:\n"
        "  shop.send_receipt(order_id=2): queue 'emails', priority 5, at once\n"
        "    order_id: expected 1, was 2\n"
        "    priority: expected 100, was 5\n"
        "  shop.resize_picture(path='a.png'): queue 'pictures', priority 100, at once\n"
        "    it is another job"
    )


def test_message_tells_a_wrong_count(app):
    with capture_jobs() as jobs:
        send_receipt.enqueue_many([{"order_id": number} for number in range(12)])

    with pytest.raises(AssertionError) as raised:
        jobs.assert_enqueued(send_receipt, count=2)

    lines = str(raised.value).splitlines()
    assert lines[0] == "12 jobs were enqueued as shop.send_receipt(), expected 2"
    assert lines[-1] == "  … and 2 more"
    assert len(lines) == 2 + 10 * 2 + 1


def test_message_of_an_empty_store_is_short(app):
    with pytest.raises(AssertionError, match=r"^no job was enqueued as shop.send_receipt\(\)\nnothing was"):
        assert_enqueued(send_receipt)


def test_time_is_compared_with_a_margin(app):
    tomorrow = dt.datetime.now(dt.UTC) + dt.timedelta(days=1)
    send_receipt.using(scheduled_at=tomorrow).enqueue(order_id=1)

    assert_enqueued(send_receipt, at=tomorrow)
    assert_enqueued(send_receipt, at=dt.timedelta(days=1), within=60)
    assert_enqueued(send_receipt, at=86_400, within=dt.timedelta(minutes=1))
    with pytest.raises(
        AssertionError, match=r"scheduled_at: expected .* was .* \(0:01:00 off, allowed: 0:00:01\)"
    ):
        assert_enqueued(send_receipt, at=tomorrow + dt.timedelta(minutes=1))
    with pytest.raises(AssertionError, match="delay: expected 0:00:10, was"):
        assert_enqueued(send_receipt, at=10)
    with pytest.raises(TypeError, match="naive"):
        assert_enqueued(send_receipt, at=tomorrow.replace(tzinfo=None))


def test_argument_that_the_job_does_not_have_is_a_mistake_of_the_test(app):
    with pytest.raises(TypeError, match="no argument 'order'; it has: order_id"):
        assert_enqueued(send_receipt, order=1, count=0)


class Size(enum.Enum):
    SMALL = "s"


@dataclasses.dataclass
class Parcel:
    weight: decimal.Decimal


def test_values_are_compared_as_they_are_stored(app, alias):
    @app.job
    def keep(*, key: uuid.UUID, day: dt.date, size: Size, parcel: Parcel, note: Note, pair: tuple):
        pass

    note = Note.objects.using(alias).create(text="x")
    values = {
        "key": uuid.uuid4(),
        "day": dt.date(2026, 11, 22),
        "size": Size.SMALL,
        "parcel": Parcel(decimal.Decimal("1.50")),
        "note": note,
        "pair": (1, [2]),
    }
    with capture_jobs() as jobs:
        keep.enqueue(**values)

    given = {name: jobs[0].args[name] for name in values if name != "note"}
    assert given == {name: value for name, value in values.items() if name != "note"}
    assert_enqueued(keep, **values)
    for name, other in {"key": uuid.uuid4(), "parcel": Parcel(decimal.Decimal(2)), "pair": (1, [3])}.items():
        with pytest.raises(AssertionError, match=f"{name}: expected"):
            assert_enqueued(keep, **{name: other})


def test_what_is_no_job_is_refused(app):
    with pytest.raises(TypeError, match="is no job"):
        assert_enqueued(uuid.uuid4)


def test_assert_no_jobs_lists_those_there_are(app):
    assert_no_jobs()
    send_receipt.enqueue(order_id=1)
    with pytest.raises(AssertionError, match=r"expected no job, but 1 job was enqueued\n  shop.send_receipt"):
        assert_no_jobs()
    with capture_jobs() as jobs:
        pass
    jobs.assert_none()


def test_fixture_captures_the_whole_test(app, captured_jobs, drain_jobs):
    send_receipt.enqueue(order_id=1)
    captured_jobs.assert_enqueued(send_receipt, order_id=1)
    assert drain_jobs().succeeded == 1
