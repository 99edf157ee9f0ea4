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
    JobTimeout,
    NotConfigured,
    PayloadTooLarge,
    ReferenceGone,
    SoniqError,
    UnknownTask,
)
from soniq.hooks import MetricsSink
from soniq.jobs import DeadLetterReason, JobContext, JobStatus, Snooze
from soniq.records import DeadLetter, DeadLetterFilter, DeadLetterStats
from soniq.retry import RetryPolicy
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
    "JobContext",
    "JobStatus",
    "JobTimeout",
    "MetricsSink",
    "NotConfigured",
    "PayloadTooLarge",
    "ReferenceGone",
    "RetryPolicy",
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
    "default_app",
    "get_default_app",
    "job",
    "middleware",
    "on_error",
    "register_type",
    "set_default_app",
]

job = _shared.job
before_job = _shared.hooks.before_job
after_job = _shared.hooks.after_job
on_error = _shared.hooks.on_error
middleware = _shared.hooks.middleware
context = _shared.contexts.context
