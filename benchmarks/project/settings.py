"""Settings of the project. The environment says which database, and which peer's app to install."""

import os
from typing import Any

from psycopg.conninfo import conninfo_to_dict

_database: dict[str, Any] = conninfo_to_dict(os.environ["SONIQ_BENCH_DATABASE"])

SECRET_KEY = "benchmarks"
USE_TZ = True
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": _database["dbname"],
        "USER": _database.get("user", ""),
        "PASSWORD": _database.get("password", ""),
        "HOST": _database.get("host", ""),
        "PORT": _database.get("port", ""),
        # Some peers close old connections around each job, which with the default of 0 are all.
        "CONN_MAX_AGE": None,
    }
}
INSTALLED_APPS = [*filter(None, os.environ["SONIQ_BENCH_APPS"].split(",")), "benchmarks.project.work"]

# Nobody writes a line per job.
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "handlers": {"console": {"class": "logging.StreamHandler"}},
    "root": {"handlers": ["console"], "level": "WARNING"},
}

SONIQ: dict[str, Any] = {"JOBS_MODULE": "soniq_jobs"}
if "SONIQ_BENCH_NOTIFY" in os.environ:
    SONIQ["NOTIFY"] = os.environ["SONIQ_BENCH_NOTIFY"] == "1"

PROCRASTINATE_AUTODISCOVER_MODULE_NAME = "procrastinate_jobs"

if "django_tasks_db" in INSTALLED_APPS:
    TASKS = {"default": {"BACKEND": "django_tasks_db.DatabaseBackend"}}

Q_CLUSTER = {
    "name": "bench",
    "orm": "default",
    "timeout": 60,
    "retry": 120,
    "poll": 0.2,
    "bulk": 50,
    "queue_limit": 200,
    "save_limit": 0,  # keep all results, as the others do; the default looks through 250 per job
    "log_level": "WARNING",
}
