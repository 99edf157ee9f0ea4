"""The dead-letter service: look, run again, tag, export, clear away."""

from __future__ import annotations

import csv
import io
import json
import math
from datetime import UTC, datetime, timedelta

import pytest

from soniq import DeadLetterFilter, DeadLetterReason
from soniq.backends.memory import MemoryBackend
from soniq.errors import (
    AppClosed,
    ConfigurationError,
    DeadLetterNotFound,
    InvalidArguments,
    InvalidEnqueue,
    PayloadTooLarge,
    UnknownTask,
)
from soniq.jobs import ClaimRequest

NOBODY = "01890000-0000-7000-8000-000000000000"


@pytest.fixture
def fails(any_app):
    @any_app.job(name="fails", max_retries=0, queue="shaky", priority=7)
    async def fails(number=0):
        raise ValueError(f"no {number}")

    return fails


@pytest.fixture
def passes(any_app):
    """A job that dies while ``broken`` is set."""
    broken = [True]

    @any_app.job(name="passes", max_retries=0)
    async def passes(number):
        if broken:
            raise ValueError("broken")
        return number

    passes.broken = broken
    return passes


async def dead(app, task, **kwargs):
    """The id of a new dead letter of ``task``."""
    job_id = await app.enqueue(task, **kwargs)
    await app.run_worker(run_once=True)
    assert await app.dead_letter.get_dead_letter_job(job_id)
    return job_id


async def test_a_dead_letter_tells_what_the_job_was(any_app, fails):
    """All documented fields; the id is the job's."""
    job_id = await any_app.enqueue(fails, number=5)
    job = await any_app.get_job(job_id)
    await any_app.run_worker(run_once=True)
    [letter] = await any_app.dead_letter.list_dead_letter_jobs()
    assert letter == await any_app.dead_letter.get_dead_letter_job(job_id)
    assert letter.to_dict() == {
        "id": job_id,
        "job_name": "fails",
        "args": {"number": 5},
        "queue": "shaky",
        "priority": 7,
        "max_attempts": 1,
        "attempts": 1,
        "last_error": letter.last_error,
        "dead_letter_reason": "max_retries_exceeded",
        "original_created_at": job["created_at"],
        "moved_to_dead_letter_at": letter.moved_to_dead_letter_at,
        "resurrection_count": 0,
        "last_resurrection_at": None,
        "tags": [],
        "context": None,
        "failures": letter.to_dict()["failures"],
    }
    [failure] = letter.failures
    assert (failure.attempt, failure.error_class) == (1, "builtins.ValueError")
    assert failure.error == letter.last_error
    assert letter.last_error.startswith("Traceback")
    assert letter.last_error.endswith("ValueError: no 5")
    assert letter.moved_to_dead_letter_at >= letter.original_created_at


async def test_the_first_call_of_an_app_may_be_to_its_dead_letters(make_any):
    """The store makes itself ready for every method."""
    assert await make_any().dead_letter.list_dead_letter_jobs() == []
    app = make_any()
    assert await app.dead_letter.get_dead_letter_job(NOBODY) is None
    assert await app.dead_letter.delete_dead_letter_job(NOBODY) is False
    assert await app.dead_letter.cleanup_old_dead_letter_jobs() == 0
    assert (await app.dead_letter.get_dead_letter_stats()).total == 0


async def test_dead_letters_of_a_closed_app_are_out_of_reach(any_app):
    """Like everything else of it."""
    await any_app.close()
    service = any_app.dead_letter
    for call in (
        service.list_dead_letter_jobs,
        lambda: service.get_dead_letter_job(NOBODY),
        lambda: service.replay(NOBODY),
        lambda: service.bulk_replay(DeadLetterFilter()),
        lambda: service.delete_dead_letter_job(NOBODY),
        lambda: service.bulk_delete(DeadLetterFilter()),
        service.cleanup_old_dead_letter_jobs,
        service.get_dead_letter_stats,
        service.export_dead_letter_jobs,
        lambda: service.add_tags_to_job(NOBODY, ["x"]),
    ):
        with pytest.raises(AppClosed):
            await call()


# -- replay


