"""Jobs whose names a worker does not know: when it speaks of them, and when it gives them up."""

from __future__ import annotations

import logging
from itertools import pairwise

import pytest

from soniq import ConfigurationError, DeadLetterFilter
from soniq.backends.memory import MemoryBackend
from soniq.ids import uuid7
from soniq.jobs import ClaimRequest, DeadLetterReason, NewJob
from soniq.maintenance import Maintenance
from soniq.registry import Registry
from soniq.settings import Settings
from soniq.transitions import interrupt
from soniq.unknown import BURY_BATCH, FIRST_SILENCE, LONGEST_SILENCE, REACH, UnknownJobs

LOOK = 60.0  # seconds between two looks at the default sweep interval


class Clock:
    """Seconds that a test moves."""

    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def backend(clock: Clock) -> MemoryBackend:
    return MemoryBackend(clock=clock)


@pytest.fixture
def make(backend: MemoryBackend, clock: Clock):
    def make(*, queues=None, **settings) -> UnknownJobs:
        registry = Registry(producer=lambda: None)

        @registry.job(name="shop.known")
        def known() -> None:
            pass

        return UnknownJobs(backend, registry, Settings(**settings), queues=queues, clock=clock)

    return make


def enqueue(backend, name, count=1, **fields) -> list[str]:
    usual = {"args_json": "{}", "queue": "default", "priority": 100, "max_attempts": 1}
    return backend.enqueue(
        NewJob(**{**usual, "id": str(uuid7()), "job_name": name, **fields}) for _ in range(count)
    )


def warnings(caplog) -> list[str]:
    found = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    caplog.clear()
    return found


def test_due_jobs_of_unknown_names_are_told_with_number_and_age(make, backend, clock, caplog):
    enqueue(backend, "shop.old", 3)
    enqueue(backend, "shop.known", 5)
    enqueue(backend, "shop.later", delay=3600)
    clock.now += 600
    enqueue(backend, "shop.older", 1, priority=1)

    assert make().look() is False

    [told] = warnings(caplog)
    assert told == (
        "due jobs wait for a worker that knows their names, this one does not: "
        "'shop.old' (3 jobs, the first due for 10 min), 'shop.older' (1 job, the first due for 0 s)"
    )


def test_only_the_queues_that_are_served_are_looked_at(make, backend, caplog):
    enqueue(backend, "shop.old", queue="elsewhere")

    make(queues=("default",)).look()
    assert warnings(caplog) == []
    make(queues=("default", "elsewhere")).look()
    assert len(warnings(caplog)) == 1


def test_the_same_names_are_told_ever_more_rarely(make, backend, clock, caplog):
    unknown = make()
    enqueue(backend, "shop.old")
    told_at = []
    started = clock.now
    while clock.now < started + 3 * LONGEST_SILENCE:
        unknown.look()
        if warnings(caplog):
            told_at.append(clock.now - started)
        clock.now += LOOK

    gaps = [later - earlier for earlier, later in pairwise(told_at)]
    assert gaps[:3] == [FIRST_SILENCE, 2 * FIRST_SILENCE, 4 * FIRST_SILENCE]
    assert max(gaps) <= LONGEST_SILENCE


def test_a_new_name_is_told_at_the_next_look(make, backend, clock, caplog):
    unknown = make()
    enqueue(backend, "shop.old")
    unknown.look()
    warnings(caplog)
    enqueue(backend, "shop.new")
    clock.now += LOOK

    unknown.look()

    assert "'shop.new'" in warnings(caplog)[0]


def test_it_is_told_when_they_are_gone_and_told_anew_when_they_come_back(make, backend, clock, caplog):
    caplog.set_level(logging.INFO)
    unknown = make()
    [job_id] = enqueue(backend, "shop.old")
    unknown.look()
    backend.delete_job(job_id)
    clock.now += LOOK
    caplog.clear()
    unknown.look()

    assert [record.getMessage() for record in caplog.records] == [
        "no due job waits for unknown code any more"
    ]
    enqueue(backend, "shop.old")
    clock.now += LOOK
    caplog.clear()
    unknown.look()
    assert len(warnings(caplog)) == 1


def test_between_two_looks_the_storage_is_left_alone(make, backend, clock, monkeypatch):
    looks = []
    original = backend.overdue
    monkeypatch.setattr(backend, "overdue", lambda **asked: looks.append(asked) or original(**asked))
    unknown = make()
    for _ in range(int(10 * LOOK / 15)):
        unknown.look()
        clock.now += 15

    assert len(looks) == 10
    assert {look["limit"] for look in looks} == {REACH}


