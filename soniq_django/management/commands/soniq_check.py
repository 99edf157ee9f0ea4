"""``manage.py soniq_check``: say which stored jobs and schedules this code cannot run."""

from __future__ import annotations

import json
import sys
from argparse import ArgumentParser
from dataclasses import asdict
from datetime import datetime
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import CommandError
from django.utils import timezone

from soniq import BackendError, BackendNotReady
from soniq.backend import StorageBackend
from soniq.check import Finding, Report, check_jobs
from soniq.durations import rough
from soniq.registry import Registry
from soniq.schedule_check import ScheduleFinding, check_schedules
from soniq.visible import visible_line
from soniq_django.commands.base import IMPOSSIBLE, WithExamples
from soniq_django.commands.options import add_database, add_json
from soniq_django.commands.places import place
from soniq_django.commands.tables import counted
from soniq_django.conf import current_app, read_settings
from soniq_django.progress import progress_bar

FOUND = 1


class Command(WithExamples):
    """See the help text."""

    help = (
        "Say which stored jobs this code cannot run: jobs whose name it does not have, and jobs with "
        "arguments that it refuses. Looks at waiting, delayed and running jobs and at schedules in the "
        "database that SONIQ['DATABASE'] names, at unapplied migrations of soniq_django, and changes "
        "nothing. "
        "Exit code 0: all is well; 1: something was found; 2: it could not be checked."
    )
    examples = """
        soniq_check
        soniq_check --sample 1000
        soniq_check --json
    """
    # Django's own checks open the database, too, and what they meet there would be no exit code 2.
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the options."""
        add_json(parser, "the report as one JSON object")
        add_database(parser)
        parser.add_argument(
            "--sample",
            type=int,
            metavar="N",
            help="look at the arguments of the N oldest jobs only (default: of all; names are always all "
            "looked at)",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        """Check, report, and leave with the exit code that the help promises."""
        sample = options["sample"]
        if sample is not None and sample < 0:
            raise CommandError(f"--sample is {sample}: give 0 or more", returncode=IMPOSSIBLE)
        try:
            read_settings()  # without an impossible setting there is an app
            app, database = current_app(), options["database"]
            backend = app.backend if database is None else place(database).backend
            report = self._checked(backend, app.registry, sample, shown=options["verbosity"] > 0)
            schedules = check_schedules(backend, app.registry)
        except BackendNotReady as error:
            self._not_ready(error, as_json=options["json"])
            sys.exit(FOUND)
        except (BackendError, ImproperlyConfigured) as error:
            raise CommandError(f"cannot check: {error}", returncode=IMPOSSIBLE) from None
        if options["json"]:
            self.stdout.write(json.dumps(as_json(report, schedules), indent=2))
        else:
            self._tell(report, schedules, verbosity=options["verbosity"])
        self.stdout.flush()
        if report.findings or schedules:
            sys.exit(FOUND)

    def _checked(
        self, backend: StorageBackend, registry: Registry, sample: int | None, *, shown: bool
    ) -> Report:
        """The report; on a terminal with a progress bar while it takes its time."""
        backend.check_ready()
        with progress_bar(unit="job", shown=shown) as bar:

            def progress(done: int, total: int) -> None:
                bar.total = total
                bar.update(done - bar.n)

            return check_jobs(backend, registry, sample=sample, progress=progress)

    def _not_ready(self, error: BackendNotReady, *, as_json: bool) -> None:
        if as_json:
            report = {"ok": False, "unapplied_migrations": list(error.missing), "problem": str(error)}
            self.stdout.write(json.dumps(report, indent=2))
        else:
            self.stdout.write(f"{error}\nWhat jobs there are was not looked at.")
        self.stdout.flush()

    def _tell(self, report: Report, schedules: list[ScheduleFinding], *, verbosity: int) -> None:
        now = timezone.now()
        for finding in report.findings:
            self.stdout.write(_line(finding, now))
        for schedule in schedules:
            self.stdout.write(_schedule_line(schedule))
        if report.findings:
            count = sum(finding.count for finding in report.findings)
            self.stdout.write(f"This code cannot run {count:,} of {counted(report.live, 'job')}.")
        if schedules:
            self.stdout.write(f"This code cannot fire {counted(len(schedules), 'schedule')}.")
        if not report.findings and not schedules and verbosity > 0:
            self.stdout.write(f"This code can run all there is: {counted(report.live, 'job')}.")
        if report.examined < report.live and verbosity > 0:
            self.stdout.write(f"The arguments of {report.examined:,} were looked at.")


def as_json(report: Report, schedules: list[ScheduleFinding]) -> dict[str, Any]:
    """The report for programs."""
    findings = [{**asdict(finding), "oldest": finding.oldest.isoformat()} for finding in report.findings]
    return {
        "ok": not findings and not schedules,
        "unapplied_migrations": [],
        "live": report.live,
        "examined": report.examined,
        "findings": findings,
        "schedules": [
            {
                **asdict(finding),
                "next_fire_at": None if finding.next_fire_at is None else finding.next_fire_at.isoformat(),
            }
            for finding in schedules
        ],
    }


def _line(finding: Finding, now: datetime) -> str:
    age = rough((now - finding.oldest).total_seconds())
    # Names are shown as Python would write them if they hold what would spoil the line.
    name, queue = (text if text.isprintable() else repr(text) for text in (finding.job_name, finding.queue))
    example = "" if finding.example is None else f" (such as {finding.example})"
    jobs = counted(finding.count, "job")
    return (
        f"{name}: {jobs} {finding.status} in {queue}, the oldest enqueued {age} ago: "
        f"{finding.reason}{example}"
    )


def _schedule_line(finding: ScheduleFinding) -> str:
    name, job = visible_line(finding.name), visible_line(finding.job_name)
    of = "" if name == job else f" of {job}"
    return f"schedule {name}{of}, {finding.status}: {finding.reason}"