async def test_replay_is_a_new_job_and_keeps_the_letter(any_app, passes):
    """With a new id, all attempts, and one more resurrection on the letter."""
    old = await dead(any_app, passes, number=5)
    passes.broken.clear()
    new = await any_app.dead_letter.replay(old)
    assert new != old
    job = await any_app.get_job(new)
    assert (job["status"], job["args"], job["attempts"], job["max_attempts"]) == (
        "queued",
        {"number": 5},
        0,
        1,
    )
    letter = await any_app.dead_letter.get_dead_letter_job(old)
    assert letter.resurrection_count == 1
    assert letter.last_resurrection_at >= letter.moved_to_dead_letter_at
    await any_app.run_worker(run_once=True)
    assert await any_app.get_result(new) == 5
    await any_app.dead_letter.replay(old)
    assert (await any_app.dead_letter.get_dead_letter_job(old)).resurrection_count == 2


async def test_replay_keeps_what_it_is_not_told_to_change(any_app, fails):
    """Queue, priority, arguments, attempts."""
    old = await dead(any_app, fails, number=5, queue="other", priority=0)
    job = await any_app.get_job(await any_app.dead_letter.replay(old))
    assert (job["queue"], job["priority"], job["args"], job["max_attempts"]) == ("other", 0, {"number": 5}, 1)


async def test_replay_with_everything_edited(any_app, fails):
    """Arguments, queue, priority and attempts of the new job; the letter keeps its own."""
    old = await dead(any_app, fails, number=5)
    new = await any_app.dead_letter.replay(
        old, new_args={"number": 6}, new_queue="slow", new_priority=0, new_max_attempts=9
    )
    job = await any_app.get_job(new)
    assert (job["queue"], job["priority"], job["args"], job["max_attempts"]) == ("slow", 0, {"number": 6}, 9)
    letter = await any_app.dead_letter.get_dead_letter_job(old)
    assert (letter.queue, letter.priority, letter.args) == ("shaky", 7, {"number": 5})


async def test_replay_without_resetting_attempts_is_one_more_chance(app):
    """Instead of all of them again."""

    @app.job(max_retries=2)
    async def fails():
        raise ValueError

    old = await app.enqueue(fails)
    for _ in range(3):
        await app.run_worker(run_once=True)
    again = await app.get_job(await app.dead_letter.replay(old))
    once = await app.get_job(await app.dead_letter.replay(old, reset_attempts=False))
    given = await app.get_job(await app.dead_letter.replay(old, reset_attempts=False, new_max_attempts=2))
    assert [job["max_attempts"] for job in (again, once, given)] == [3, 1, 2]


@pytest.mark.parametrize(
    ("edits", "error", "says"),
    [
        ({"new_args": {"number": math.nan}}, InvalidArguments, "args.number"),
        ({"new_args": {"numbr": 1}}, InvalidArguments, "numbr"),
        ({"new_args": [1]}, InvalidArguments, "give a dict"),
        ({"new_args": "x"}, InvalidArguments, "give a dict"),
        ({"new_args": {1: 2}}, InvalidArguments, "keywords must be strings"),
        ({"new_queue": "a b"}, InvalidEnqueue, "is no queue name"),
        ({"new_priority": -1}, InvalidEnqueue, "priority is -1"),
        ({"new_max_attempts": 0}, InvalidEnqueue, "new_max_attempts is 0"),
        ({"new_max_attempts": 32_768}, InvalidEnqueue, "new_max_attempts is 32768"),
        ({"new_max_attempts": True}, InvalidEnqueue, "new_max_attempts is True"),
        ({"new_max_attempts": "3"}, InvalidEnqueue, "new_max_attempts is '3'"),
    ],
    ids=repr,
)
async def test_an_impossible_replay_writes_nothing(any_app, fails, edits, error, says):
    """One line; neither a job nor a resurrection."""
    old = await dead(any_app, fails, number=5)
    with pytest.raises(error, match=says) as raised:
        await any_app.dead_letter.replay(old, **edits)
    assert "\n" not in str(raised.value)
    assert (await any_app.dead_letter.get_dead_letter_job(old)).resurrection_count == 0
    assert await any_app.list_jobs() == []


