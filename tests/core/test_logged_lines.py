"""What a job says reaches the log as one line of plain text, without its secrets."""

from __future__ import annotations

import logging

import pytest

from soniq import JobContext, Snooze
from soniq.failures import describe, summarize
from soniq.jobs import ClaimRequest
from soniq.testing.conformance.support import new_job

SECRET = "hunter2"
ACTIVE = "\x1b[2J\x1b]0;t\x07 \u202egpj \x9b31m\x85\u2028\n2026-01-01 ERROR forged line\r\n"


async def run(app, caplog, fn, **kwargs):
    """Run a job; its id, and what was logged about it."""
    task = app.job(name="work", max_retries=0)(fn)
    with caplog.at_level(logging.DEBUG, "soniq"):
        job_id = await app.enqueue(task, **kwargs)
        await app.run_worker(run_once=True)
    return job_id, [record for record in caplog.records if record.name == "soniq.worker"]


def assert_plain(records):
    assert records
    for record in records:
        line = record.getMessage()
        assert not [c for c in line if ord(c) < 32 or 0x7F <= ord(c) <= 0x9F or c in "\u202e\u2028"], line
        assert SECRET not in line


async def test_no_error_of_a_job_writes_lines_of_its_own(app, caplog):
    """Nor colours, nor moves the cursor; the line still says what went wrong."""

    def work():
        raise ValueError(ACTIVE)

    _, records = await run(app, caplog, work)
    assert_plain(records)
    assert r"ValueError: \x1b[2J\x1b]0;t\x07 \u202egpj \x9b31m" in records[-1].getMessage()


async def test_no_reason_of_a_snooze_writes_lines_of_its_own(app, caplog):
    """And a long one is cut, while all of it is stored."""
    job_id, records = await run(app, caplog, lambda: Snooze(60, ACTIVE + "x" * 10_000))
    assert_plain(records)
    assert len(records[-1].getMessage()) < 1000
    assert (await app.get_job(job_id))["last_error"] == ACTIVE + "x" * 10_000


async def test_secrets_in_an_error_are_masked_in_the_log_and_kept_in_the_store(app, caplog):
    """The log goes to many places; the row is needed to find out."""

    def work():
        raise ConnectionError(f"refused: token={SECRET}, headers={{'Authorization': 'Bearer {SECRET}'}}")

    job_id, records = await run(app, caplog, work)
    assert_plain(records)
    assert "refused: token=********" in records[-1].getMessage()
    letter = await app.dead_letter.get_dead_letter_job(job_id)
    assert f"token={SECRET}" in letter.last_error


async def test_the_setting_masks_further_names_in_the_log(make, caplog):
    """As everywhere."""
    app = make(redact=["iban"])

    def work():
        raise ValueError(f"iban: {SECRET}")

    _, records = await run(app, caplog, work)
    assert_plain(records)


async def test_secrets_in_refused_arguments_are_masked_in_the_log(app, caplog):
    """A model quotes what it refuses."""
    pydantic = pytest.importorskip("pydantic")

    class Model(pydantic.BaseModel):
        pin: int

    app.job(name="work", validate=Model)(lambda pin: None)
    with caplog.at_level(logging.DEBUG, "soniq"):
        # As an older release, whose model was another, may have left it.
        app.backend.enqueue([new_job(job_name="work", args_json=f'{{"pin": "{SECRET}"}}')])
        await app.run_worker(run_once=True)
    assert_plain([record for record in caplog.records if record.name == "soniq.worker"])


@pytest.mark.parametrize("form", ["sync", "async"])
async def test_the_lines_of_a_jobs_life_hold_its_id_and_say_the_same_facts(app, caplog, form):
    """So a search for the id, or for a field, finds all of it."""

    def work():
        raise ValueError("no")

    async def awork():
        work()

    job_id, _ = await run(app, caplog, work if form == "sync" else awork)

    mine = [record for record in caplog.records if getattr(record, "job_id", None) == job_id]
    assert [record.name for record in mine] == ["soniq.enqueue", "soniq.worker", "soniq.worker"]
    assert all(job_id in record.getMessage() for record in mine)
    assert {(record.job_name, record.queue) for record in mine} == {("work", "default")}
    assert {record.attempt for record in mine[1:]} == {1}
    assert len({record.worker_id for record in mine[1:]}) == 1
    assert (mine[-1].outcome, mine[-1].error) == ("bury", "ValueError: no")
    assert mine[-1].duration_ms >= 0


async def test_the_line_of_a_replay_is_that_of_an_enqueue(app, caplog):
    @app.job(name="work", max_retries=0)
    def work():
        raise ValueError("no")

    dead = await app.enqueue(work)
    await app.run_worker(run_once=True)
    caplog.clear()
    with caplog.at_level(logging.DEBUG, "soniq.enqueue"):
        new_id = await app.dead_letter.replay(dead)

    assert [record.getMessage() for record in caplog.records] == [f"enqueued  work {new_id}"]


async def test_an_outcome_that_is_dropped_is_told_with_the_same_facts(app, caplog):
    """The worker had lost the job to another."""

    @app.job(name="work")
    async def work(ctx: JobContext):
        app.backend.delete_job(ctx.job_id)

    job_id = await app.enqueue(work)
    await app.run_worker(run_once=True)

    [record] = [record for record in caplog.records if getattr(record, "outcome", "") == "dropped"]
    assert (record.job_id, record.attempt, record.queue) == (job_id, 1, "default")
    assert job_id in record.getMessage()


async def test_a_rescue_is_told_with_the_facts_of_the_lost_attempt(app, caplog):
    """By the worker that swept."""

    @app.job(name="work")
    async def work():
        pass

    job_id = await app.enqueue(work)
    app.backend.claim(ClaimRequest(worker_id="01a00000-0000-7000-8000-000000000001", limit=1))
    await app.run_worker(run_once=True)

    [record] = [record for record in caplog.records if getattr(record, "outcome", "") == "rescue"]
    assert (record.job_id, record.attempt) == (job_id, 1)
    assert record.worker_id == "01a00000-0000-7000-8000-000000000001"
    assert job_id in record.getMessage()


async def test_enqueues_of_a_batch_are_told_one_by_one_for_who_wants_it(app, caplog):
    """At DEBUG only; a job that stands for another is told as such."""
    task = app.job(name="work", unique=True)(lambda n: None)
    with caplog.at_level(logging.DEBUG, "soniq.enqueue"):
        ids = await app.enqueue_many(task, [{"n": 1}, {"n": 2}, {"n": 1}])

    told = [record for record in caplog.records if record.name == "soniq.enqueue"]
    assert [record.job_id for record in told] == ids
    assert [("nothing was stored" in record.getMessage()) for record in told] == [False, False, True]


def test_local_variables_are_not_part_of_an_error():
    """A traceback tells lines of code, not what the variables held."""

    def log_in(password):
        raise LookupError(len(password))

    with pytest.raises(LookupError) as caught:
        log_in(SECRET)
    text = describe(caught.value), summarize(caught.value)

    assert "raise LookupError(len(password))" in text[0]
    assert SECRET not in "".join(text)
