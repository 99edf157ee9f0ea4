"""What the figures ask of a peer, and what peers that keep their jobs in PostgreSQL have in common."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import shutil
import time
from typing import Any, ClassVar, Protocol

import psycopg

from benchmarks.processes import ROOT, Program, run
from benchmarks.server import Server
from benchmarks.tally import Tally

CONCURRENCY = 10
POLL = 0.05  # seconds between two looks at how far the workers are
RECORDING = 20  # seconds that outcomes may take to reach the database after the last job ran

# SQL for an id of job n of many, which sort as they were made: UUIDv7, as `soniq.ids` makes them.
UUID7 = (
    "(lpad(to_hex((extract(epoch FROM now()) * 1000)::bigint + n / 4096), 12, '0') || '7' || "
    "lpad(to_hex(mod(n, 4096)), 3, '0') || '8' || left(md5(n::text), 15))::uuid"
)


class NotRun(Exception):
    """This cannot be measured here; the message says why."""


class Failed(Exception):
    """A measurement went wrong; the message says how."""


class Peer(Protocol):
    """A queue under test. ``name`` is the product, ``variant`` how it is set up, "" the usual way."""

    name: str
    variant: str
    asynchronous: bool  # it has async jobs of its own

    @property
    def label(self) -> str:
        """Name and variant."""

    def missing(self) -> str | None:
        """Why it cannot run here; None if it can."""

    def setup(self, server: Server) -> None:
        """Make its database and tables, once."""

    def reset(self, size: int) -> Tally:
        """Forget all jobs; return a new tally for ``size`` jobs."""

    def enqueue(self, first: int, count: int, kind: str) -> None:
        """Store jobs ``first … first + count - 1`` by its bulk call."""

    def start_worker(self, processes: int = 1) -> None:
        """Start worker processes for everything that is queued. Figures do not time this."""

    def wait_done(self, count: int, seconds: float) -> bool:
        """Wait until ``count`` jobs ran and their outcomes are stored. False: not within ``seconds``."""

    def finished(self) -> list[tuple[float, int]]:
        """How many outcomes were committed when, by the database's clock, in order."""

    def stop(self) -> None:
        """Stop the workers."""

    def cleanup(self) -> None:
        """Give back what :meth:`setup` took."""


