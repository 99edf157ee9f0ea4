"""``manage.py db_worker``: ``soniq_worker`` by the options of django-tasks-db."""

from __future__ import annotations

from argparse import ArgumentParser, BooleanOptionalAction
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.core.management.base import CommandError

from soniq_django.management.commands import soniq_worker
from soniq_django.tasks.backend import SoniqBackend
from soniq_django.tasks.compat import task_backends
from soniq_django.tasks_db.logs import logger, show
from soniq_django.tasks_db.options import backend_alias, interval, max_tasks, worker_id

if TYPE_CHECKING:
    from soniq import Soniq
    from soniq.worker import Worker

ALL = "*"


class Command(soniq_worker.Command):
    """See the help text."""

    help = (
        "Run tasks by the options of django-tasks-db: one at a time, those of the queue 'default' unless "
        "told otherwise. soniq_worker has more to offer, and does the work here, too. Exit codes are its."
    )

    examples = """
        db_worker
        db_worker --queue-name emails,default
        db_worker --queue-name "*" --exclude-queues slow
        db_worker --batch --max-tasks 100
    """

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the options."""
        add = parser.add_argument
        add("--queue-name", default="default", metavar="A,B", help="run tasks of these queues; * = of all")
        add("--exclude-queues", default="", metavar="A,B", help="with --queue-name *: but not of these")
        add("--batch", action="store_true", help="work through everything that is due, and exit")
        add("--max-tasks", type=max_tasks, metavar="N", help="run at most N tasks, and exit")
        add(
            "--reload",
            action=BooleanOptionalAction,
            default=settings.DEBUG,
            help="replace the worker when the code changes (default: DEBUG; never with --batch)",
        )
        add(
            "--backend",
            dest="backend_name",
            type=backend_alias,
            metavar="ALIAS",
            help="the entry of TASKS, if it has several",
        )
        add(
            "--interval",
            type=interval,
            metavar="SECONDS",
            help="without effect: SONIQ['POLL_INTERVAL'] says it, and on PostgreSQL workers are woken",
        )
        add(
            "--worker-id",
            type=worker_id,
            metavar="TEXT",
            help="what the worker is called in what it writes; its id is made anew at each start, so that "
            "nobody takes a new worker for the one that died",
        )
        add(
            "--no-startup-delay",
            dest="startup_delay",
            action="store_false",
            help="without effect: there is no delay",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        """Run a worker."""
        given = {name: value for name, value in options.items() if name not in _OWN}
        parser = soniq_worker.Command().create_parser("manage.py", "soniq_worker")
        super().handle(
            *args,
            **{
                **vars(parser.parse_args([])),
                **given,
                "concurrency": 1,
                "processes": 1,
                "queues": _queues(options),
                "run_once": options["batch"],
                "max_jobs": options["max_tasks"],
                "reload": options["reload"] and not options["batch"],
                "worker_id": options["worker_id"],
            },
        )

    def show_log(self, verbosity: int) -> None:
        """What is logged of tasks; of the worker's own log what somebody has to look at."""
        super().show_log(0)
        show(verbosity, self.stdout)

    def began(self, app: Soniq, worker: Worker, options: dict[str, Any]) -> None:
        """In the words of django-tasks-db."""
        queues = ALL if worker.info.queues is None else ",".join(worker.info.queues)
        logger.info("Starting worker worker_id=%s queues=%s", _name(worker, options), queues)

    def ended(self, worker: Worker, options: dict[str, Any]) -> None:
        """The same."""
        most = options["max_jobs"]
        if most is not None and worker.processed >= most:
            told = "Run maximum tasks (%d) on worker=%s - exiting gracefully."
            logger.info(told, worker.processed, _name(worker, options))
        elif options["run_once"]:
            told = "No more tasks to run for worker_id=%s - exiting gracefully."
            logger.info(told, _name(worker, options))
        else:
            logger.info("Stopped worker_id=%s - exiting gracefully.", _name(worker, options))


_OWN = (
    "queue_name",
    "exclude_queues",
    "batch",
    "max_tasks",
    "backend_name",
    "interval",
    "worker_id",
    "startup_delay",
)


def _name(worker: Worker, options: dict[str, Any]) -> str:
    return options["worker_id"] or worker.info.id


def _queues(options: dict[str, Any]) -> str | None:
    """The queues as ``soniq_worker`` takes them; None = all."""
    backend = _backend(options["backend_name"])
    names = _names(options["queue_name"])
    excluded = _names(options["exclude_queues"])
    if ALL not in names:
        if excluded:
            raise CommandError("--exclude-queues can only be used with --queue-name=*")
        return ",".join(names)
    if not excluded:
        return None
    if not backend.queues:
        raise CommandError(
            f"--exclude-queues: TASKS[{backend.alias!r}] allows any queue; list them in its QUEUES, or name "
            "those that this worker serves with --queue-name"
        )
    left = sorted(backend.queues - excluded)
    if not left:
        raise CommandError(f"--exclude-queues leaves no queue of TASKS[{backend.alias!r}]")
    return ",".join(left)


def _backend(alias: str | None) -> SoniqBackend:
    """The backend whose queues count. Of several entries none may be picked, as they share their workers."""
    entries = {name: task_backends[name] for name in task_backends.settings}
    ours = {name: backend for name, backend in entries.items() if isinstance(backend, SoniqBackend)}
    if alias is not None and alias not in ours:
        known = ", ".join(ours) or "none"
        raise CommandError(f"--backend is {alias!r}: give an entry of TASKS that is a SoniqBackend ({known})")
    if not ours:
        raise CommandError("no entry of TASKS is a soniq_django.tasks.SoniqBackend")
    if alias is not None and len(ours) > 1:
        raise CommandError(
            f"--backend is {alias!r}, but {', '.join(ours)} share their workers; keep them apart by "
            "queues, and leave --backend out"
        )
    return next(iter(ours.values()))


def _names(text: str) -> set[str]:
    return {name.strip() for name in text.split(",")} - {""}
