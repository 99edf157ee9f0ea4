"""A database of one scenario on the MariaDB or MySQL server of the run, which others use as well.

So it is neither stopped nor starved; its sessions are killed. The run's keeper drops the database even if
the run is killed: its name begins with the run's prefix.
"""

import os
import random
import secrets
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from tests.faults.harness.cluster import migrate
from tests.faults.harness.history import MYSQL_HISTORY
from tests.faults.harness.once import made_once
from tests.support import mysql
from tests.support.databases import name_prefix, settings_on_server

OTHERS = "SELECT id, command, state, info FROM information_schema.processlist WHERE db = %s"


# MariaDB's default: where a column's own character set is forgotten, a few characters are left.
CREATE = "CREATE DATABASE `{}` CHARACTER SET latin1"


class SharedServer:
    """One database on it, with the tables."""

    def __init__(self) -> None:
        self.name = _new_name()
        template = (made_once("mysql", _make_template) / "name").read_text()
        _say(CREATE.format(self.name))
        with _session() as cursor:
            cursor.execute(f"SHOW TABLES FROM `{template}`")
            for (table,) in cursor.fetchall():
                cursor.execute(f"CREATE TABLE `{self.name}`.`{table}` LIKE `{template}`.`{table}`")
                cursor.execute(f"INSERT INTO `{self.name}`.`{table}` SELECT * FROM `{template}`.`{table}`")
            cursor.execute(f"USE `{self.name}`")
            for statement in MYSQL_HISTORY:
                cursor.execute(statement)

    def database(self, **connection: Any) -> dict[str, Any]:
        """Django's settings of the database."""
        return _settings(self.name) | connection

    @property
    def address(self) -> tuple[str, int]:
        """Where it listens."""
        settings = _settings(self.name)
        return settings["HOST"], int(settings["PORT"] or 3306)

    def sessions(self) -> str:
        """What is open in the database, and what it does there."""
        return "; ".join(" ".join(map(str, row)) for row in _say(OTHERS, self.name))

    def kill_session(self, chance: random.Random) -> None:
        """Kill one session in the database, whatever it does."""
        ids = [row[0] for row in _say(OTHERS, self.name)]
        if ids:
            self._kill(chance.choice(ids))

    def kill_sessions(self) -> None:
        """Kill them all."""
        for row in _say(OTHERS, self.name):
            self._kill(row[0])

    def remove(self) -> None:
        """Drop it; whoever is still connected is no reason to wait."""
        self.kill_sessions()
        _say(f"DROP DATABASE IF EXISTS `{self.name}`")

    def _kill(self, session: int) -> None:
        with _session() as cursor:
            try:
                cursor.execute(f"KILL {session}")
            except Exception as error:
                if error.args[0] != 1094:  # it has ended by itself
                    raise


def _make_template(directory: Path) -> None:
    name = _new_name()
    _say(CREATE.format(name))
    migrate(_settings(name))
    (directory / "name").write_text(name)


def _new_name() -> str:
    return f"{name_prefix(os.environ['SONIQ_TEST_RUN'])}f{secrets.token_hex(4)}"


def _settings(name: str) -> dict[str, Any]:
    return settings_on_server("mysql") | {"NAME": name}


def _say(statement: str, *values: Any) -> list[Any]:
    with _session() as cursor:
        cursor.execute(statement, values or None)
        return list(cursor.fetchall())


@contextmanager
def _session() -> Iterator[Any]:
    url = os.environ["SONIQ_TEST_MYSQL_URL"]
    with closing(mysql.connect(url)) as session, session.cursor() as cursor:
        yield cursor
