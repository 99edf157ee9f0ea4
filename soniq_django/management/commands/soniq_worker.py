"""``manage.py soniq_worker``: run jobs."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
from argparse import ArgumentParser, BooleanOptionalAction
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import CommandError
from django.db import connections

from soniq import BackendUnavailable, ConfigurationError, Soniq
from soniq.execution import Outcome
from soniq.interpreter import change_hands_often, keep_what_is_loaded
from soniq.recycling import Recycling
from soniq.settings import check_queues
from soniq.stopping import end_process_within
from soniq.supervisor import PATIENCE, RELOAD_PATIENCE, SUPERVISED, Supervisor, stop_with_supervisor
from soniq.worker import Worker
from soniq_django.commands.base import WithExamples
from soniq_django.conf import check_metrics_port, current_app, read_settings
from soniq_django.metrics import begin_worker
from soniq_django.progress import Progress
from soniq_django.reloading import watching
from soniq_django.silence import limit_silence_everywhere


class Command(WithExamples):
    """See the help text."""

    help = (
        "Run background jobs until stopped. SIGTERM or Ctrl-C lets running jobs finish and exits "
        "with 0; a second one gives them back and exits at once. While the database is away, or lacks "
        "migrations, the worker waits. Exit code 0: stopped, or through (--run-once, --max-jobs, "
        "--max-memory); 1: a setting cannot be, or the worker failed; 2: the command line cannot be; "
        "128 + N: killed by signal N."
    )

    examples = """
        soniq_worker
        soniq_worker --concurrency 16 --queues emails,default
        soniq_worker --processes 4 --max-jobs 10000 --max-memory 600
        soniq_worker --run-once
        soniq_worker --reload
    """

    is_program = False  # whether manage.py was started to run this command, and nothing else

    def run_from_argv(self, argv: list[str]) -> None:
        """Called by manage.py; other programs use call_command, and go on afterwards."""
        self.is_program = True
        change_hands_often()
        if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            # Until the worker handles signals, Ctrl-C is to end the program as SIGTERM does. The exception
            # that Python makes of it is swallowed where it meets the imports' own callbacks.
            signal.signal(signal.SIGINT, signal.SIG_DFL)
        super().run_from_argv(argv)

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the options; their defaults come from settings.SONIQ."""
        parser.add_argument(
            "--concurrency",
            type=int,
            metavar="N",
            help="jobs at a time (default: SONIQ['CONCURRENCY'], 4)",
        )
        parser.add_argument(
            "--processes",
            type=int,
            metavar="N",
            help="worker processes under one supervisor (default: SONIQ['PROCESSES'], 1)",
        )
        parser.add_argument(
            "--queues",
            metavar="A,B",
            help="run only jobs of these queues (default: SONIQ['QUEUES'], all)",
        )
        parser.add_argument(
            "--run-once",
            action="store_true",
            help="work through everything that is due, each job once, and exit",
        )
        parser.add_argument(
            "--max-jobs",
            type=int,
            metavar="N",
            help="start at most N jobs, finish them and exit with 0; --processes replaces such a worker at "
            "once, without it whoever started the worker has to",
        )
        parser.add_argument(
            "--max-memory",
            type=int,
            metavar="MB",
            help="the same once the process takes more than MB megabytes, looked at whenever jobs have ended",
        )
        parser.add_argument(
            "--reload",
            action="store_true",
            help="for development: watch the code, and replace the worker when it changes; jobs that do not "
            f"finish within {RELOAD_PATIENCE:g} s are given back; works with --processes, too",
        )
        parser.add_argument(
            "--scheduler",
            action=BooleanOptionalAction,
            help="fire schedules, or leave that to other workers (default: SONIQ['SCHEDULER'], True; with "
            "--run-once only if this says so)",
        )
        parser.add_argument(
            "--metrics-port",
            metavar="[HOST:]PORT",
            help="answer scrapes of Prometheus there (default: SONIQ['METRICS_PORT'], nowhere); the Nth "
            "process of --processes answers N - 1 ports further up",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        """Run one worker, or a supervisor of several."""
        app = current_app()
        self.show_log(options["verbosity"])
        try:
            app.backend.check_can_work()
        except ConfigurationError as error:
            raise CommandError(str(error)) from None
        processes = _processes(options["processes"])
        if options["reload"] and options["run_once"]:
            raise CommandError("--reload keeps a worker running and --run-once ends it; give one of them")
        if (processes > 1 or options["reload"]) and SUPERVISED not in os.environ:
            _checked_worker(app, options)
            command, environment = child_command(options)
            if options["reload"]:
                environment[PATIENCE] = str(RELOAD_PATIENCE)
            supervisor = Supervisor(
                command,
                processes,
                environment=environment,
                restart=not options["run_once"],
                shutdown_timeout=app.settings.shutdown_timeout,
            )
            with watching(supervisor.reload) if options["reload"] else nullcontext():
                status = supervisor.run()
            sys.exit(status)
        try:
            self.work(app, options)
        except BackendUnavailable as error:  # only --run-once ever gives up waiting
            raise CommandError(str(error)) from None

    def work(self, app: Soniq, options: dict[str, Any]) -> None:
        """Run one worker in this process."""
        _measure(options)
        talks = options["verbosity"] > 0
        watched = options["run_once"] and talks and SUPERVISED not in os.environ
        with Progress(shown=watched) as progress:
            worker = _checked_worker(app, options, progress.count)
            if options["run_once"]:
                progress.expect(
                    lambda: app.backend.count_due(queues=worker.info.queues, names=tuple(app.registry))
                )
            if talks:
                self.began(app, worker, options)
                self.stdout.flush()
            limit_silence_everywhere()
            connections.close_all()  # from here on the worker's own threads talk to the database
            if self.is_program:
                keep_what_is_loaded()
            asyncio.run(self.run_worker(worker, progress, options))

    async def run_worker(self, worker: Worker, progress: Progress, options: dict[str, Any]) -> None:
        """Run it until it has stopped; as a program, end there if code of a job cannot be ended."""
        loop = asyncio.get_running_loop()
        stop_with_supervisor(lambda: loop.call_soon_threadsafe(worker.stop))
        await worker.run(handle_signals=True)
        progress.close()
        if options["verbosity"] > 0:
            self.ended(worker, options)
        self.stdout.flush()
        if worker.left_behind and self.is_program:
            # A thread cannot be stopped, and a task that swallows its cancellation neither. Both would
            # keep the process, and run beside whoever gets their job next.
            logging.shutdown()
            os._exit(0)
        if self.is_program:
            end_process_within(worker.time_left)

    # -- what it says of itself

    def show_log(self, verbosity: int) -> None:
        """Show what the worker logs, where the project does not."""
        log_to_console(verbosity, self.stderr)

    def began(self, app: Soniq, worker: Worker, options: dict[str, Any]) -> None:
        """Say what runs here; a drain shows how far it is instead."""
        if not options["run_once"]:
            self.stdout.write(banner(app, worker))

    def ended(self, worker: Worker, options: dict[str, Any]) -> None:
        """Say that it has stopped."""
        self.stdout.write(f"Stopped after {worker.processed} {_jobs(worker.processed)}.")


def _measure(options: dict[str, Any]) -> None:
    """Begin with what this process does for metrics besides counting."""
    settings = read_settings()
    try:
        port = check_metrics_port(options["metrics_port"], "--metrics-port")
        if port is None and not options["run_once"]:
            port = settings.metrics_port
        begin_worker(settings.metrics, port)
    except ImproperlyConfigured as error:
        raise CommandError(str(error)) from None


def _checked_worker(
    app: Soniq, options: dict[str, Any], observe: Callable[[Outcome], None] | None = None
) -> Worker:
    try:
        return app.worker(
            concurrency=options["concurrency"] or _default_concurrency(app, options),
            queues=_queue_names(options["queues"]),
            run_once=options["run_once"],
            observe=observe,
            scheduler=options["scheduler"],
            recycling=Recycling(max_jobs=options["max_jobs"], max_memory=options["max_memory"]),
        )
    except ConfigurationError as error:
        raise CommandError(str(error)) from None


def child_command(options: dict[str, Any]) -> tuple[list[str], dict[str, str]]:
    """How to start one worker like this one, and the environment that finds the same code."""
    command = [sys.executable, *(f"-W{option}" for option in sys.warnoptions), "-m", "django"]
    command += ["soniq_worker", f"--verbosity={options['verbosity']}"]
    for name in ("concurrency", "queues", "max_jobs", "max_memory", "metrics_port"):
        if options[name] is not None:
            command.append(f"--{name.replace('_', '-')}={options[name]}")
    if options["run_once"]:
        command.append("--run-once")
    if options["scheduler"] is not None:
        command.append("--scheduler" if options["scheduler"] else "--no-scheduler")
    return command, {
        "DJANGO_SETTINGS_MODULE": os.environ["DJANGO_SETTINGS_MODULE"],
        "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
    }


def banner(app: Soniq, worker: Worker) -> str:
    """What runs here, for whoever starts it."""
    info = worker.info
    names = sorted(app.registry)
    lines = [
        f"soniq worker {info.id}",
        f"  process      {info.pid} on {info.hostname}",
        f"  database     {app.backend.describe()}",
        f"  queues       {', '.join(info.queues) if info.queues else 'all'}",
        f"  concurrency  {info.concurrency}",
        f"  jobs         {', '.join(names) if names else 'none: write @soniq.job in <app>/jobs.py'}",
        "Stop it with Ctrl-C.",
    ]
    return "\n".join(lines)


def log_to_console(verbosity: int, stream: Any) -> None:
    """Show the worker's log where the project has not said what happens to it."""
    logger = logging.getLogger("soniq")
    if logger.hasHandlers():
        return
    handler = logging.StreamHandler(getattr(stream, "_out", sys.stderr))
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)-7s %(message)s"))
    logger.addHandler(handler)
    logger.setLevel({0: logging.WARNING, 1: logging.INFO}.get(verbosity, logging.DEBUG))


def _default_concurrency(app: Soniq, options: dict[str, Any]) -> int:
    """Unlike a drain in a test, one on the command line runs as wide as the worker it stands in for."""
    if options["concurrency"] is not None:  # 0
        raise CommandError("--concurrency is 0: give 1 or more")
    return app.settings.concurrency


def _processes(value: int | None) -> int:
    if value is None:
        return read_settings().processes
    if value < 1:
        raise CommandError(f"--processes is {value}: give 1 or more")
    return value


def _queue_names(value: str | None) -> tuple[str, ...] | None:
    if value is None:
        return None
    try:
        return check_queues([name.strip() for name in value.split(",")])
    except ConfigurationError as error:
        raise CommandError(f"--queues: {error}") from None


def _jobs(count: int) -> str:
    return "job" if count == 1 else "jobs"
