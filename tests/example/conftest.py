"""The example project, run in processes of its own, with a database and a folder of its own."""

import json
import os
import socket
import subprocess
import sys
import uuid
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest
from psycopg import sql

from tests.support.databases import chosen_vendors, missing_reason
from tests.support.docs import ROOT
from tests.support.scratch import Running

MANAGE = ROOT / "example_project" / "manage.py"
VENDORS = [
    pytest.param(
        vendor,
        id=vendor,
        marks=[pytest.mark.skip(reason=f"{vendor}: {reason}")] if (reason := missing_reason(vendor)) else [],
    )
    for vendor in chosen_vendors()
    if vendor != "mysql"  # the example is set up for SQLite and PostgreSQL
]


class Shop:
    """One installation of the example."""

    def __init__(self, folder, database_url, webhook):
        self.var = folder / "var"
        self.folder = folder
        self.environment = {
            **os.environ,
            "DATABASE_URL": database_url,
            "DJANGO_SETTINGS_MODULE": "config.settings",
            "PYTHONPATH": os.pathsep.join([str(MANAGE.parent), str(ROOT)]),
            "PYTHONWARNINGS": "error",
            "SHOP_VAR_DIR": str(self.var),
            "SUPPLIER_WEBHOOK": webhook,
        }

    def manage(self, *arguments, check=True, **environment):
        """What `manage.py` answers, from a folder that is not the project's."""
        return self._run([str(MANAGE), *arguments], check=check, **environment)

    def ask(self, code, environment=None, **values):
        """Run code inside the example; return what it leaves in `answer`."""
        lines = [
            "import json, sys, django",
            "django.setup()",
            "globals().update(json.loads(sys.argv[1]))",
            code,
            "print(json.dumps(answer))",
        ]
        said = self._run(["-c", "\n".join(lines), json.dumps(values)], **environment or {}).stdout
        return json.loads(said.splitlines()[-1])

    def serve(self):
        """`manage.py runserver`, as it runs; at the end of a `with` block it is killed."""
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            address = f"127.0.0.1:{free.getsockname()[1]}"
        process = subprocess.Popen(
            [sys.executable, str(MANAGE), "runserver", address, "--noreload"],
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        return Running(process, group=True)

    def _run(self, arguments, *, check=True, **environment):
        result = subprocess.run(
            [sys.executable, *arguments],
            cwd=self.folder,
            env=self.environment | environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )
        if check:
            assert result.returncode == 0, result.stdout + result.stderr
        return result

    @property
    def mails(self):
        return "".join(file.read_text() for file in sorted((self.var / "mail").glob("*.log")))


@pytest.fixture(scope="module", params=VENDORS)
def vendor(request):
    return request.param


@pytest.fixture(scope="module")
def database_url(vendor):
    """A database of the example's own; empty for SQLite, which the example has by default."""
    if vendor == "sqlite":
        yield ""
        return
    server = os.environ["SONIQ_TEST_DATABASE_URL"]
    name = f"{Path(os.environ['SONIQ_TEST_RUN']).name}_example_{uuid.uuid4().hex[:8]}".replace("-", "_")
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    yield urlsplit(server)._replace(path=f"/{name}").geturl()
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


@pytest.fixture(scope="module")
def closed_port():
    """A port that nobody listens on, and that nobody else can take meanwhile."""
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        yield reserved.getsockname()[1]


@pytest.fixture(scope="module")
def shop(tmp_path_factory, database_url, closed_port):
    return Shop(tmp_path_factory.mktemp("shop"), database_url, f"http://127.0.0.1:{closed_port}/orders")
