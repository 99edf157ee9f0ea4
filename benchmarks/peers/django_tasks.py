"""django-tasks-db: ``manage.py db_worker``, which runs one job at a time."""

import importlib.util

from benchmarks.peers.base import DatabasePeer


class DjangoTasksPeer(DatabasePeer):
    """The database backend of Django's own Tasks."""

    name = "django-tasks-db"
    package = "django-tasks-db"
    module = "django_tasks_db"
    jobs = "django_tasks_jobs"
    apps = ("django_tasks_db",)
    bulk = False
    tables = ("django_tasks_database_dbtaskresult",)
    stored = "django_tasks_database_dbtaskresult"
    outcomes = "django_tasks_database_dbtaskresult WHERE status = 'SUCCESSFUL'"
    identity = {
        "id": "gen_random_uuid()",
        "args_kwargs": "jsonb_build_object('args', '[]'::jsonb, 'kwargs', jsonb_build_object('n', n))",
    }
    delayed = {"run_after": "now() + interval '1 day'"}
    done = {"status": "'SUCCESSFUL'", "started_at": "now()", "finished_at": "now()"}
    waiting = "status = 'READY'"

    def missing(self) -> str | None:
        """See the base class."""
        if not any(map(_importable, ("django.tasks", "django_tasks"))):
            return "this Django has no tasks; pip install 'django-tasks-db[compat]'"
        return super().missing()

    def worker_command(self) -> list[str]:
        """See the base class."""
        return ["-m", "benchmarks.project.manage", "db_worker", "--no-startup-delay", "-v0"]


def _importable(module: str) -> bool:
    return importlib.util.find_spec(module) is not None
