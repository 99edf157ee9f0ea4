"""Types of options that django-tasks-db has, which refuse what it refuses, in its words."""

from __future__ import annotations

import math
from argparse import ArgumentTypeError

from django.core.exceptions import ImproperlyConfigured

from soniq_django.tasks.backend import SoniqBackend
from soniq_django.tasks.compat import task_backends

LONGEST_ID = 64  # characters of a worker's id


def backend_alias(text: str) -> str:
    """The alias of an entry of TASKS that is ours."""
    try:
        backend = task_backends[text]
    except ImproperlyConfigured as error:
        raise ArgumentTypeError(str(error)) from None
    if not isinstance(backend, SoniqBackend):
        raise ArgumentTypeError(
            f"Backend {text!r} is not a database backend: give one that is a SoniqBackend"
        )
    return text


def interval(text: str) -> float:
    """Seconds between two looks."""
    seconds = float(text)
    if not math.isfinite(seconds):
        raise ArgumentTypeError("Must be a finite floating point value")
    if seconds < 0:
        raise ArgumentTypeError("Must be zero or greater")
    return seconds


def max_tasks(text: str) -> int:
    """How many tasks a worker runs."""
    number = int(text)
    if number <= 0:
        raise ArgumentTypeError("Must be greater than zero")
    return number


def worker_id(text: str) -> str:
    """What a worker is called."""
    if not text:
        raise ArgumentTypeError("Worker id must not be empty")
    if len(text) > LONGEST_ID:
        raise ArgumentTypeError(f"Worker ids must be shorter than {LONGEST_ID} characters")
    return text


def age_in_days(text: str) -> int:
    """How old a result is, at least; 0: any."""
    number = int(text)
    if number < 0:
        raise ArgumentTypeError("Must be greater than zero, or zero")
    return number
