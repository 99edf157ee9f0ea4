"""``manage.py soniq_worker``: run jobs."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import connections

from soniq import ConfigurationError, Soniq
from soniq.settings import check_queues
from soniq.worker import Worker
from soniq_django.backend import DjangoBackend
from soniq_django.conf import current_app
from soniq_django.progress import Progress


class Command(BaseCommand):
    """See the help text."""

    help = (
        "Run background jobs until stopped. SIGTERM or Ctrl-C lets running jobs finish and exits "
        "with 0; a second one gives them back and exits at once."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the options; their defaults come from settings.SONIQ."""
        parser.add_argument(
            "--concurrency",
            type=int,
            metavar="N",
            help="jobs at a time (default: SONIQ['CONCURRENCY'], 4)",
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

    def handle(self, *args: Any, **options: Any) -> None:
        """Run one worker."""
        app = current_app()
        log_to_console(options["verbosity"], self.stderr)
        with Progress(shown=options["run_once"] and options["verbosity"] > 0) as progress:
            try:
                worker = app.worker(
                    concurrency=options["concurrency"] or _default_concurrency(app, options),
                    queues=_queue_names(options["queues"]),
                    run_once=options["run_once"],
                    observe=progress.count,
                )
            except ConfigurationError as error:
                raise CommandError(str(error)) from None
            if options["run_once"]:
                progress.expect(lambda: app.backend.count_due(queues=worker.info.queues))
            elif options["verbosity"] > 0:
                self.stdout.write(banner(app, worker))
            connections.close_all()  # from here on the worker's own threads talk to the database
            asyncio.run(worker.run(handle_signals=True))
        if options["verbosity"] > 0:
            self.stdout.write(f"Stopped after {worker.processed} {_jobs(worker.processed)}.")
        self.stdout.flush()
        if worker.abandoned_threads:
            # A thread that its job never gave back cannot be stopped; it ends with the process.
            logging.shutdown()
            os._exit(0)


def banner(app: Soniq, worker: Worker) -> str:
    """What runs here, for whoever starts it."""
    info = worker.info
    names = sorted(app.registry)
    lines = [
        f"soniq worker {info.id}",
        f"  process      {info.pid} on {info.hostname}",
        f"  queues       {', '.join(info.queues) if info.queues else 'all'}",
        f"  concurrency  {info.concurrency}",
        f"  jobs         {', '.join(names) if names else 'none: write @soniq.job in <app>/jobs.py'}",
    ]
    backend = app.backend
    if isinstance(backend, DjangoBackend):
        alias = backend.alias
        lines.insert(2, f"  database     {alias} ({connections[alias].display_name})")
    return "\n".join([*lines, "Stop it with Ctrl-C."])


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


def _queue_names(value: str | None) -> tuple[str, ...] | None:
    if value is None:
        return None
    try:
        return check_queues([name.strip() for name in value.split(",")])
    except ConfigurationError as error:
        raise CommandError(f"--queues: {error}") from None


def _jobs(count: int) -> str:
    return "job" if count == 1 else "jobs"
