"""Which jobs exist: a name for each, and suggestions for names that do not."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable, Iterable, Iterator
from typing import Any, ParamSpec, Protocol, TypeAlias, TypeVar, Unpack, cast, overload

from soniq.contexts import Contexts
from soniq.declarations import Declaration, PeriodicKeywords, declaration, split
from soniq.errors import InvalidJob, InvalidSchedule, UnknownTask
from soniq.hooks import Hooks
from soniq.job_options import MAX_NAME, JobKeywords, JobOptions, check_name, default_name
from soniq.task import JobBehind, Producer, Task

Resolver: TypeAlias = Callable[[str], Task[..., Any] | None]

P = ParamSpec("P")
R = TypeVar("R")
J = TypeVar("J", bound=JobBehind)


class JobDecorator(Protocol):
    """What ``@job(...)`` with options gives: makes a function a job.

    A class of its own and no ``Callable``, because it is by its name that :mod:`soniq.mypy_plugin` knows it.
    """

    def __call__(self, fn: Callable[P, R], /) -> Task[P, R]:
        """Make ``fn`` a job."""
        ...


class PeriodicDecorator(Protocol):
    """What ``@periodic(...)`` gives: makes a function a job with a schedule, or gives one to a job."""

    @overload
    def __call__(self, fn: J, /) -> J: ...
    @overload
    def __call__(self, fn: Callable[P, R], /) -> Task[P, R]: ...
    def __call__(self, fn: Any, /) -> Any:
        """Make ``fn`` a job with a schedule, or give one to the job that it is."""
        ...


class Registry:
    """Jobs and hooks by name. A registry with a parent also finds what the parent holds.

    :param producer: gives the app that the tasks of this registry enqueue to
    """

    def __init__(self, producer: Callable[[], Producer], parent: Registry | None = None) -> None:
        self._producer = producer
        self._parent = parent
        self._tasks: dict[str, Task[..., Any]] = {}
        self._declarations: dict[str, Declaration] = {}
        self._own_hooks = Hooks()
        self._resolver: Resolver | None = None
        self._unresolved: set[str] = set()
        self.contexts: Contexts = Contexts(None if parent is None else parent.contexts)

    @overload
    def job(self, fn: Callable[P, R], /) -> Task[P, R]: ...
    @overload
    def job(self, fn: None = None, /, **options: Unpack[JobKeywords]) -> JobDecorator: ...
    def job(self, fn: Callable[..., Any] | None = None, /, **options: Unpack[JobKeywords]) -> Any:
        """Make a function a job. Bare (``@job``) or with options (``@job(queue="emails")``).

        :raises InvalidJob: an option is impossible, or the name is taken by another function
        """
        if fn is not None:
            return self._register(fn, options)
        return lambda fn: self._register(fn, options)

    def periodic(self, **options: Unpack[PeriodicKeywords]) -> PeriodicDecorator:
        """Make a function a job that a schedule enqueues again and again.

        ``@periodic(cron="0 3 * * *", timezone="Europe/Berlin", queue="reports")``: the options of a schedule
        (:class:`soniq.schedule_specs.ScheduleKeywords`) and those of ``@job``. Workers that start bring it to
        the database, where it can be paused and changed. Put on a job, or on what stands for one (a task of
        Django's Tasks on our backend), it gives that one a schedule.

        :raises InvalidSchedule: the rule or another option of the schedule is impossible
        :raises InvalidJob: an option of the job is, or there are some although it is a job already
        :raises InvalidArguments: the job cannot be called with ``args``
        """
        of_schedule, of_job = split(options)

        def declare(fn: Any) -> Any:
            task = fn.__soniq_job__() if isinstance(fn, JobBehind) else fn
            if not isinstance(task, Task):
                fn = task = self._register(task, of_job)
            elif of_job:
                names = ", ".join(sorted(of_job))
                raise InvalidJob(f"{task.name} is a job already; give {names} where it is made one")
            made = declaration(task, of_schedule)
            taken = self._declarations.get(made.name)
            if taken is not None and taken.task.name != task.name:
                raise InvalidSchedule(
                    f"the schedule name {made.name!r} is taken by {taken.task.name}; "
                    "give another schedule_name="
                )
            self._declarations[made.name] = made
            return fn

        return declare

    def declarations(self) -> dict[str, Declaration]:
        """The schedules that code declares, by name; the parent's included."""
        return {**({} if self._parent is None else self._parent.declarations()), **self._declarations}

    def get(self, name: str) -> Task[..., Any]:
        """The job of this name.

        :raises UnknownTask: there is none; suggests the nearest name
        """
        task = self.find(name)
        if task is None:
            near = difflib.get_close_matches(name, list(self), n=1) or [
                known for known in self if known.rpartition(".")[2] == name
            ]
            raise UnknownTask(name, near[0] if near else None)
        return task

    def find(self, name: str) -> Task[..., Any] | None:
        """The job of this name, or None."""
        task = self._tasks.get(name)
        if task is None and self._parent is not None:
            return self._parent.find(name)
        return task

    def add(self, task: Task[..., Any]) -> None:
        """Hold a task that was made elsewhere, in the place of one of the same name and function.

        :raises InvalidJob: the name is taken by another function
        """
        self._check_free(task.name, task.fn)
        self._tasks[task.name] = task

    def resolve_with(self, resolver: Resolver | None) -> None:
        """Ask ``resolver`` for names that nothing here has. It may import their code; None = there is none.

        It is asked once for each name, and only by :meth:`learn`.
        """
        self._resolver = resolver
        self._unresolved.clear()

    @property
    def learns(self) -> bool:
        """Whether somebody can be asked for names that are unknown."""
        return self._resolver is not None or (self._parent is not None and self._parent.learns)

    def learn(self, names: Iterable[str]) -> bool:
        """Find the code of names that are unknown. True: there is now one that was unknown before."""
        unknown = {name for name in names if self.find(name) is None}
        learned = self._parent is not None and self._parent.learn(unknown)
        if self._resolver is not None:
            for name in sorted(unknown - self._unresolved):
                task = self.find(name) or self._resolver(name)
                if task is None:
                    self._unresolved.add(name)
                    continue
                self._tasks.setdefault(name, task)
                learned = True
        return learned

    def __iter__(self) -> Iterator[str]:
        """All names, the parent's included."""
        yield from self._tasks
        if self._parent is not None:
            yield from (name for name in self._parent if name not in self._tasks)

    def __len__(self) -> int:
        return sum(1 for _ in self)

    @property
    def hooks(self) -> Hooks:
        """The hooks of this registry, to register more."""
        return self._own_hooks

    def all_hooks(self) -> Hooks:
        """The parent's hooks, then those of this registry."""
        if self._parent is None:
            return self._own_hooks
        return self._parent.all_hooks().joined(self._own_hooks)

    def _register(self, fn: Callable[P, R], options: JobKeywords) -> Task[P, R]:
        check_function(fn)
        keywords = cast("dict[str, Any]", dict(options))
        explicit = keywords.pop("name", None)
        name = default_name(fn) if explicit is None else check_name(explicit)
        if len(name) > MAX_NAME:
            raise InvalidJob(f"{name!r} is longer than {MAX_NAME} characters; give it a name=")
        self._check_free(name, fn)
        task: Task[P, R] = Task(
            fn,
            name=name,
            options=JobOptions.from_keywords(cast("JobKeywords", keywords)),
            producer=self._producer,
        )
        self._tasks[name] = task
        return task

    def _check_free(self, name: str, fn: Callable[..., Any]) -> None:
        taken = self._tasks.get(name)
        if taken is not None and default_name(taken.fn) != default_name(fn):
            raise InvalidJob(
                f"the job name {name!r} is taken by {default_name(taken.fn)}; "
                f"give {default_name(fn)} another name="
            )


def check_function(fn: object) -> None:
    """Refuse what cannot be a job."""
    if isinstance(fn, Task):
        raise InvalidJob(f"{fn.name} is a job already")
    if not (inspect.isfunction(fn) or inspect.ismethod(fn)):
        raise InvalidJob(f"{fn!r} is not a function; only functions can be jobs")
    if inspect.isgeneratorfunction(fn) or inspect.isasyncgenfunction(fn):
        raise InvalidJob(f"{default_name(fn)} is a generator function: a call would run none of it")
