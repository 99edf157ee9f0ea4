"""PgQueuer: what ``pgq run`` does, on asyncpg and uvloop, with its default batch of 10 and with 100."""

from __future__ import annotations

import importlib.util

from benchmarks.peers.base import DatabasePeer
from benchmarks.processes import run


class PgQueuerPeer(DatabasePeer):
    """No cap on concurrency (its default), durable tables.

    :param batch: jobs per claim and per completion
    """

    name = "pgqueuer"
    package = "pgqueuer"
    module = "pgqueuer"
    jobs = "pgqueuer_jobs"
    tables = ("pgqueuer", "pgqueuer_log", "pgqueuer_statistics")
    stored = "pgqueuer"
    outcomes = "pgqueuer_log WHERE status = 'successful'"
    committed = "created"  # its workers update the rows when they make up statistics
    identity = {
        "id": "nextval(pg_get_serial_sequence('pgqueuer', 'id'))",
        "payload": "'\\x' || encode(convert_to(format('{\"n\": %s}', n), 'UTF8'), 'hex')",
    }
    delayed = {"execute_after": "now() + interval '1 day'"}
    triggers = True

    def __init__(self, variant: str = "", *, batch: int = 10) -> None:
        super().__init__(variant)
        self._batch = batch

    def missing(self) -> str | None:
        """See the base class."""
        if reason := super().missing():
            return reason
        if importlib.util.find_spec("asyncpg") is None:
            return "asyncpg is not installed; pip install -e '.[bench]'"
        return None

    def install(self) -> None:
        """See the base class."""
        self.environment["PGQUEUER_PG_DSN"] = self.environment["SONIQ_BENCH_DATABASE"]
        dsn = self.environment["SONIQ_BENCH_DATABASE"]
        run(["-m", "pgqueuer", "--pg-dsn", dsn, "install"], self.environment)

    def multiply(self, first: int, count: int, kind: str, state: str = "queued") -> None:
        """See the base class. Finished jobs are rows of its log, and nowhere else."""
        if state != "finished":
            super().multiply(first, count, kind, state)
            return
        self.execute(
            "INSERT INTO pgqueuer_log (job_id, status, priority, entrypoint, aggregated) "
            f"SELECT n, 'successful', 0, '{kind}', true FROM generate_series(1, {count}) AS n"
        )
        self.settle("pgqueuer_log")
        self.already = self.count_finished()

    def worker_command(self) -> list[str]:
        """See the base class."""
        return ["-m", "benchmarks.project.work.pgqueuer_jobs", str(self._batch)]
