"""What a worker writes, in the words of django-tasks-db: for whoever watches its output."""

from __future__ import annotations

import logging
from typing import Any

from django.conf import settings

from soniq_django.tasks.compat import IN_DJANGO

TASKS_LOGGER = "django.tasks" if IN_DJANGO else "django_tasks"

logger = logging.getLogger("soniq_django.tasks_db")


class Shown(logging.StreamHandler):  # type: ignore[type-arg]  # the stubs make it generic, Python 3.11 does not
    """A handler of ours, which goes along when the command is called again with another stream."""


def show(verbosity: int, stream: Any) -> None:
    """Write what is logged of tasks and of the worker to ``stream``, where the project has not said who does.

    :param verbosity: 0 = nothing, 1 = starts and ends of tasks, more = also what is enqueued
    """
    for one in (logger, logging.getLogger(TASKS_LOGGER)):
        one.setLevel({0: logging.CRITICAL, 1: logging.INFO}.get(verbosity, logging.DEBUG))
        ours = [handler for handler in one.handlers if isinstance(handler, Shown)]
        for handler in ours:
            handler.setStream(stream)
        if not ours and _is_unheard(one):
            one.addHandler(Shown(stream))


def _is_unheard(one: logging.Logger) -> bool:
    if not one.hasHandlers():
        return True
    # Django's own settings have handlers, which outside DEBUG keep to themselves what is no error.
    usual = not settings.LOGGING and not settings.DEBUG
    return usual and not one.handlers and not logging.root.handlers
