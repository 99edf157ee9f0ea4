"""New jobs in the forms in which PostgreSQL takes them: parameters of an INSERT, lines of a COPY."""

from __future__ import annotations

from typing import Any

from soniq.jobs import NewJob


def is_plain(job: NewJob) -> bool:
    """Whether the job is due at once and has no key; such ones are most."""
    return (
        job.scheduled_at is None
        and not job.delay
        and job.unique_key is None
        and job.dedup_key is None
        and job.args_hash is None
    )


def insert_one_values(job: NewJob) -> tuple[Any, ...]:
    """The parameters of INSERT_ONE."""
    return (
        job.id,
        job.job_name,
        job.queue,
        job.priority,
        job.args_json,
        job.max_attempts,
        job.producer_id,
        job.context_json,
    )


def copied(group: list[NewJob]) -> str:
    """Plain jobs that differ in id and arguments only, in COPY's text format."""
    job = group[0]
    fields = (job.job_name, job.queue, job.priority, "queued", 0, job.max_attempts, 0, job.producer_id)
    tail = "\t".join(str(field).translate(_COPY_ESCAPES) for field in fields)
    tail += "\t" + ("\\N" if job.context_json is None else job.context_json.translate(_COPY_ESCAPES))
    # JSON escapes all control characters, so its text holds no tab and no line break.
    lines = [f"{job.id}\t{job.args_json}\t" for job in group]
    return f"{tail}\n".join(line.replace("\\", "\\\\") for line in lines) + f"{tail}\n"


_COPY_ESCAPES = str.maketrans({"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"})


def in_common(job: NewJob) -> tuple[Any, ...]:
    """What rows of one INSERT have in common, in the order of its parameters."""
    return (
        job.job_name,
        job.queue,
        job.priority,
        job.max_attempts,
        job.scheduled_at,
        job.delay,
        job.producer_id,
        job.context_json,
    )