def test_without_a_limit_they_wait_for_ever(make, backend, clock):
    enqueue(backend, "shop.old")
    clock.now += 10 * 365 * 86400

    assert make().look() is False
    assert backend.queue_stats()["queued"] == 1


def test_after_the_limit_they_become_dead_letters(make, backend, clock, caplog):
    [job_id] = enqueue(backend, "shop.old")
    enqueue(backend, "shop.known")
    clock.now += 7200
    enqueue(backend, "shop.old")
    unknown = make(unknown_job_ttl=7200.0)

    while unknown.look():
        pass

    [letter] = backend.list_dead_letters(DeadLetterFilter())
    assert (letter.id, letter.dead_letter_reason) == (job_id, DeadLetterReason.JOB_NOT_FOUND)
    assert letter.last_error == (
        "no worker of the queue 'default' knew the name 'shop.old' within 2 h of the job being due"
    )
    assert backend.queue_stats()["queued"] == 2
    gave_up, still_wait = warnings(caplog)
    assert "gave up jobs that no worker knew within 2 h: 'shop.old' (1 job" in gave_up
    assert still_wait.endswith("after 2 h they are given up")


def test_many_are_given_up_in_batches(make, backend, clock):
    enqueue(backend, "shop.old", 2 * BURY_BATCH + 1)
    clock.now += 60
    unknown = make(unknown_job_ttl=1.0)
    buried = []
    while unknown.look():
        buried.append(backend.queue_stats()["dead_letter"])

    assert buried == [BURY_BATCH, 2 * BURY_BATCH, 2 * BURY_BATCH + 1]


@pytest.mark.parametrize("given_back", [False, True], ids=["claimed", "claimed and given back"])
def test_a_worker_that_knows_the_job_is_the_stronger_one(make, backend, clock, monkeypatch, given_back):
    """It claims between the look and the burial."""
    [job_id] = enqueue(backend, "shop.old")
    clock.now += 7200
    apply = backend.apply

    def claimed_first(changes):
        monkeypatch.setattr(backend, "apply", apply)
        [claim] = backend.claim(ClaimRequest(worker_id="knows it", limit=1))
        if given_back:
            backend.apply([interrupt(claim)])
        return apply(changes)

    monkeypatch.setattr(backend, "apply", claimed_first)
    unknown = make(unknown_job_ttl=3600.0)

    assert unknown.look() is True
    assert unknown.look() is False

    assert backend.get_job(job_id).status == ("queued" if given_back else "processing")
    assert backend.queue_stats()["dead_letter"] == 0


def test_a_name_that_nobody_could_print_does_no_harm_to_the_log(make, backend, caplog):
    enqueue(backend, "evil\nERROR all is lost")

    make().look()

    assert "'evil\\nERROR all is lost'" in warnings(caplog)[0]


def test_of_many_names_the_oldest_are_told(make, backend, clock, caplog):
    for number in range(15):
        enqueue(backend, f"shop.old{number}")
        clock.now += 60

    make().look()

    [told] = warnings(caplog)
    assert told.count("shop.old") == 10
    assert "'shop.old0'" in told
    assert told.endswith("and 5 more names")


def test_behind_many_known_jobs_unknown_ones_are_found_when_those_are_gone(make, backend, clock, caplog):
    enqueue(backend, "shop.known", REACH)
    clock.now += 1
    enqueue(backend, "shop.old")
    unknown = make()
    unknown.look()
    assert warnings(caplog) == []

    backend.claim(ClaimRequest(worker_id="w", limit=REACH // 2, names=["shop.known"]))
    clock.now += LOOK
    unknown.look()

    assert "'shop.old'" in warnings(caplog)[0]


def test_a_sweep_looks_for_them_too(make, backend, clock):
    enqueue(backend, "shop.old", BURY_BATCH + 1)
    clock.now += 60
    settings = Settings(unknown_job_ttl=1.0)
    maintenance = Maintenance(backend, settings, make(unknown_job_ttl=1.0))

    assert maintenance.sweep() is True
    assert maintenance.sweep() is True
    assert maintenance.sweep() is False
    assert backend.queue_stats()["dead_letter"] == BURY_BATCH + 1


@pytest.mark.parametrize("value", [0, -1, "1d", True])
def test_an_impossible_limit_is_refused(value):
    with pytest.raises(ConfigurationError, match=r"unknown_job_ttl is .*: give more than 0 seconds"):
        Settings(unknown_job_ttl=value)
