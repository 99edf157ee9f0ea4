"""PgBouncer in transaction mode, where the program is installed."""

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.faults.harness.cluster import ADMIN, DATABASE, OWNER, _own, _user

PORT = 6432


def missing_reason() -> str:
    """Why there can be no pooler; empty if there can."""
    return "" if shutil.which("pgbouncer") else "no program pgbouncer on this machine (apt install pgbouncer)"


@contextmanager
def pooler(directory: Path, server: Path) -> Iterator[Path]:
    """A pooler in front of the server in ``server``; the directory of its socket."""
    _own(directory)
    (directory / "users").write_text(f'"{OWNER}" ""\n"{ADMIN}" ""\n')
    configuration = directory / "pgbouncer.ini"
    configuration.write_text(f"""
[databases]
{DATABASE} = host={server} dbname={DATABASE}
[pgbouncer]
listen_port = {PORT}
listen_addr =
unix_socket_dir = {directory}
auth_type = trust
auth_file = {directory}/users
pool_mode = transaction
default_pool_size = 8
max_client_conn = 200
ignore_startup_parameters = extra_float_digits,options
logfile = {directory}/log
""")
    if (user := _user()) is not None:
        for file in directory.iterdir():
            shutil.chown(file, user)
    process = subprocess.Popen(
        [shutil.which("pgbouncer") or "", "-q", str(configuration)],
        user=user,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield directory
    finally:
        process.kill()
        process.wait(10)
