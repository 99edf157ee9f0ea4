"""For the tests of Django projects: see what is enqueued, run it, move its clock, let it fail.

Everything goes the way that it goes in production: arguments are checked and encoded, jobs are stored,
claimed by the same statements, run by the same code and recorded by the same state machine. What differs is
that it all happens on the test's thread and connection, and so inside the transaction that it rolls back.

To import this is to let the queue of this process follow Python's clock while freezegun or time-machine hold
it; nothing else is changed.
"""

from soniq_django.testing.asserting import EnqueuedJobs
from soniq_django.testing.capture import (
    CapturedJobs,
    aenqueued_jobs,
    assert_enqueued,
    assert_no_jobs,
    capture_jobs,
    enqueued_jobs,
)
from soniq_django.testing.cases import JobTestMixin
from soniq_django.testing.clock import follow_python
from soniq_django.testing.drain import adrain_jobs, drain_jobs
from soniq_django.testing.enqueued import EnqueuedJob
from soniq_django.testing.environment import TestEnvironment
from soniq_django.testing.faults import simulate_crash, simulate_timeout
from soniq_django.testing.modes import memory_app, testing_mode
from soniq_django.testing.summary import Attempt, DrainSummary

__all__ = [
    "Attempt",
    "CapturedJobs",
    "DrainSummary",
    "EnqueuedJob",
    "EnqueuedJobs",
    "JobTestMixin",
    "TestEnvironment",
    "adrain_jobs",
    "aenqueued_jobs",
    "assert_enqueued",
    "assert_no_jobs",
    "capture_jobs",
    "drain_jobs",
    "enqueued_jobs",
    "memory_app",
    "simulate_crash",
    "simulate_timeout",
    "testing_mode",
]

follow_python()
