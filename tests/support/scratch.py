"""Programs of the test project on a database of their own: empty, out of reach, or the test's."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any, Self
from uuid import uuid4

from django.conf import settings

from tests.support import mysql
from tests.support.databases import name_prefix, vendor_of_alias

ROOT = Path(__file__).parents[2]


@contextmanager
def empty_database(alias: str, directory: Path) -> Iterator[dict[str, Any]]:
    """An entry of DATABASES, like that of ``alias``, for a database without a single table."""
    entry = {key: value for key, value in settings.DATABASES[alias].items() if key != "TEST"}
    vendor = vendor_of_alias()[alias]
    if vendor == "sqlite":
        yield entry | {"NAME": str(directory / "empty.sqlite3")}
        return
    # By its name the keeper knows a database of this run.
    name = f"{name_prefix(os.environ['SONIQ_TEST_RUN'])}scratch_{uuid4().hex[:12]}"
    with _on_mysql(name) if vendor == "mysql" else _on_postgres(name):
        yield entry | {"NAME": name}


@contextmanager
def _on_mysql(name: str) -> Iterator[None]:
    with closing(mysql.connect(os.environ["SONIQ_TEST_MYSQL_URL"])) as server, server.cursor() as cursor:
        cursor.execute(f"CREATE DATABASE {name}")
        try:
            yield
        finally:
            cursor.execute(f"DROP DATABASE {name}")


@contextmanager
def _on_postgres(name: str) -> Iterator[None]:
    import psycopg
    from psycopg import sql

    with psycopg.connect(os.environ["SONIQ_TEST_DATABASE_URL"], autocommit=True) as server:
        server.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        try:
            yield
        finally:
            server.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


def unreachable_database(alias: str, directory: Path) -> dict[str, Any]:
    """An entry of DATABASES, like that of ``alias``, where nothing answers."""
    entry = {key: value for key, value in settings.DATABASES[alias].items() if key != "TEST"}
    if vendor_of_alias()[alias] == "sqlite":
        return entry | {"NAME": str(directory / "absent" / "jobs.sqlite3")}
    if vendor_of_alias()[alias] == "mysql":  # PyMySQL does not close a socket whose file is absent
        return entry | {"HOST": "127.0.0.1", "PORT": "1", "OPTIONS": {"connect_timeout": 2}}
    return entry | {"HOST": str(directory / "absent"), "OPTIONS": {"connect_timeout": 2}}


class Project:
    """The test project as a program.

    :param directory: where its settings are written
    :param database: the ``default`` entry of DATABASES; None = the databases of the test
    :param extra: more lines for the settings
    """

    def __init__(
        self,
        directory: Path,
        *,
        database: dict[str, Any] | None = None,
        soniq: dict[str, Any] | None = None,
        extra: str = "",
    ) -> None:
        lines = ["from tests.settings import *", f"SONIQ = {soniq or {}!r}"]
        if database is not None:
            lines.append(f"DATABASES = {{'default': {database!r}}}")
        (directory / "scratch_settings.py").write_text("\n".join([*lines, extra, ""]))
        self._environment = {
            **os.environ,
            "DJANGO_SETTINGS_MODULE": "scratch_settings",
            "PYTHONPATH": os.pathsep.join([str(directory), str(ROOT)]),
        }

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a management command to its end."""
        return subprocess.run(
            [sys.executable, "-W", "error", "-m", "django", *arguments],
            env=self._environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def start(self, *arguments: str, group: bool = False) -> Running:
        """Start a management command; its two streams are one.

        :param group: signals go to the processes that it starts, too, as those of a terminal do
        """
        return Running(
            subprocess.Popen(
                [sys.executable, "-W", "error", "-m", "django", *arguments],
                env=self._environment,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                start_new_session=group,
            ),
            group=group,
        )


class Running:
    """A program that runs, and what it has written so far. Killed at the end of a ``with`` block."""

    def __init__(self, process: subprocess.Popen[str], *, group: bool = False) -> None:
        self.process = process
        self._group = group
        self._lines: list[str] = []
        self._changed = threading.Condition()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.signal(signal.SIGKILL)
        self.process.wait()
        self._reader.join()

    def signal(self, number: int) -> None:
        """Send a signal to the process, or to its group; to none that has ended."""
        with suppress(ProcessLookupError):
            if self._group:
                os.killpg(self.process.pid, number)
            else:
                self.process.send_signal(number)

    @property
    def output(self) -> str:
        """All lines so far."""
        return "".join(self._lines)

    def says(self, text: str, *, times: int = 1, patience: float = 30.0) -> None:
        """Wait until ``text`` was written so many times."""

        def enough() -> bool:
            return self.output.count(text) >= times or not self._reader.is_alive()

        with self._changed:
            self._changed.wait_for(enough, patience)
        assert self.output.count(text) >= times, f"no {text!r} in:\n{self.output}"

    def ends(self, patience: float = 30.0) -> int:
        """Wait until it has ended; its exit code, negative for a signal."""
        try:
            code = self.process.wait(patience)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"it goes on:\n{self.output}") from None
        self._reader.join()
        return code

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            with self._changed:
                self._lines.append(line)
                self._changed.notify_all()
        self.process.stdout.close()
