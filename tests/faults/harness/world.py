"""One scenario's world: a database, workers on it, jobs in it, and the check of it all at the end."""

import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper

from soniq import Soniq
from soniq.task import Task
from soniq_django.backend import DjangoBackend
from soniq_django.connections import DjangoEnvironment
from soniq_django.models import Job, Worker
from tests.faults.harness import invariants
from tests.faults.harness.cluster import Cluster
from tests.faults.harness.evidence import gather
from tests.faults.harness.ledger import Ledger
from tests.faults.harness.mariadb import SharedServer
from tests.faults.harness.proxy import Proxy
from tests.faults.harness.waiting import PATIENCE, until
from tests.faults.harness.workers import WorkerProcess
from tests.faults.work.models import Row

ALIAS = "faults"

# Short enough that a scenario takes seconds, long enough that a busy machine does not look like a dead one.
SONIQ = {
    "HEARTBEAT_INTERVAL": 0.5,
    "DEAD_AFTER": 3.0,
    "SWEEP_INTERVAL": 0.5,
    "SHUTDOWN_TIMEOUT": 2.0,
    "POLL_INTERVAL": 0.5,
}
RESCUED = SONIQ["DEAD_AFTER"] + SONIQ["SWEEP_INTERVAL"]  # seconds until a lost job is queued again


