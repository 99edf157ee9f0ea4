"""Soniq: background jobs that live in your database."""

from soniq.app import Soniq
from soniq.codec import register_type
from soniq.default import configure, default_app, get_default_app, set_default_app
from soniq.default import shared as _shared
from soniq.errors import (
    AppClosed,
    BackendConflict,
    BackendError,
    BackendNotReady,
    BackendUnavailable,
    ConfigurationError,
    DeadLetterNotFound,
    InvalidArguments,
    InvalidEnqueue,
    InvalidJob,
    InvalidSchedule,
    JobTimeout,
    NotConfigured,
    PayloadTooLarge,
    ReferenceGone,
    ScheduleNotFound,
    SoniqError,
    UnknownTask,
)
from soniq.hooks import MetricsSink
from soniq.jobs import DeadLetterReason, JobContext, JobStatus, Snooze
from soniq.records import DeadLetter, DeadLetterFilter, DeadLetterStats
from soniq.retry import RetryPolicy
from soniq.schedule_records import Schedule, ScheduleStatus
from soniq.schedules import cron, daily, every, monthly, weekly
from soniq.task import Task, TaskRef

__all__ = [
    "AppClosed",
    "BackendConflict",
    "BackendError",
    "BackendNotReady",
    "BackendUnavailable",
    "ConfigurationError",
    "DeadLetter",
    "DeadLetterFilter",
    "DeadLetterNotFound",
    "DeadLetterReason",
    "DeadLetterStats",
    "InvalidArguments",
    "InvalidEnqueue",
    "InvalidJob",
    "InvalidSchedule",
    "JobContext",
    "JobStatus",
    "JobTimeout",
    "MetricsSink",
    "NotConfigured",
    "PayloadTooLarge",
    "ReferenceGone",
    "RetryPolicy",
    "Schedule",
    "ScheduleNotFound",
    "ScheduleStatus",
    "Snooze",
    "Soniq",
    "SoniqError",
    "Task",
    "TaskRef",
    "UnknownTask",
    "after_job",
    "before_job",
    "configure",
    "context",
    "cron",
    "daily",
    "default_app",
    "every",
    "get_default_app",
    "job",
    "middleware",
    "monthly",
    "on_error",
    "periodic",
    "register_type",
    "set_default_app",
    "weekly",
]

job = _shared.job
periodic = _shared.periodic
before_job = _shared.hooks.before_job
after_job = _shared.hooks.after_job
on_error = _shared.hooks.on_error
middleware = _shared.hooks.middleware
context = _shared.contexts.context