@pytest.mark.parametrize("job_id", [NOBODY, "", "no-uuid"])
async def test_replay_of_nothing_says_so(any_app, job_id):
    """The error carries the id."""
    with pytest.raises(DeadLetterNotFound) as error:
        await any_app.dead_letter.replay(job_id)
    assert error.value.job_id == job_id


async def test_replay_of_a_job_whose_code_is_gone_is_refused(any_app, fails, make_any):
    """Nothing could run it."""
    old = await dead(any_app, fails)
    any_app.registry._tasks.clear()
    with pytest.raises(UnknownTask):
        await any_app.dead_letter.replay(old)


async def test_replay_checks_the_old_arguments_against_the_code_of_today(any_app, fails):
    """A parameter may have gone since."""
    old = await dead(any_app, fails, number=5)
    any_app.registry._tasks.clear()
    any_app.job(name="fails")(lambda count: count)
    with pytest.raises(InvalidArguments, match="count"):
        await any_app.dead_letter.replay(old)
    assert await any_app.dead_letter.replay(old, new_args={"count": 5})


async def test_replay_of_a_unique_job_gives_its_live_twin(any_app):
    """There is one already, so none is made."""

    @any_app.job(name="fails", max_retries=0, unique=True)
    async def fails():
        raise ValueError

    old = await dead(any_app, fails)
    new = await any_app.dead_letter.replay(old)
    assert await any_app.dead_letter.replay(old) == new
    assert len(await any_app.list_jobs()) == 1


# -- many


async def test_bulk_replay_is_oldest_first(any_app, fails, passes):
    """Of what the filter means."""
    old = [await dead(any_app, fails, number=n) for n in range(3)]
    await dead(any_app, passes, number=9)
    new = await any_app.dead_letter.bulk_replay(
        DeadLetterFilter(job_names=["fails"]), new_queue="again", new_priority=1, new_max_attempts=2
    )
    jobs = [await any_app.get_job(job_id) for job_id in new]
    assert [job["args"]["number"] for job in jobs] == [0, 1, 2]
    assert {(job["queue"], job["priority"], job["max_attempts"]) for job in jobs} == {("again", 1, 2)}
    letters = [await any_app.dead_letter.get_dead_letter_job(job_id) for job_id in old]
    assert [letter.resurrection_count for letter in letters] == [1, 1, 1]


async def test_bulk_replay_validates_everything_before_it_writes(any_app, fails, passes):
    """One job without code, and none is replayed."""
    await dead(any_app, fails)
    await dead(any_app, passes, number=1)
    del any_app.registry._tasks["passes"]
    with pytest.raises(UnknownTask):
        await any_app.dead_letter.bulk_replay(DeadLetterFilter())
    assert await any_app.list_jobs() == []


async def test_delete_and_bulk_delete(any_app, fails, passes):
    """One by its id, several by a filter; the answer says how many."""
    first, second = [await dead(any_app, fails, number=n) for n in range(2)]
    third = await dead(any_app, passes, number=1)
    assert await any_app.dead_letter.delete_dead_letter_job(first) is True
    assert await any_app.dead_letter.delete_dead_letter_job(first) is False
    assert await any_app.dead_letter.bulk_delete(DeadLetterFilter(queues=["shaky"])) == 1
    [left] = await any_app.dead_letter.list_dead_letter_jobs()
    assert left.id == third
    assert await any_app.dead_letter.get_dead_letter_job(second) is None


async def test_cleanup_deletes_what_is_old(make):
    """Older than the given days, thirty unless said otherwise; in as many batches as it takes."""
    now = [datetime.now(UTC).timestamp() - 31 * 86400]
    app = make(backend=MemoryBackend(clock=lambda: now[0]))

    @app.job(max_retries=0)
    async def fails():
        raise ValueError

    async def bury(count):
        await app.enqueue_many(fails, [{}] * count)
        await app.run_worker(run_once=True)

    await bury(1005)
    now[0] += 2 * 86400
    await bury(1)
    assert await app.dead_letter.cleanup_old_dead_letter_jobs() == 1005
    assert await app.dead_letter.cleanup_old_dead_letter_jobs(days=30) == 0
    assert await app.dead_letter.cleanup_old_dead_letter_jobs(days=28.5) == 1


