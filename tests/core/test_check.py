"""Which stored jobs the code of today cannot run."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

from soniq import JobContext
from soniq.backends.memory import MemoryBackend
from soniq.check import BATCH, check_jobs
from soniq.durations import rough
from soniq.ids import uuid7
from soniq.jobs import ClaimRequest, NewJob
from soniq.registry import Registry
from soniq.transitions import succeed


@pytest.fixture
def backend() -> MemoryBackend:
    return MemoryBackend()


@pytest.fixture
def registry() -> Registry:
    registry = Registry(producer=lambda: None)

    @registry.job(name="shop.send")
    def send(order_id: int, ctx: JobContext, copies: int = 1) -> None:
        pass

    return registry


def enqueue(backend, name="shop.send", args=None, count=1, **fields) -> list[str]:
    usual = {"queue": "default", "priority": 100, "max_attempts": 1}
    text = json.dumps({"order_id": 1} if args is None else args)
    return backend.enqueue(
        NewJob(**{**usual, "id": str(uuid7()), "job_name": name, "args_json": text, **fields})
        for _ in range(count)
    )


def test_an_empty_store_is_fine(backend, registry):
    report = check_jobs(backend, registry)

    assert (report.findings, report.live, report.examined) == ((), 0, 0)


def test_jobs_that_fit_are_fine(backend, registry):
    enqueue(backend, count=3)
    enqueue(backend, args={"order_id": 2, "copies": 3}, delay=3600)

    report = check_jobs(backend, registry)

    assert (report.findings, report.live, report.examined) == ((), 4, 4)


def test_unknown_names_are_found_with_number_queue_and_age(backend, registry):
    [first, *_] = enqueue(backend, "shop.sent", count=2, queue="mail", delay=3600)
    enqueue(backend)

    [finding] = check_jobs(backend, registry).findings

    assert (finding.kind, finding.job_name, finding.queue, finding.count) == (
        "unknown_job",
        "shop.sent",
        "mail",
        2,
    )
    assert finding.status == "queued"
    assert finding.oldest == backend.get_job(first).created_at
    assert "did you mean 'shop.send'?" in finding.reason


def test_a_running_job_counts_because_it_may_come_back(backend, registry):
    enqueue(backend, "shop.gone")
    backend.claim(ClaimRequest(worker_id="old release", limit=1))

    [finding] = check_jobs(backend, registry).findings

    assert (finding.kind, finding.status) == ("unknown_job", "processing")


def test_jobs_that_ended_do_not_count(backend, registry):
    enqueue(backend, "shop.gone")
    [claim] = backend.claim(ClaimRequest(worker_id="old release", limit=1))
    backend.apply([succeed(claim, result_json=None, ttl=None)])

    assert check_jobs(backend, registry).live == 0


@pytest.mark.parametrize(
    ("args", "complaint"),
    [
        ({}, "missing a required argument: 'order_id'"),
        ({"order_id": 1, "colour": "red"}, "got an unexpected keyword argument 'colour'"),
        ([1], "the stored arguments are list, no dict"),
    ],
)
def test_arguments_that_the_signature_refuses_are_found(backend, registry, args, complaint):
    [job_id, _] = enqueue(backend, args=args, count=2)
    enqueue(backend)

    [finding] = check_jobs(backend, registry).findings

    assert (finding.kind, finding.job_name, finding.count) == ("invalid_arguments", "shop.send", 2)
    assert complaint in finding.reason
    assert finding.example == job_id


def test_arguments_that_a_model_refuses_are_found_without_their_values(backend, registry):
    pydantic = pytest.importorskip("pydantic")

    class Order(pydantic.BaseModel):
        order_id: int

    @registry.job(name="shop.checked", validate=Order)
    def checked(order_id: int) -> None:
        pass

    enqueue(backend, "shop.checked", args={"order_id": "s3cret"})

    [finding] = check_jobs(backend, registry).findings

    assert finding.reason == "the job's model refuses them: order_id (int_parsing)"


def test_a_model_that_raises_anything_is_a_finding_too(backend, registry):
    class Broken:
        @staticmethod
        def model_validate(_stored):
            raise LookupError("s3cret")

    registry.find("shop.send").options = registry.find("shop.send").options.__class__(validate=Broken)
    enqueue(backend)

    [finding] = check_jobs(backend, registry).findings

    assert finding.reason == "the job's model refuses them: LookupError"


def test_a_job_is_found_once_whatever_is_wrong_with_it(backend, registry):
    enqueue(backend, "shop.gone", args=[1])

    assert [finding.kind for finding in check_jobs(backend, registry).findings] == ["unknown_job"]


def test_a_sample_examines_the_oldest_and_names_are_always_examined(backend, registry):
    enqueue(backend, args={})
    enqueue(backend, count=4)
    enqueue(backend, args=[])
    enqueue(backend, "shop.gone")

    report = check_jobs(backend, registry, sample=3)

    assert {finding.kind for finding in report.findings} == {"unknown_job", "invalid_arguments"}
    assert (report.live, report.examined) == (7, 3)
    assert sum(finding.count for finding in report.findings) == 2
    assert check_jobs(backend, registry, sample=0).examined == 0


def test_a_large_store_is_read_in_batches_and_says_how_far_it_is(backend, registry):
    enqueue(backend, count=2 * BATCH + 5)
    enqueue(backend, args=[])
    told = []

    report = check_jobs(backend, registry, progress=lambda done, total: told.append((done, total)))

    assert report.examined == 2 * BATCH + 6
    assert [finding.count for finding in report.findings] == [1]
    assert told == [(BATCH, 2 * BATCH + 6), (2 * BATCH, 2 * BATCH + 6)]


def test_the_oldest_of_several_is_the_first_enqueued(registry):
    now = [1_000_000.0]
    backend = MemoryBackend(clock=lambda: now[0])
    enqueue(backend, args=[])
    now[0] += 500
    enqueue(backend, args=[])

    [finding] = check_jobs(backend, registry).findings

    assert finding.oldest == datetime.fromtimestamp(1_000_000, tz=UTC)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-1, "0 s"),
        (0.4, "0 s"),
        (119, "119 s"),
        (120, "2 min"),
        (7199, "120 min"),
        (7200, "2 h"),
        (172_800, "2 d"),
    ],
)
def test_durations_are_told_in_units_that_people_use(seconds, text):
    assert rough(seconds) == text
