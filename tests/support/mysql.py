"""The tests' MariaDB or MySQL server, which they find and do not start; and the driver.

Used by the test run and by its keeper, so it imports nothing of the tests.
"""

import contextlib
from typing import Any
from urllib.parse import unquote, urlsplit

LOCAL = "mysql://root@127.0.0.1:3306/"


def install_driver() -> None:
    """Give Django a driver: mysqlclient, or else PyMySQL under its name, which needs no compiler.

    :raises ImportError: neither is installed
    """
    try:
        import MySQLdb  # noqa: F401  # only to see whether it is there
    except ImportError:
        import pymysql

        pymysql.install_as_MySQLdb()


def options(host: str) -> dict[str, Any]:
    """What a session on ``host`` is opened with, for Django and for `connect`.

    PyMySQL reads all certificates of the machine for each session, whether the server has TLS or not: most of
    what a test on MySQL takes. Within the machine it is told not to.
    """
    install_driver()
    import MySQLdb

    within = host in {"localhost", "127.0.0.1", "::1"}
    return {"ssl_disabled": True} if within and MySQLdb.__name__ == "pymysql" else {}


def connect(url: str) -> Any:
    """A session on the server, in no database.

    :raises ImportError: no driver is installed
    :raises Exception: the driver's own errors
    """
    install_driver()
    import MySQLdb

    where = urlsplit(url)
    host = where.hostname or "127.0.0.1"
    return MySQLdb.connect(
        host=host,
        port=where.port or 3306,
        user=unquote(where.username or "root"),
        password=unquote(where.password or ""),
        connect_timeout=3,
        autocommit=True,
        **options(host),
    )


def version(url: str) -> str:
    """What the server is, in its own words."""
    with contextlib.closing(connect(url)) as session, session.cursor() as cursor:
        cursor.execute("SELECT VERSION()")
        return str(cursor.fetchone()[0])


def drop_databases(url: str, prefix: str) -> None:
    """Drop every database whose name begins with ``prefix``."""
    with contextlib.closing(connect(url)) as session, session.cursor() as cursor:
        cursor.execute("SHOW DATABASES")
        for (name,) in cursor.fetchall():
            if name.startswith(prefix):
                cursor.execute(f"DROP DATABASE IF EXISTS `{name}`")
