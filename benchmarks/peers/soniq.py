"""soniq-django: ``manage.py soniq_worker --concurrency 10``."""

from __future__ import annotations

from functools import cache

from benchmarks.peers.base import CONCURRENCY, UUID7, DatabasePeer, NotRun
from benchmarks.processes import run

WORKER = ["-m", "benchmarks.project.manage", "soniq_worker"]


class SoniqPeer(DatabasePeer):
    """Us, with all features at their defaults.

    :param notify: ``settings.SONIQ["NOTIFY"]``; None = its default
    """

    name = "soniq"
    package = "soniq-django"
    module = "soniq_django"
    jobs = "soniq_jobs"
    apps = ("soniq_django",)
    tables = ("soniq_jobs", "soniq_dead_letter_jobs", "soniq_workers")
    stored = "soniq_jobs"
    outcomes = "soniq_jobs WHERE status = 'done'"
    identity = {"id": UUID7, "args": "jsonb_build_object('n', n)"}
    delayed = {"scheduled_at": "now() + interval '1 day'"}
    done = {
        "status": "'done'",
        "attempts": "1",
        "started_at": "now()",
        "finished_at": "now()",
        "expires_at": "now() + interval '1 day'",
    }
    waiting = "status = 'queued'"

    def __init__(self, variant: str = "", *, notify: bool | None = None) -> None:
        super().__init__(variant)
        self._notify = notify

    def install(self) -> None:
        """See the base class."""
        if self._notify is not None:
            self.environment["SONIQ_BENCH_NOTIFY"] = str(int(self._notify))
            try:
                run(["-m", "benchmarks.project.manage", "check"], self.environment)
            except RuntimeError as error:
                if "unknown key" in str(error):
                    raise NotRun("this version has no setting NOTIFY") from None
                raise

    def start_worker(self, processes: int = 1) -> None:
        """See the base class."""
        if processes > 1 and _has_processes():
            self._processes = processes
            super().start_worker(1)
        else:
            self._processes = 1
            super().start_worker(processes)

    def worker_command(self) -> list[str]:
        """See the base class."""
        command = [*WORKER, "--concurrency", str(CONCURRENCY), "--verbosity", "0"]
        return [*command, "--processes", str(self._processes)] if self._processes > 1 else command


@cache
def _has_processes() -> bool:
    environment = {
        "SONIQ_BENCH_DATABASE": "postgresql:///none",
        "SONIQ_BENCH_APPS": "soniq_django",
        "DJANGO_SETTINGS_MODULE": "benchmarks.project.settings",
    }
    return "--processes" in run([*WORKER, "--help"], environment)
