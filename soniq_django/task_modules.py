"""Finding tasks: the modules ``<app>.tasks``, and those that a waiting job names.

A worker that sees a job of a name it does not know may import the module that the name says. Names stand
in the table, and whoever writes there should gain nothing by it, so:

- only modules of installed apps and of the package that holds the settings are imported;
- what is found there must be a task of Django's Tasks, or it is not run.
"""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from typing import Any

from django.apps import apps
from django.conf import settings
from django.core import checks
from django.utils.module_loading import autodiscover_modules, import_string

from soniq.default import shared
from soniq.errors import InvalidJob
from soniq.steady import get_logger

logger = get_logger("soniq.tasks")

MODULE = "tasks"


def discover() -> None:
    """If TASKS names one of our backends, import the tasks of all apps, and let workers find others."""
    if not _in_use():
        shared.resolve_with(None)
        return
    from soniq_django.tasks.job import settings_changed  # noqa: PLC0415  # needs the Tasks API

    settings_changed()
    shared.resolve_with(find_job)
    autodiscover_modules(MODULE)


def find_job(name: str) -> Any:
    """The job of the task that a dotted path names, or None."""
    from soniq_django.tasks.compat import Task  # noqa: PLC0415  # only projects with TASKS need them
    from soniq_django.tasks.job import job_of  # noqa: PLC0415  # as above

    module, _, attribute = name.rpartition(".")
    if not attribute.isidentifier() or not _is_ours(module):
        return None
    try:
        found = getattr(import_module(module), attribute, None)
        known = shared.find(name)  # importing it has made it known, whatever it is called there
        if known is None and isinstance(found, Task) and found.module_path == name:
            known = job_of(found)
    except InvalidJob as error:
        logger.warning("the task %r cannot be run: %s", name, error)
        return None
    except Exception:
        logger.exception("the module of the task %r cannot be imported; its jobs wait", name)
        return None
    return known


@checks.register
def check_backport(**_kwargs: Any) -> list[checks.CheckMessage]:
    """Before Django 6.0, the app that runs the checks of task backends, and logs what their signals say."""
    if find_spec("django.tasks") is not None or apps.is_installed("django_tasks") or not _in_use():
        return []
    return [
        checks.Warning(
            "TASKS names a backend of soniq_django.tasks, but 'django_tasks' is not installed.",
            hint="Add 'django_tasks' to INSTALLED_APPS: it checks TASKS, and logs tasks that fail.",
            id="soniq.tasks.W001",
        )
    ]


def _is_ours(module: str) -> bool:
    """Whether a module belongs to an installed app, or to the project's own package."""
    if not all(part.isidentifier() for part in module.split(".")):
        return False
    project = (getattr(settings, "SETTINGS_MODULE", None) or "").partition(".")[0]
    packages = [config.name for config in apps.get_app_configs()]
    return any(module == one or module.startswith(f"{one}.") for one in [*packages, project] if one)


def _in_use() -> bool:
    """Whether an entry of TASKS names one of our backends. Entries that are wrong are left to the checks."""
    entries = getattr(settings, "TASKS", None)
    if not isinstance(entries, dict) or (find_spec("django.tasks") or find_spec("django_tasks")) is None:
        return False
    from soniq_django.tasks.base import SoniqTaskBackend  # noqa: PLC0415  # needs the Tasks API

    for entry in entries.values():
        try:
            backend = import_string(entry["BACKEND"])
        except Exception:  # noqa: BLE001, S112  # `check` says what is wrong with it
            continue
        if isinstance(backend, type) and issubclass(backend, SoniqTaskBackend):
            return True
    return False
