"""Ids: UUIDv7 in the layout of RFC 9562, and later than all that were made before."""

from __future__ import annotations

import threading
import uuid
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from soniq import DeadLetterFilter
from soniq.errors import ConfigurationError
from soniq.ids import STEP_BACK, UUID7Factory, is_job_id, made_at, uuid7

MILLIS = st.integers(0, 2**47)


class Clock:
    """Tells the given times, one after the other, in milliseconds."""

    def __init__(self, times):
        self._times = iter(times)

    def __call__(self):
        return next(self._times) * 1_000_000


def bits(byte):
    """A source of random bytes that are all the same."""
    return lambda count: bytes([byte]) * count


@given(st.lists(st.integers(2**40, 2**40 + STEP_BACK), min_size=2, max_size=50), st.data())
def test_ids_grow_whatever_the_clock_and_the_dice_do(times, data):
    """Strictly, also when the clock goes back by a minute or the random part is at its largest."""
    dice = data.draw(
        st.sampled_from(
            [bits(0xFF), bits(0x00), lambda count: data.draw(st.binary(min_size=count, max_size=count))]
        )
    )
    make = UUID7Factory(clock_ns=Clock(times), random_bytes=dice)
    made = [make() for _ in times]
    assert made == sorted(set(made))
    assert [str(one) for one in made] == sorted(str(one) for one in made)


@given(st.lists(MILLIS, min_size=1, max_size=20), st.integers(0, 255))
def test_every_id_has_version_7_and_the_rfc_variant(times, byte):
    """RFC 9562: 0b0111 in the version's four bits, 0b10 in the variant's two."""
    make = UUID7Factory(clock_ns=Clock(times), random_bytes=bits(byte))
    for _ in times:
        value = make()
        assert value.version == 7
        assert value.variant == uuid.RFC_4122
        assert (value.int >> 76) & 0xF == 0b0111
        assert (value.int >> 62) & 0b11 == 0b10


@pytest.mark.timeout(20)
def test_a_handler_of_a_signal_that_interrupts_the_making_of_an_id_gets_one():
    """It would wait for the thread that it has interrupted for ever."""
    make = UUID7Factory()

    class Interrupted:
        """The factory's lock, with a handler that comes as soon as it is held."""

        def __init__(self, lock):
            self.lock = lock

        def __enter__(self):
            self.lock.__enter__()
            if not made:
                made.append(None)
                made.append(make())

        def __exit__(self, *error):
            self.lock.__exit__(*error)

    made = []
    make._lock = Interrupted(make._lock)
    made.append(make())
    made.append(make())
    assert made[1:] == sorted(set(made[1:]))


@given(MILLIS, st.binary(min_size=10, max_size=10))
def test_the_first_48_bits_are_the_time_and_the_rest_is_random(millis, random):
    """The timestamp is Unix time in milliseconds; 74 bits are left to chance."""
    millis += 1
    value = UUID7Factory(clock_ns=Clock([millis]), random_bytes=lambda _: random)()
    assert value.int >> 80 == millis
    rand_a, rand_b = (value.int >> 64) & 0xFFF, value.int & (2**62 - 1)
    assert (rand_a << 62) | rand_b == int.from_bytes(random, "big") >> 6


@settings(max_examples=20)
@given(st.integers(1, STEP_BACK))
def test_a_clock_set_back_keeps_the_later_time(step):
    """Ids count on from the last one until the clock has caught up."""
    make = UUID7Factory(clock_ns=Clock([10**12, 10**12 - step, 10**12 + 1]))
    first, second, third = make(), make(), make()
    assert first < second < third
    assert second.int >> 80 == 10**12
    assert third.int >> 80 == 10**12 + 1


def test_ids_grow_when_the_random_part_has_run_over_into_the_time():
    """The last id then says a millisecond more than the clock ever did, which makes no step longer."""
    clock = Clock([2**40 + STEP_BACK, 2**40 + STEP_BACK, 2**40])
    make = UUID7Factory(clock_ns=clock, random_bytes=bits(0xFF))
    first, second, third = make(), make(), make()
    assert first < second < third
    assert second.int >> 80 == 2**40 + STEP_BACK + 1