@pytest.mark.parametrize("days", [-1, math.nan, math.inf, 1e300, "30", None, True], ids=repr)
async def test_cleanup_of_impossible_days_is_refused(any_app, days):
    """In one line."""
    with pytest.raises(ConfigurationError, match="days is"):
        await any_app.dead_letter.cleanup_old_dead_letter_jobs(days)


# -- filters


async def test_each_filter_means_what_it_says(any_app, fails, passes):
    """Fields join with and; values within a field with or."""
    a = await dead(any_app, fails, number=1)
    b = await dead(any_app, fails, number=2, queue="other")
    c = await dead(any_app, passes, number=3)
    await any_app.dead_letter.add_tags_to_job(a, ["seen", "bad"])
    await any_app.dead_letter.replay(c)
    moved = {one.id: one.moved_to_dead_letter_at for one in await any_app.dead_letter.list_dead_letter_jobs()}

    async def meant(**fields):
        where = DeadLetterFilter(**fields)
        return [one.id for one in await any_app.dead_letter.list_dead_letter_jobs(where)]

    assert await meant() == [c, b, a]
    assert await meant(ids=[a, NOBODY]) == [a]
    assert await meant(job_names=["fails"]) == [b, a]
    assert await meant(job_names=["fails", "passes"], queues=["other"]) == [b]
    assert await meant(job_names=["fail"]) == []
    assert await meant(job_names=[]) == []
    assert await meant(reasons=["max_retries_exceeded"]) == [c, b, a]
    assert await meant(reasons=[DeadLetterReason.TIMEOUT]) == []
    assert await meant(tags=["bad", "unused"]) == [a]
    assert await meant(has_been_resurrected=True) == [c]
    assert await meant(has_been_resurrected=False) == [b, a]
    assert await meant(date_from=moved[b]) == [c, b]
    assert await meant(date_to=moved[b]) == [a]
    assert await meant(limit=1) == [c]
    assert await meant(limit=1, offset=1) == [b]
    assert await meant(limit=0) == []


def test_a_filter_is_keyword_only_and_can_be_edited():
    """As people know it."""
    with pytest.raises(TypeError):
        DeadLetterFilter(["a"])
    where = DeadLetterFilter()
    where.queues = ["a"]
    assert where == DeadLetterFilter(queues=["a"])
    assert (where.limit, where.offset) == (1000, 0)


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"limit": -1}, "limit is -1"),
        ({"limit": None}, "limit is None"),
        ({"limit": "10"}, "limit is '10'"),
        ({"offset": -1}, "offset -1"),
        ({"offset": 1.5}, "offset 1.5"),
        ({"reasons": ["exploded"]}, "'exploded' is no dead-letter reason; known: max_retries_exceeded, "),
        ({"reasons": "timeout"}, "reasons is 'timeout': give a list"),
        ({"job_names": "fails"}, "job_names is 'fails': give a list"),
        ({"queues": "shaky"}, "queues is 'shaky': give a list"),
        ({"ids": NOBODY}, "ids is .*: give a list"),
        ({"tags": "seen"}, "tags is 'seen': give a list"),
        ({"tags": [5]}, r"tags is \[5\]: give a list"),
        ({"queues": 5}, "queues is 5: give a list"),
        ({"date_from": datetime(2024, 1, 1)}, "date_from is the naive 2024-01-01T00:00:00"),  # noqa: DTZ001  # on purpose
        ({"date_to": datetime(2024, 1, 1)}, "date_to is the naive 2024-01-01T00:00:00"),  # noqa: DTZ001  # on purpose
        ({"date_to": "2024-01-01"}, "date_to is '2024-01-01': give an aware datetime"),
        ({"has_been_resurrected": "no"}, "has_been_resurrected is 'no'"),
    ],
    ids=repr,
)
async def test_an_impossible_filter_is_refused_by_every_method(any_app, fails, fields, says):
    """A text instead of a list would match letters; nothing is deleted or replayed by mistake."""
    await dead(any_app, fails)
    where = DeadLetterFilter(**fields)
    service = any_app.dead_letter
    for method in (
        service.list_dead_letter_jobs,
        service.bulk_replay,
        service.bulk_delete,
        service.export_dead_letter_jobs,
    ):
        with pytest.raises(ConfigurationError, match=says):
            await method(where)
    assert len(await service.list_dead_letter_jobs()) == 1


