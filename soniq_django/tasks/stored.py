"""What is kept of a task with its job: as ``{"task": {...}}`` in what surrounds the job (its context).

So a result can be shown, and the job be run, as it was enqueued, whatever the code has become since. The
queue and the priority are columns of the job.
"""

from __future__ import annotations

from datetime import datetime
from functools import lru_cache
from typing import Any

from soniq.errors import InvalidJob, UnknownTask
from soniq.jobs import JSON
from soniq_django.tasks.compat import AnyTask
from soniq_django.tasks.options import USING, task_priority
from soniq_django.tasks.task import SoniqTask, own_options, restored
from soniq_django.times import aware, stored_time

KEY = "task"
ENQUEUED_AT = "enqueued_at"  # kept where the id does not tell


def to_store(task: AnyTask, declared: AnyTask, *, through: str) -> dict[str, JSON]:
    """What ``declared`` does not say of ``task``.

    :param through: alias of the backend that enqueues it, which need not be the task's
    :raises InvalidJob: an option differs that cannot be stored
    """
    kept: dict[str, JSON] = {"backend": through}
    if task.backend != through:
        kept["task_backend"] = task.backend
    if task.run_after is not None:
        kept["run_after"] = aware(task.run_after).isoformat()
    if task is not declared:
        own, known = own_options(task), own_options(declared)
        using = {name: value for name, value in own.items() if value != known.get(name)}
        for name in using:
            if name not in USING:
                raise InvalidJob(
                    f"{name} of {task.module_path} is not what its first declaration says; "
                    "declare it once, and make variants with using()"
                )
        if using:
            kept["using"] = {name: list(v) if isinstance(v, tuple) else v for name, v in using.items()}
    return kept


def kept_of(context: object) -> JSON:
    """What was kept of a task in a job's context; None: the job is none of a task."""
    return context.get(KEY) if isinstance(context, dict) else None


def backend_of(kept: JSON, otherwise: str) -> str:
    """The alias of the backend that enqueued a task; ``otherwise`` where that was not kept."""
    alias = kept.get("backend") if isinstance(kept, dict) else None
    return alias if isinstance(alias, str) else otherwise


def stored_task(declared: AnyTask, kept: JSON, *, queue: str, priority: int) -> AnyTask:
    """The task as it was enqueued, of ``declared`` and what :func:`to_store` kept.

    ``declared`` itself if nothing differs. Never raises: what cannot be read (a row that was edited) is left
    out.
    """
    changes: dict[str, Any] = {"queue_name": queue, "priority": task_priority(priority), "run_after": None}
    if isinstance(kept, dict):
        own = kept.get("task_backend")
        changes["backend"] = own if isinstance(own, str) else backend_of(kept, declared.backend)
        changes["run_after"] = time_in(kept.get("run_after"))
        using = kept.get("using")
        if isinstance(using, dict):
            known = {name: value for name, value in using.items() if name in USING}
            changes |= {name: tuple(v) if isinstance(v, list) else v for name, v in known.items()}
    if all(getattr(declared, name) == value for name, value in changes.items()):
        return declared
    return restored(declared, **changes)


@lru_cache(maxsize=256)
def missing_task(path: str) -> SoniqTask[..., Any]:
    """Stands for a task whose code is gone; calling or enqueueing it is an error that says so."""

    def missing(*_args: Any, **_kwargs: Any) -> None:
        raise UnknownTask(path)

    missing.stands_for_missing = True  # type: ignore[attr-defined]  # what is_missing() looks for

    module, _, name = path.rpartition(".")
    missing.__module__, missing.__qualname__, missing.__name__ = module, name, name
    return restored(_blank(), func=missing)  # type: ignore[return-value]  # a copy has the class of the original


def is_missing(task: AnyTask) -> bool:
    """Whether the task's code is gone: :func:`missing_task` made it."""
    return getattr(task.func, "stands_for_missing", False) is True


def _blank() -> SoniqTask[..., Any]:
    task: SoniqTask[..., Any] = object.__new__(SoniqTask)
    for name, field in SoniqTask.__dataclass_fields__.items():
        object.__setattr__(task, name, None if name == "func" else field.default)
    return task


def time_in(text: object) -> datetime | None:
    """A time that was kept; None if there is none, or none that can be read."""
    try:
        return None if text is None else stored_time(datetime.fromisoformat(str(text)))
    except ValueError:
        return None
