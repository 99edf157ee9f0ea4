"""``SoniqTask``: Django's task with retries, timeouts and uniqueness."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar, Unpack

from django.utils import timezone
from django.utils.module_loading import import_string

from soniq.codec import Missing
from soniq.errors import InvalidJob
from soniq.task import Task as Job
from soniq_django.tasks.compat import AnyTask, Task
from soniq_django.tasks.options import DECLARED, USING, UsingOptions

P = ParamSpec("P")
R = TypeVar("R")

if TYPE_CHECKING:
    _Task = Task
else:

    class _Task:
        """Lets ``_Task[P, R]`` be written: Django's class takes no parameters."""

        def __class_getitem__(cls, _parameters: object) -> type:
            return Task


@dataclass(frozen=True, slots=True, kw_only=True)
class SoniqTask(_Task[P, R]):
    """What ``@task`` makes with our backends. What is None is taken from the backend's OPTIONS, or settings.

    See :class:`soniq.job_options.JobKeywords` for the meaning of the options.
    """

    max_retries: int | None = None
    retry_delay: float | tuple[float, ...] | None = None
    retry_backoff: bool | None = None
    retry_max_delay: float | None = None
    retry_jitter: bool | None = None
    retry_on: type[BaseException] | tuple[type[BaseException], ...] | None = None
    discard_on: type[BaseException] | tuple[type[BaseException], ...] | None = None
    timeout: float | None = None
    unique: bool | None = None
    result_ttl: float | None = None
    missing: Missing | None = None
    atomic: bool | None = None
    dedup_key: str | None = None

    def __post_init__(self) -> None:
        for name in ("retry_delay", "retry_on", "discard_on"):
            if isinstance(getattr(self, name), list):  # else the task could not be hashed
                object.__setattr__(self, name, tuple(getattr(self, name)))
        # Zero-argument super() does not work in a dataclass with slots.
        super(SoniqTask, self).__post_init__()

    def __soniq_job__(self) -> Job[..., Any]:
        """See :class:`soniq.task.JobBehind`. A schedule keeps queue and priority, and nothing else of a copy.

        :raises InvalidJob: it was made with ``using()`` and has another option of its own
        """
        from soniq_django.tasks.job import job_of  # noqa: PLC0415  # built upon this

        job = job_of(self)
        declared = job.task
        if (self.backend, own_options(self)) != (declared.backend, own_options(declared)) or self.run_after:
            raise InvalidJob(
                f"{self.module_path} stands here for its job: of what using() gave it, only queue_name and "
                "priority can be kept"
            )
        return job.placed_as(self)

    def using(
        self,
        *,
        priority: int | None = None,
        queue_name: str | None = None,
        run_after: datetime | timedelta | None = None,
        backend: str | None = None,
        **options: Unpack[UsingOptions],
    ) -> SoniqTask[P, R]:
        """A copy with these options. What is not given stays.

        :param run_after: not before; aware where USE_TZ is on, or a timedelta from now, the time of this call
        :raises InvalidTask: an option is impossible
        """
        core: dict[str, Any] = {
            "priority": priority,
            "queue_name": queue_name,
            "run_after": timezone.now() + run_after if isinstance(run_after, timedelta) else run_after,
            "backend": backend,
        }
        unknown = sorted(set(options) - set(USING))
        if unknown:
            hint = "only @task takes it" if unknown[0] in DECLARED else f"known: {', '.join([*core, *USING])}"
            raise TypeError(f"using() takes no option {unknown[0]!r}; {hint}")
        changes = {name: value for name, value in {**core, **options}.items() if value is not None}
        return replace(self, **changes)

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        kwargs = {field.name: getattr(self, field.name) for field in fields(self)}
        return _unpickled, (type(self), {**kwargs, "func": self.module_path})

    def __deepcopy__(self, memo: dict[int, Any]) -> SoniqTask[P, R]:
        return self  # nothing in it changes


def _unpickled(kind: type[AnyTask], kwargs: dict[str, Any]) -> AnyTask:
    path = kwargs["func"]
    try:
        func = import_string(path).func
    except (ImportError, AttributeError) as error:
        raise ValueError(f"Expected {path!r} to point to a Task instance.") from error
    return kind(**{**kwargs, "func": func})


def own_options(task: AnyTask) -> dict[str, Any]:
    """Those of our options that a task carries; of a task of Django's own class, none."""
    if not isinstance(task, SoniqTask):
        return {}
    return {name: value for name in (*DECLARED, "dedup_key") if (value := getattr(task, name)) is not None}


def restored(task: AnyTask, **changes: Any) -> AnyTask:
    """A copy with changes that nobody validates: settings may have changed since it was enqueued."""
    twin: AnyTask = object.__new__(type(task))
    for field in fields(task):
        object.__setattr__(twin, field.name, changes.get(field.name, getattr(task, field.name)))
    return twin
