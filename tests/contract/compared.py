"""Whether what a store says is what the model says; the first difference is an error that names both."""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import datetime, timedelta
from typing import Any

from soniq.jobs import Claim
from soniq.records import DeadLetter, DeadLetterFilter, FailedAttempt, Job, WorkerRecord
from soniq.schedule_records import Schedule
from tests.contract.model import (
    Model,
    ModelClaim,
    ModelJob,
    ModelLetter,
    ModelSchedule,
    ModelWorker,
    Moment,
)
from tests.contract.stores import Store

SLACK = 0.002  # seconds; some databases tell time in milliseconds
EVERYTHING = 1_000_000


def same(store: Store, about: str, said: Any, expected: Any) -> None:
    assert said == expected, f"{store.name}: {about}\n  store: {said!r}\n  model: {expected!r}"


def check_state(store: Store, model: Model) -> None:
    """All rows, every column."""
    backend = store.backend
    listed = backend.list_jobs(limit=EVERYTHING)
    same(store, "order of jobs", [job.id for job in listed], sorted(model.jobs, reverse=True))
    for job in listed:
        check_job(store, job, model.jobs[job.id])
    letters = backend.list_dead_letters(DeadLetterFilter(limit=EVERYTHING))
    same(store, "dead letters", sorted(letter.id for letter in letters), sorted(model.letters))
    for letter in letters:
        _check_letter(store, letter, model.letters[letter.id])
    workers = backend.list_workers()
    oldest_first = sorted(model.workers.values(), key=lambda worker: worker.started.low)
    same(store, "workers", [one.id for one in workers], [one.id for one in oldest_first])
    for worker in workers:
        _check_worker(store, worker, model.workers[worker.id])
    same(store, "stats", backend.queue_stats(), model.stats())
    schedules = backend.list_schedules()
    same(store, "schedules", [one.name for one in schedules], sorted(model.schedules))
    for schedule in schedules:
        _check_schedule(store, schedule, model.schedules[schedule.name])


def check_job(store: Store, said: Job, job: ModelJob) -> None:
    row = asdict(said)
    moments = {
        "scheduled_at": job.due,
        "created_at": job.created,
        "updated_at": job.updated,
        "started_at": job.started,
        "finished_at": job.finished,
        "expires_at": job.expires,
    }
    for column, expected in moments.items():
        _check_moment(store, f"{column} of job {job.id}", row.pop(column), expected)
    del row["failures"]
    _check_failures(store, said.failures, job)
    expected = {
        "id": job.id,
        "job_name": job.name,
        "args": _exactly(job.args),
        "args_hash": job.args_hash,
        "status": job.status,
        "attempts": job.attempts,
        "max_attempts": job.max_attempts,
        "crashes": job.crashes,
        "priority": job.priority,
        "queue": job.queue,
        "dedup_key": job.dedup_key,
        "last_error": job.error,
        "result": _exactly(job.result),
        "context": _exactly(job.context),
        "producer_id": job.producer,
        "worker_id": job.worker,
    }
    row |= {name: _exactly(row[name]) for name in ("args", "result", "context")}
    same(store, f"job {job.id}", row, expected)


def check_claim(store: Store, said: Claim, claim: ModelClaim) -> None:
    job = claim.job
    _check_moment(store, f"scheduled_at of claim {job.id}", said.scheduled_at, job.due)
    _check_moment(store, f"created_at of claim {job.id}", said.created_at, job.created)
    told = (
        said.job_id,
        said.worker_id,
        said.attempt,
        said.job_name,
        _exactly(said.args),
        said.queue,
        said.priority,
        said.max_attempts,
        said.crashes,
        _exactly(said.context),
    )
    expected = (
        job.id,
        claim.worker,
        claim.attempt,
        job.name,
        _exactly(job.args),
        job.queue,
        job.priority,
        job.max_attempts,
        job.crashes,
        _exactly(job.context),
    )
    same(store, f"claim of {job.id}", told, expected)


def _check_letter(store: Store, said: DeadLetter, letter: ModelLetter) -> None:
    job = letter.job
    row = asdict(said)
    about = f"of dead letter {job.id}"
    _check_moment(store, f"created {about}", row.pop("original_created_at"), job.created)
    _check_moment(store, f"moved {about}", row.pop("moved_to_dead_letter_at"), letter.moved)
    _check_moment(store, f"replayed {about}", row.pop("last_resurrection_at"), letter.replayed)
    row |= {name: _exactly(row[name]) for name in ("args", "context")}
    del row["failures"]
    _check_failures(store, said.failures, job)
    expected = {
        "id": job.id,
        "job_name": job.name,
        "args": _exactly(job.args),
        "queue": job.queue,
        "priority": job.priority,
        "max_attempts": job.max_attempts,
        "attempts": job.attempts,
        "last_error": job.error,
        "dead_letter_reason": letter.reason,
        "resurrection_count": letter.replays,
        "tags": tuple(letter.tags),
        "context": _exactly(job.context),
    }
    same(store, f"dead letter {job.id}", row, expected)


def _check_schedule(store: Store, said: Schedule, schedule: ModelSchedule) -> None:
    row = asdict(said)
    for column, value in row.items():
        if isinstance(value, datetime):
            same(store, f"zone of {column} of {said.name}", value.utcoffset(), timedelta(0))
            row[column] = round(store.seconds(value), 3)
    row["args_json"] = _exactly(said.args)
    expected = {
        **schedule.fields,
        "args_json": _exactly(json.loads(schedule.fields["args_json"])),
        "name": schedule.name,
        "job_name": schedule.job_name,
        "declared": schedule.declared,
        "next_fire_at": schedule.next_fire,
        "version": schedule.version,
        "last_job_id": schedule.last_job,
    }
    same(store, f"schedule {said.name}", row, expected)


def _check_failures(store: Store, said: tuple[FailedAttempt, ...], job: ModelJob) -> None:
    told = [(one.attempt, one.worker_id, one.error_class, one.error) for one in said]
    expected = [(one.attempt, one.worker, one.error_class, one.error) for one in job.failures]
    same(store, f"failures of {job.id}", told, expected)
    for one, entry in zip(said, job.failures, strict=True):
        _check_moment(store, f"start of a failure of {job.id}", one.started_at, entry.started)
        _check_moment(store, f"time of a failure of {job.id}", one.at, entry.at)


def _check_worker(store: Store, said: WorkerRecord, worker: ModelWorker) -> None:
    _check_moment(store, f"start of {worker.id}", said.started_at, worker.started)
    _check_moment(store, f"beat of {worker.id}", said.last_heartbeat_at, worker.beat)
    told = (said.hostname, said.pid, said.concurrency, said.queues)
    same(store, f"worker {worker.id}", told, worker.facts)


def _check_moment(store: Store, about: str, said: datetime | None, expected: Moment | None) -> None:
    if said is None or expected is None:
        same(store, about, said, expected)
        return
    same(store, f"zone of {about}", said.utcoffset(), timedelta(0))
    near = Moment(expected.low - SLACK, expected.high + SLACK)
    assert near.holds(store.seconds(said)), (
        f"{store.name}: {about}\n  store: {store.seconds(said):f}\n  model: {expected}"
    )


def _exactly(value: object) -> str:
    """Equal for values that are the same to the type; keys may come back in another order."""
    return json.dumps(value, sort_keys=True)
