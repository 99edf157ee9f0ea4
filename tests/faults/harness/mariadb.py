"""A database of one scenario on the MariaDB or MySQL server of the run, which others use as well.

So it is neither stopped nor starved; its sessions are killed. The run's keeper drops the database even if
the run is killed: its name begins with the run's prefix.
"""

import os
import random
import secrets
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

from tests.faults.harness.cluster import migrate
from tests.faults.harness.history import MYSQL_HISTORY
from tests.support import mysql
from tests.support.databases import name_prefix, settings_on_server

OTHERS = "SELECT id, command, state, info FROM information_schema.processlist WHERE db = %s"


class SharedServer:
    """One database on it, made and migrated."""

    def __init__(self) -> None:
        self.name = f"{name_prefix(os.environ['SONIQ_TEST_RUN'])}f{secrets.token_hex(4)}"
        # MariaDB's default: where a column's own character set is forgotten, a few characters are left.
        self._say(f"CREATE DATABASE `{self.name}` CHARACTER SET latin1")
        migrate(self.database())
        with self._session() as cursor:
            cursor.execute(f"USE `{self.name}`")
            for statement in MYSQL_HISTORY:
                cursor.execute(statement)

    def database(self) -> dict[str, Any]:
        """Django's settings of the database."""
        return settings_on_server("mysql") | {"NAME": self.name}

    def sessions(self) -> str:
        """What is open in the database, and what it does there."""
        return "; ".join(" ".join(map(str, row)) for row in self._say(OTHERS, self.name))

    def kill_session(self, chance: random.Random) -> None:
        """Kill one session in the database, whatever it does."""
        ids = [row[0] for row in self._say(OTHERS, self.name)]
        if ids:
            self._kill(chance.choice(ids))

    def kill_sessions(self) -> None:
        """Kill them all."""
        for row in self._say(OTHERS, self.name):
            self._kill(row[0])

    def remove(self) -> None:
        """Drop it; whoever is still connected is no reason to wait."""
        self.kill_sessions()
        self._say(f"DROP DATABASE IF EXISTS `{self.name}`")

    def _kill(self, session: int) -> None:
        with self._session() as cursor:
            try:
                cursor.execute(f"KILL {session}")
            except Exception as error:
                if error.args[0] != 1094:  # it has ended by itself
                    raise

    def _say(self, statement: str, *values: Any) -> list[Any]:
        with self._session() as cursor:
            cursor.execute(statement, values or None)
            return list(cursor.fetchall())

    @contextmanager
    def _session(self) -> Iterator[Any]:
        with (
            closing(mysql.connect(os.environ["SONIQ_TEST_MYSQL_URL"])) as session,
            session.cursor() as cursor,
        ):
            yield cursor
