"""An id that is taken is refused, however the job is stored."""

from __future__ import annotations

import pytest
from django.db import IntegrityError

from soniq import Soniq
from soniq.testing.conformance.support import new_job

pytestmark = pytest.mark.django_db(transaction=True, databases="__all__")


def test_a_taken_id_is_refused_and_the_connection_goes_on(app: Soniq) -> None:
    """The job that has it is not taken for the one that was refused."""
    first = new_job(job_name="first")
    app.backend.enqueue([first])

    for _ in range(2):
        with pytest.raises(IntegrityError):
            app.backend.enqueue([new_job(id=first.id, job_name="second")])

    stored = app.backend.get_job(first.id)
    assert stored is not None
    assert stored.job_name == "first"


def test_a_plain_job_keeps_what_it_tells_of_itself(app: Soniq) -> None:
    """A hash and a key without uniqueness are information, one by one and in a large batch."""
    jobs = [new_job(args_hash="a" * 64, dedup_key=f"order-{number}") for number in range(25)]
    app.backend.enqueue(jobs[:1])
    app.backend.enqueue(jobs[1:])

    for job in jobs:
        stored = app.backend.get_job(job.id)
        assert stored is not None
        assert (stored.args_hash, stored.dedup_key) == (job.args_hash, job.dedup_key)