class DatabasePeer:
    """A peer whose jobs are rows. Subclasses say which."""

    name: ClassVar[str]
    package: ClassVar[str]  # as PyPI calls it
    module: ClassVar[str]  # as Python calls it
    jobs: ClassVar[str]  # the module in benchmarks.project.work that declares its jobs
    apps: ClassVar[tuple[str, ...]] = ()
    asynchronous: ClassVar[bool] = True
    bulk: ClassVar[bool] = True  # it has a call that enqueues many jobs at once

    tables: ClassVar[tuple[str, ...]]  # emptied before each measurement
    stored: ClassVar[str]  # the table that enqueueing writes to
    outcomes: ClassVar[str]  # what follows FROM to find one row per finished job
    committed: ClassVar[str] = "pg_xact_commit_timestamp(xmin)"  # when; if nothing updates the row later

    def __init__(self, variant: str = "", **producer: Any) -> None:
        self.variant = variant
        self._producer_options = producer
        self._workers: list[Program] = []
        self._connection: psycopg.Connection[Any] | None = None
        self._tally: Tally | None = None
        self._runs = 0
        self.already = 0  # finished jobs that were there before the measurement
        self.server: Server

    @property
    def label(self) -> str:
        """See :class:`Peer`."""
        return f"{self.name} {self.variant}".strip()

    @property
    def version(self) -> str:
        """Which release is measured."""
        return importlib.metadata.version(self.package)

    @property
    def database(self) -> str:
        """What :class:`benchmarks.server.Server` calls its database."""
        return "".join(letter if letter.isalnum() else "_" for letter in self.label)

    def missing(self) -> str | None:
        """See :class:`Peer`."""
        if importlib.util.find_spec(self.module) is None:
            return f"{self.package} is not installed; pip install -e '.[bench]'"
        return None

    # -- setting up

    def setup(self, server: Server) -> None:
        """See :class:`Peer`."""
        self.server = server
        url = server.create(self.database)
        self.directory = server.directory / self.database
        self.directory.mkdir()
        self.environment = {
            "SONIQ_BENCH_DATABASE": url,
            "SONIQ_BENCH_APPS": ",".join(self.apps),
            "DJANGO_SETTINGS_MODULE": "benchmarks.project.settings",
            "PYTHONWARNINGS": "ignore",
            "PYTHONPATH": str(ROOT),
        }
        run(["-m", "benchmarks.project.manage", "migrate", "--run-syncdb", "-v0"], self.environment)
        self._connection = psycopg.connect(url, autocommit=True)
        self.install()
        self.execute("INSERT INTO work_item (name) SELECT 'item ' || n FROM generate_series(1, 1000) n")

    def install(self) -> None:
        """Whatever else the peer needs in its database."""

    def cleanup(self) -> None:
        """See :class:`Peer`."""
        self.stop()
        if self._connection is not None:
            self._connection.close()

    def reset(self, size: int) -> Tally:
        """See :class:`Peer`."""
        self.execute(f"TRUNCATE {', '.join([*self.tables, 'work_effect'])} RESTART IDENTITY CASCADE")
        if self._tally is not None:
            shutil.rmtree(self._tally.directory, ignore_errors=True)
        self._runs += 1
        self.already = 0
        self._tally = Tally(self.directory / f"tally-{self._runs}", size)
        return self._tally

    # -- enqueueing

    def enqueue(self, first: int, count: int, kind: str) -> None:
        """See :class:`Peer`."""
        if count:
            self.produce(kind, "bulk", first=first, count=count)

    def produce(self, kind: str, action: str, **arguments: Any) -> dict[str, Any]:
        """Let a process of its own enqueue; see :mod:`benchmarks.producer`."""
        out = run(self.producer(kind, action, **arguments), self.child_environment)
        return json.loads(out.splitlines()[-1])

    def producer(self, kind: str, action: str, **arguments: Any) -> list[str]:
        """The command that :meth:`produce` runs."""
        given = json.dumps(arguments | {"options": self._producer_options})
        module = f"benchmarks.project.work.{self.jobs}"
        return ["-m", "benchmarks.producer", module, kind, action, given]

    def count_stored(self) -> int:
        """How many jobs are stored, in any state."""
        return int(self.query(f"SELECT count(*) FROM {self.stored}")[0][0])

    def multiply(self, first: int, count: int, kind: str, state: str = "queued") -> None:
        """Store ``count`` jobs by copying one that the peer's own call stored.

        :param first: its number, from where the others count up
        :param state: ``"queued"``, ``"delayed"`` by a day, or ``"finished"``
        """
        self.enqueue(first, 1, kind)
        columns = {"queued": {}, "delayed": self.delayed, "finished": self.done}[state]
        with self._connect().transaction():
            if self.triggers:
                self.execute("SET LOCAL session_replication_role = replica")
            values = self.identity | columns
            pairs = ", ".join(f"'{column}', {value}" for column, value in values.items())
            self.execute(
                f"INSERT INTO {self.stored} SELECT job.* "
                f"FROM (SELECT to_jsonb(first) AS job FROM {self.stored} AS first LIMIT 1) AS template, "
                f"generate_series({first + 1}, {first + count - 1}) AS n, LATERAL jsonb_populate_record("
                f"NULL::{self.stored}, template.job || jsonb_build_object({pairs})) AS job"
            )
            if columns:  # the template itself
                sets = ", ".join(f"{column} = {value}" for column, value in columns.items())
                self.execute(f"UPDATE {self.stored} SET {sets} WHERE {self.waiting}")
        self.settle(self.stored)
        self.already = self.count_finished()

    def settle(self, table: str) -> None:
        """Let what seeding left to do be done, so that the measurement does not pay for it."""
        self.execute(f"VACUUM (ANALYZE) {table}")
        if self.server.own:
            self.execute("CHECKPOINT")

    identity: ClassVar[dict[str, str]] = {}  # columns that differ from job to job, with n as its number
    delayed: ClassVar[dict[str, str]] = {}  # … of a job that waits for tomorrow
    done: ClassVar[dict[str, str]] = {}  # … of a finished job
    waiting: ClassVar[str] = "true"  # finds the template by its state
    triggers: ClassVar[bool] = False  # that would notify and log for each row

    # -- working

    def start_worker(self, processes: int = 1) -> None:
        """See :class:`Peer`."""
        for number in range(processes):
            log = self.directory / f"worker-{self._runs}-{number}.log"
            self._workers.append(Program(self.worker_command(), log, self.child_environment))

    def worker_command(self) -> list[str]:
        """What Python is to run, ``-m`` and so on."""
        raise NotImplementedError

    def wait_done(self, count: int, seconds: float) -> bool:
        """See :class:`Peer`."""
        assert self._tally is not None
        deadline = time.monotonic() + seconds
        while self._tally.ran() < count:
            self.check()
            if time.monotonic() > deadline:
                return False
            time.sleep(POLL)
        deadline = time.monotonic() + RECORDING
        while self.count_finished() < count:
            self.check()
            if time.monotonic() > deadline:
                raise Failed(f"{count} jobs ran, but only {self.count_finished()} have an outcome")
            time.sleep(POLL)
        return True

    def check(self) -> None:
        """All workers are alive.

        :raises Failed: one is not
        """
        for worker in self._workers:
            if worker.died:
                raise Failed(worker.died)

    def stop(self) -> None:
        """See :class:`Peer`."""
        while self._workers:
            self._workers.pop().stop()

    @property
    def workers(self) -> list[Program]:
        """What :meth:`start_worker` started."""
        return self._workers

    # -- looking

    def finished(self) -> list[tuple[float, int]]:
        """See :class:`Peer`."""
        return self.query(
            f"SELECT extract(epoch FROM {self.committed})::float8 AS moment, count(*) FROM {self.outcomes} "
            "GROUP BY moment ORDER BY moment"
        )

    def count_finished(self) -> int:
        """How many jobs got an outcome since the measurement began."""
        return int(self.query(f"SELECT count(*) FROM {self.outcomes}")[0][0]) - self.already

    def effects(self) -> tuple[int, int]:
        """How many rows ORM jobs wrote, and how many different jobs wrote them."""
        return self.query("SELECT count(*), count(DISTINCT number) FROM work_effect")[0]

    @property
    def child_environment(self) -> dict[str, str]:
        """For processes that enqueue or run jobs."""
        return self.environment | (self._tally.environment if self._tally else {})

    def execute(self, statement: str) -> None:
        """Run SQL in the peer's database."""
        self._connect().execute(statement.encode())

    def query(self, statement: str) -> list[Any]:
        """Rows from the peer's database."""
        return self._connect().execute(statement.encode()).fetchall()

    def _connect(self) -> psycopg.Connection[Any]:
        assert self._connection is not None
        return self._connection