def test_a_clock_that_was_far_ahead_is_followed_back():
    """As after a test that travelled in time: what is made now says so."""
    ahead = 10**12 + STEP_BACK + 1
    make = UUID7Factory(clock_ns=Clock([ahead, 10**12, 10**12 + 1]))
    assert [make().int >> 80 for _ in range(3)] == [ahead, 10**12, 10**12 + 1]


def test_threads_never_get_the_same_id():
    """Four threads at once, and each thread's own ids grow."""
    made = [[] for _ in range(4)]
    start = threading.Barrier(4)

    def many(mine):
        start.wait()
        mine.extend(uuid7() for _ in range(2_000))

    threads = [threading.Thread(target=many, args=(mine,)) for mine in made]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({one for mine in made for one in mine}) == 8_000
    assert all(mine == sorted(mine) for mine in made)


def test_a_fork_does_not_count_on_where_its_parent_was():
    """Nor does it wait for a lock that its parent held."""
    make = UUID7Factory(clock_ns=Clock([5, 5]), random_bytes=bits(0))
    before = make()
    make._lock.acquire()
    make.after_fork()
    assert make() == before  # nothing of the parent's count is left; its random part decides


@pytest.mark.parametrize("value", ["", "x", None, 5, b"", "0" * 31, f"{uuid.UUID(int=7)}0"])
def test_what_is_no_uuid_is_no_job_id(value):
    """And asking is no error."""
    assert is_job_id(value) is False


def test_any_uuid_may_be_a_job_id():
    """Of any version: stores may hold ids that others chose."""
    assert is_job_id(str(uuid.uuid4()))
    assert is_job_id(str(uuid7()))


@pytest.mark.parametrize(
    "form", [str, uuid.UUID, lambda text: text.upper(), lambda text: text.replace("-", "")]
)
async def test_every_form_of_an_id_means_the_job(any_app, form):
    """A UUID, capitals, no dashes: the app takes them all, on every store."""

    @any_app.job(name="work")
    def work():
        return 7

    done = await any_app.enqueue("work")
    await any_app.run_worker(run_once=True)
    queued = await any_app.enqueue("work")

    assert (await any_app.get_job(form(done)))["id"] == done
    assert await any_app.get_result(form(done)) == 7
    assert await any_app.cancel_job(form(queued)) is True
    assert await any_app.delete_job(form(queued)) is True


@pytest.mark.parametrize(
    "form", [str, uuid.UUID, lambda text: text.upper(), lambda text: text.replace("-", "")]
)
async def test_every_form_of_an_id_means_the_dead_letter(any_app, form):
    """So do the methods of the dead letters and their filter."""

    @any_app.job(name="work", max_retries=0)
    def work():
        raise ValueError

    job_id = await any_app.enqueue("work")
    await any_app.run_worker(run_once=True)
    letters = any_app.dead_letter

    assert (await letters.get_dead_letter_job(form(job_id))).id == job_id
    assert len(await letters.list_dead_letter_jobs(DeadLetterFilter(ids=[form(job_id)]))) == 1
    assert await letters.add_tags_to_job(form(job_id), ["seen"]) is True
    assert await letters.replay(form(job_id))
    assert await letters.delete_dead_letter_job(form(job_id)) is True


@pytest.mark.parametrize("value", [None, 7, b"01a203eb", ["01a203eb"]])
async def test_what_cannot_be_an_id_is_refused(app, value):
    """It is a mistake of the caller, not a job that is gone."""
    for method in (app.get_job, app.get_result, app.cancel_job, app.delete_job, app.dead_letter.replay):
        with pytest.raises(ConfigurationError, match="give a text or a UUID"):
            await method(value)


async def test_a_text_that_is_no_id_is_not_found(app):
    """It may come from a URL."""
    assert await app.get_job("nothing") is None
    assert await app.delete_job("nothing") is False


def test_an_id_says_when_it_was_made():
    """To the millisecond; ids of other kinds, and texts that are none, say nothing."""
    before = datetime.now(UTC)
    made = made_at(str(uuid7()))

    assert abs(made - before) < timedelta(seconds=5)
    assert made.microsecond % 1000 == 0
    assert made_at(str(uuid.uuid4())) is None
    assert made_at("ffffffff-ffff-7fff-8000-000000000000") is None
    assert made_at("no id") is None
