"""Retries of a task: its options, except where the work was done and only its result is at fault."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from soniq.job_options import JobOptions
from soniq.jobs import Claim
from soniq.retry import TaskRetryPolicy
from soniq.settings import Settings

_FINAL = "_soniq_final"


def final(error: BaseException) -> BaseException:
    """``error``, after which the task is not run again."""
    setattr(error, _FINAL, True)
    return error


class WorkNotRepeated(TaskRetryPolicy):
    """Never again after an error that is marked by :func:`final`."""

    def delay_for(self, *, attempt: int, job: Claim, exc: BaseException) -> float | None:
        """See :class:`soniq.retry.RetryPolicy`."""
        if getattr(exc, _FINAL, False):
            return None
        return super().delay_for(attempt=attempt, job=job, exc=exc)


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskOptions(JobOptions):
    """The options of a job that is a task."""

    def retry_policy(self, settings: Settings) -> TaskRetryPolicy:
        """See :class:`soniq.job_options.JobOptions`."""
        # Zero-argument super() does not work in a dataclass with slots.
        policy: Any = super(TaskOptions, self).retry_policy(settings)
        return WorkNotRepeated(**{name: getattr(policy, name) for name in policy.__dataclass_fields__})