@pytest.mark.parametrize("where", [{"queues": ["a"]}, "fails", 5], ids=repr)
async def test_what_is_no_filter_is_refused(any_app, where):
    """In one line that names the class."""
    with pytest.raises(ConfigurationError, match="give a DeadLetterFilter"):
        await any_app.dead_letter.bulk_delete(where)
    with pytest.raises(ConfigurationError, match="give a DeadLetterFilter"):
        await any_app.dead_letter.list_dead_letter_jobs(where)


@pytest.mark.parametrize("method", ["bulk_delete", "bulk_replay"])
async def test_a_bulk_change_needs_a_filter(any_app, method):
    """None would mean everything; say so with DeadLetterFilter()."""
    with pytest.raises(ConfigurationError, match="give a DeadLetterFilter"):
        await getattr(any_app.dead_letter, method)(None)


# -- stats and tags


async def test_stats_count_by_reason_job_and_queue(any_app, fails, passes):
    """Of all, or of the last hours."""
    await dead(any_app, fails)
    await dead(any_app, fails, queue="other")
    await dead(any_app, passes, number=1)
    stats = await any_app.dead_letter.get_dead_letter_stats()
    assert stats.total == 3
    assert stats.by_reason == {"max_retries_exceeded": 3}
    assert stats.by_job_name == {"fails": 2, "passes": 1}
    assert stats.by_queue == {"shaky": 1, "other": 1, "default": 1}
    assert await any_app.dead_letter.get_dead_letter_stats(hours=1) == stats
    assert (await any_app.get_queue_stats())["dead_letter"] == 3


@pytest.mark.parametrize("hours", [-1, math.nan, math.inf, 1e300, "1", True], ids=repr)
async def test_stats_of_impossible_hours_are_refused(any_app, hours):
    """In one line."""
    with pytest.raises(ConfigurationError, match="hours is"):
        await any_app.dead_letter.get_dead_letter_stats(hours)


async def test_tags_are_added_once_and_in_order(any_app, fails):
    """Those that are there stay."""
    job_id = await dead(any_app, fails)
    assert await any_app.dead_letter.add_tags_to_job(job_id, ["b", "a"]) is True
    assert await any_app.dead_letter.add_tags_to_job(job_id, ("a", "ü", "b")) is True
    assert (await any_app.dead_letter.get_dead_letter_job(job_id)).tags == ("b", "a", "ü")
    assert await any_app.dead_letter.add_tags_to_job(NOBODY, ["a"]) is False


async def test_tags_are_bounded_all_together(any_app, fails):
    """However many calls they come in; those there are stay."""
    job_id = await dead(any_app, fails)
    tags = [f"{number:04}{'x' * 250}" for number in range(300)]
    await any_app.dead_letter.add_tags_to_job(job_id, tags[:200])
    with pytest.raises(PayloadTooLarge, match="tags takes"):
        await any_app.dead_letter.add_tags_to_job(job_id, tags[200:])
    assert await any_app.dead_letter.add_tags_to_job(job_id, tags[:10]) is True
    letter = await any_app.dead_letter.get_dead_letter_job(job_id)
    assert letter.tags == tuple(tags[:200])


@pytest.mark.parametrize(
    "tags",
    ["abc", [""], [5], None, 5, ["a\x00b"], ["\ud800"], ["x" * 256], {"a": 1}],
    ids=lambda v: ascii(v)[:20],
)
async def test_impossible_tags_are_refused(any_app, fails, tags):
    """Nothing is added."""
    job_id = await dead(any_app, fails)
    with pytest.raises((InvalidEnqueue, InvalidArguments), match="tag"):
        await any_app.dead_letter.add_tags_to_job(job_id, tags)
    assert (await any_app.dead_letter.get_dead_letter_job(job_id)).tags == ()


# -- export


