"""Settings of the example shop: a Django project as small as it can be, plus one app, soniq_django."""

import os
from decimal import Decimal
from pathlib import Path
from typing import Any

import dj_database_url
import django
from django.core.exceptions import ImproperlyConfigured

BASE_DIR = Path(__file__).resolve().parent.parent
# Everything that running the shop leaves behind. Delete the folder to start afresh.
VAR_DIR = Path(os.environ.get("SHOP_VAR_DIR") or BASE_DIR / "var").resolve()
VAR_DIR.mkdir(parents=True, exist_ok=True)

# For the demo only: it runs on your own machine, and its secret is published right here.
DEBUG = True
SECRET_KEY = "demo-only-not-secret"
ALLOWED_HOSTS: list[str] = []

INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.messages",
    "django.contrib.sessions",
    "django.contrib.staticfiles",
    "soniq_django",
    "shop",
]
if django.VERSION < (6, 0):
    INSTALLED_APPS += ["django_tasks"]  # the Tasks API, which Django has had since 6.0

# Jobs live in the project's own database: SQLite unless DATABASE_URL names a PostgreSQL.
# config/two_databases.py has them elsewhere.
SQLITE: dict[str, Any] = {
    "ENGINE": "django.db.backends.sqlite3",
    "OPTIONS": {
        # Readers and the one writer do not block each other (WAL), a transaction takes the write lock when
        # it begins (IMMEDIATE) instead of failing half-way, and whoever finds it taken waits (timeout).
        "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
        "transaction_mode": "IMMEDIATE",
        "timeout": 20,
    },
}


def database(variable: str, file: str) -> Any:
    url = os.environ.get(variable)
    if not url:
        return {**SQLITE, "NAME": VAR_DIR / file}
    try:
        return dj_database_url.parse(url)
    except ValueError as error:
        raise ImproperlyConfigured(f"{variable} cannot be read: {error}") from None


DATABASES = {"default": database("DATABASE_URL", "db.sqlite3")}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

# How workers behave. All keys have defaults, so this may be left out.
SONIQ: dict[str, Any] = {
    "CONCURRENCY": 4,
    "DEV_WORKER": True,  # `manage.py runserver` brings a worker along, as long as DEBUG is on
    "REDACT": ["customer", "email"],  # among the arguments of jobs they are masked in the admin and in logs
}
# Metrics are off, unless the environment says SHOP_METRICS=prometheus; then
# prometheus-client has to be there. The site answers at /metrics, its worker on the port.
# Or SHOP_METRICS=opentelemetry, which takes opentelemetry-sdk: see shop/traces.py.
SHOP_METRICS = os.environ.get("SHOP_METRICS")
if SHOP_METRICS == "prometheus":
    SONIQ |= {"METRICS": "prometheus", "METRICS_PORT": 9100}
elif SHOP_METRICS == "opentelemetry":
    SONIQ |= {"METRICS": "opentelemetry"}

# Tasks of Django's own API are jobs, too.
TASKS = {"default": {"BACKEND": "soniq_django.tasks.SoniqBackend", "QUEUES": ["default", "prices"]}}

POINTS_PER_EURO = Decimal("1.5")
SLOW_JOB_SECONDS = 30.0

# E-mails become files, so that the demo sends none.
MAIL_DIR = VAR_DIR / "mail"
if django.VERSION >= (6, 1):
    MAILERS = {
        "default": {
            "BACKEND": "django.core.mail.backends.filebased.EmailBackend",
            "OPTIONS": {"file_path": MAIL_DIR},
        }
    }
else:
    EMAIL_BACKEND = "django.core.mail.backends.filebased.EmailBackend"
    EMAIL_FILE_PATH = MAIL_DIR
DEFAULT_FROM_EMAIL = "shop@example.com"
EMAIL_SUBJECT_PREFIX = "[Shop] "
# Who is told of dead letters. Django 6.0 and later take addresses alone.
MANAGERS: list[Any] = ["managers@example.com"]
if django.VERSION < (6, 0):
    MANAGERS = [("Managers", "managers@example.com")]

# Nobody listens here until you run `manage.py supplier`.
SUPPLIER_WEBHOOK = os.environ.get("SUPPLIER_WEBHOOK") or "http://127.0.0.1:8917/orders"

LOG_LEVEL = os.environ.get("SHOP_LOG_LEVEL") or "INFO"
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"format": "%(asctime)s %(levelname)-7s %(message)s", "datefmt": "%H:%M:%S"}},
    "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "line"}},
    "loggers": {
        "soniq": {"handlers": ["console"], "level": LOG_LEVEL},
        "shop": {"handlers": ["console"], "level": LOG_LEVEL},
        "django.tasks": {"level": LOG_LEVEL},
        "django_tasks": {"level": LOG_LEVEL},  # the same, before Django 6.0
    },
}

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "shop.actor.ActorMiddleware",  # after the one that says who the user is
    "django.contrib.messages.middleware.MessageMiddleware",
]
if SHOP_METRICS == "opentelemetry":
    MIDDLEWARE = ["shop.traces.TraceMiddleware", *MIDDLEWARE]  # a span holds all of its request
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    },
]
ROOT_URLCONF = "config.urls"
WSGI_APPLICATION = "config.wsgi.application"
STATIC_URL = "static/"
MEDIA_URL = "media/"
MEDIA_ROOT = VAR_DIR / "media"
USE_TZ = True
TIME_ZONE = "UTC"
LANGUAGE_CODE = "en"