class World:
    """See the module.

    :param database: Django's settings of it, for the test itself and, unless told otherwise, the workers
    """

    def __init__(
        self,
        directory: Path,
        database: dict[str, Any],
        *,
        server: Cluster | SharedServer | None = None,
        soniq: Mapping[str, Any] | None = None,
    ) -> None:
        self.directory = directory
        self.database = database
        self.soniq = {**SONIQ, **(soniq or {})}
        self.ledger = Ledger(directory / "ledger")
        self.workers: list[WorkerProcess] = []
        self.enqueued: list[str] = []
        self.outages: list[tuple[float, float]] = []
        self.gone: set[str] = set()
        self.lost: set[str] = set()  # ids of workers that died under a supervisor
        self._server = server
        self.proxy_address = "127.0.0.1"
        self._proxy: Proxy | None = None
        self._files = 0
        self.use(database)
        own = {key.lower(): value for key, value in self.soniq.items() if key not in ("NOTIFY", "PROCESSES")}
        self.app = Soniq(backend=DjangoBackend(ALIAS), environment=DjangoEnvironment(), **own)

    def use(self, database: dict[str, Any]) -> None:
        """Where the test itself looks and enqueues from now on."""
        if ALIAS in connections.settings:
            connections[ALIAS].close()
            del connections[ALIAS]
        self.database = database
        connections.settings[ALIAS] = connections.configure_settings({"default": database})["default"]

    def move_to(self, cluster: Cluster) -> None:
        """The scenario's server is another one now; whoever owns it removes it."""
        self._server = cluster
        self.use(cluster.database())

    # -- its parts

    @property
    def connection(self) -> BaseDatabaseWrapper:
        """The test's own."""
        return connections[ALIAS]

    @property
    def cluster(self) -> Cluster:
        """The scratch server."""
        assert isinstance(self._server, Cluster), "this scenario has no server of its own"
        return self._server

    @property
    def shared(self) -> SharedServer:
        """The database on the server of the run."""
        assert isinstance(self._server, SharedServer), "this scenario shares no server"
        return self._server

    @property
    def proxy(self) -> Proxy:
        """A proxy in front of the server; there is one once it was asked for."""
        if self._proxy is None:
            assert self._server is not None, "a file needs no network"
            self._proxy = Proxy(self._server.address, self.proxy_address)
        return self._proxy

    @property
    def proxied(self) -> dict[str, Any]:
        """How to connect through the proxy."""
        assert self._server is not None, "a file needs no network"
        return self._server.database(HOST=self.proxy.address, PORT=str(self.proxy.port))

    def path(self) -> Path:
        """A file that is not there yet."""
        self._files += 1
        return self.directory / f"file{self._files}"

    # -- workers

    def start(
        self,
        *arguments: str,
        database: dict[str, Any] | None = None,
        wait: bool = True,
        environment: dict[str, str] | None = None,
        within: tuple[str, ...] = (),
        supervisor: bool = False,
        **soniq: Any,
    ) -> WorkerProcess:
        """Start a worker and, unless told otherwise, wait until it is registered.

        :param within: a command to start it with, such as one that enters a namespace
        :param supervisor: the arguments make it one
        """
        worker = WorkerProcess(
            self.directory / f"worker{len(self.workers)}.log",
            database=database or self.database,
            soniq={**self.soniq, **soniq},
            ledger=self.ledger.path,
            arguments=arguments,
            environment=environment,
            within=within,
            supervisor=supervisor,
        )
        self.workers.append(worker)
        if wait:
            self.wait_registered(worker)
        return worker

    def start_many(self, count: int, *arguments: str, **options: Any) -> list[WorkerProcess]:
        """Several at once."""
        workers = [self.start(*arguments, wait=False, **options) for _ in range(count)]
        for worker in workers:
            self.wait_registered(worker)
        return workers

    def wait_registered(self, worker: WorkerProcess) -> None:
        """Wait until the database knows it."""

        def registered() -> bool:
            assert worker.alive, f"worker {worker.pid} ended:\n{worker.log}"
            return worker.introduced and self.known(worker)

        until(registered, lambda: f"worker {worker.pid} registering; it said:\n{worker.log}")

    def known(self, worker: WorkerProcess) -> bool:
        """Whether the worker has a row, under the id that it introduced itself with."""
        return self.rows(Worker).filter(pk=worker.id).exists()

    def owner(self, job: str) -> WorkerProcess:
        """The worker that holds the job."""
        holder = str(self.rows(Job).get(pk=job).worker_id)
        return next(worker for worker in self.workers if worker.introduced and worker.id == holder)

    # -- jobs

    def enqueue(self, job: Task[..., Any], **args: Any) -> str:
        """One job; its id."""
        return self.enqueue_many(job, [args])[0]

    def enqueue_one(self, job: Task[..., Any], *, due_in: float = 0.0, **args: Any) -> str:
        """One job, by ``enqueue()`` itself, due in so many seconds; its id."""
        from soniq import default_app

        with default_app(self.app):
            self.enqueued.append((job.using(scheduled_at=due_in) if due_in else job).enqueue(**args))
        return self.enqueued[-1]

    def enqueue_many(self, job: Task[..., Any], args: Iterable[Mapping[str, Any]]) -> list[str]:
        """Many jobs, in one transaction; their ids."""
        from soniq import default_app

        with default_app(self.app):
            ids = job.enqueue_many(args)
        self.enqueued += ids
        return ids

    def rows(self, model: Any) -> Any:
        """The rows of a table in the scenario's database."""
        connection = connections[ALIAS]
        if connection.connection is not None and not connection.is_usable():
            connection.close()  # the scenario broke ours as well
        return model.objects.using(ALIAS)

    def job(self, job: str) -> Job:
        """The row of a job."""
        return self.rows(Job).get(pk=job)

    def held_by(self, worker: WorkerProcess) -> int:
        """How many jobs the worker holds."""
        return self.rows(Job).filter(status="processing", worker_id=worker.id).count()

    def wait_started(self, job: str, times: int = 1, timeout: float = PATIENCE) -> None:
        """Wait until the ledger says that its code ran, so many times."""
        until(
            lambda: len(self.ledger.events("started", job)) >= times,
            lambda: f"job {job} starting {times} times; {self.describe()}",
            timeout,
        )

    def wait_ended(self, timeout: float = PATIENCE) -> None:
        """Wait until no job waits or runs."""
        until(
            lambda: not self.rows(Job).filter(status__in=["queued", "processing"]).exists(),
            lambda: f"all jobs ending; {self.describe()}",
            timeout,
            every=0.1,
        )

    def wait_progress(self, count: int, timeout: float = PATIENCE) -> None:
        """Wait until so many runs have finished."""
        until(
            lambda: self.ledger.count("finished") >= count,
            lambda: f"{count} jobs finishing; {self.describe()}",
            timeout,
        )

    def describe(self) -> str:
        """For messages: what the ledger and the workers' logs ended with."""
        events = self.ledger.events()
        logs = "\n".join(f"-- {worker.pid}: {worker.log[-2000:]}" for worker in self.workers)
        return f"{len(events)} events in the ledger, the last: {events[-3:]}\n{logs}"

    def away(self, outage: Callable[[], None]) -> None:
        """Do something during which no worker can reach the database."""
        since = time.time()
        outage()
        # Who could not beat may be taken for dead until its next beat has had time to arrive.
        self.outages.append((since, time.time() + self.soniq["DEAD_AFTER"] + 2))

    # -- the end

    def finish(self, *, dead: Iterable[str] | None = (), settle: bool = True) -> None:
        """Let all jobs end, stop all workers, and check the invariants.

        :param dead: the jobs that are to end as dead letters; None = any may
        """
        if settle:
            self.wait_ended()
        for worker in self.workers:
            if worker.alive:
                worker.thaw()
                # One that was started late may still be loading; once it is registered, it handles signals.
                worker.stop(loading=not worker.introduced or not self.known(worker))
        try:
            invariants.check(gather(self, None if dead is None else set(dead)))
        except AssertionError as error:
            error.add_note(self.describe())
            raise

    def written(self) -> dict[str, int]:
        """How many rows each job left in the database."""
        counts: dict[str, int] = {}
        for job in self.rows(Row).values_list("job", flat=True):
            counts[str(job)] = counts.get(str(job), 0) + 1
        return counts

    def check_rows(self) -> None:
        """Every job that writes a row left one, and more only for each run more that it had."""
        written = self.written()
        runs: dict[str, int] = {}
        for event in self.ledger.events("started"):
            runs[event.job] = runs.get(event.job, 0) + 1
        lost = [job for job in self.enqueued if not written.get(job)]
        doubled = [job for job, count in written.items() if count > runs.get(job, 0)]
        assert not lost, f"{len(lost)} jobs left no row: {lost[:5]}"
        assert not doubled, f"{len(doubled)} jobs left more rows than they had runs: {doubled[:5]}"

    def sessions(self) -> str:
        """What the program under test has open in the server, and what it does there."""
        return "" if self._server is None else self._server.sessions()

    def close(self) -> None:
        """Kill what still runs, and forget the database."""
        for worker in self.workers:
            worker.close()
        connections[ALIAS].close()
        del connections[ALIAS]
        del connections.settings[ALIAS]
        if self._proxy is not None:
            self._proxy.close()