async def test_json_export_is_what_the_letters_say(any_app, fails):
    """A list of objects, with times as ISO 8601; readable without decoding."""
    job_id = await dead(any_app, fails, number="grün")
    await any_app.dead_letter.add_tags_to_job(job_id, ["seen"])
    text = await any_app.dead_letter.export_dead_letter_jobs()
    [row] = json.loads(text)
    letter = await any_app.dead_letter.get_dead_letter_job(job_id)
    assert row["id"] == job_id
    assert row["args"] == {"number": "grün"}
    assert row["tags"] == ["seen"]
    assert row["last_resurrection_at"] is None
    assert datetime.fromisoformat(row["moved_to_dead_letter_at"]) == letter.moved_to_dead_letter_at
    assert set(row) == set(letter.to_dict())
    assert "grün" in text


async def test_csv_export_has_a_header_and_a_row_per_letter(any_app, fails):
    """Args and tags as JSON, nothing for nothing; any CSV reader reads the error's lines as one cell."""
    ids = [await dead(any_app, fails, number=f'"{n}", really') for n in range(2)]
    text = await any_app.dead_letter.export_dead_letter_jobs(DeadLetterFilter(job_names=["fails"]), "csv")
    rows = list(csv.DictReader(io.StringIO(text, newline="")))
    letters = [await any_app.dead_letter.get_dead_letter_job(job_id) for job_id in reversed(ids)]
    assert [row["id"] for row in rows] == [letter.id for letter in letters]
    assert [json.loads(row["args"]) for row in rows] == [letter.args for letter in letters]
    assert [row["last_error"] for row in rows] == [letter.last_error for letter in letters]
    assert {row["last_resurrection_at"] for row in rows} == {""}
    assert {row["tags"] for row in rows} == {"[]"}
    assert list(rows[0]) == list(letters[0].to_dict())


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r", "\n", " ="], ids=repr)
async def test_csv_export_has_no_formulas(app, start):
    """A cell that a spreadsheet would compute begins with an apostrophe."""
    formula = start + 'HYPERLINK("http://evil", "click")'

    @app.job(name="fails", max_retries=0)
    async def fails():
        pass

    await dead_with_error(app, fails, formula)
    [row] = csv.DictReader(
        io.StringIO(await app.dead_letter.export_dead_letter_jobs(format="csv"), newline="")
    )
    assert row["last_error"] == "'" + formula.replace("\r", r"\r")


async def dead_with_error(app, task, error):
    """A dead letter with this very error text."""
    from soniq import transitions

    await app.enqueue(task)
    worker = app.worker().info
    app.backend.register(worker)
    [claim] = app.backend.claim(ClaimRequest(worker_id=worker.id, limit=1))
    app.backend.apply([transitions.bury(claim, reason=DeadLetterReason.TIMEOUT, error=error)])


async def test_an_export_of_nothing_is_an_empty_document(any_app):
    """Still JSON, still a header."""
    assert json.loads(await any_app.dead_letter.export_dead_letter_jobs()) == []
    text = await any_app.dead_letter.export_dead_letter_jobs(format="csv")
    assert text.splitlines() == [",".join(DEAD_LETTER_FIELDS)]


DEAD_LETTER_FIELDS = (
    "id",
    "job_name",
    "args",
    "queue",
    "priority",
    "max_attempts",
    "attempts",
    "last_error",
    "dead_letter_reason",
    "original_created_at",
    "moved_to_dead_letter_at",
    "resurrection_count",
    "last_resurrection_at",
    "tags",
    "context",
    "failures",
)


@pytest.mark.parametrize("form", ["xml", "JSON", None, 5], ids=repr)
async def test_an_unknown_format_is_refused(any_app, form):
    """Naming the two."""
    with pytest.raises(ConfigurationError, match="give 'json' or 'csv'"):
        await any_app.dead_letter.export_dead_letter_jobs(format=form)


async def test_letters_older_than_their_time_to_live_are_purged(make):
    """By the workers, with the setting dead_letter_ttl."""
    now = [0.0]
    app = make(backend=MemoryBackend(clock=lambda: now[0]), dead_letter_ttl=3600)

    @app.job(max_retries=0)
    async def fails():
        raise ValueError

    await app.enqueue(fails)
    await app.run_worker(run_once=True)
    now[0] += 3599
    await app.run_worker(run_once=True)
    assert len(await app.dead_letter.list_dead_letter_jobs()) == 1
    now[0] += timedelta(seconds=2).total_seconds()
    await app.run_worker(run_once=True)
    assert await app.dead_letter.list_dead_letter_jobs() == []
