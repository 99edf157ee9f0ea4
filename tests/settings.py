"""Settings of the test project. The databases are those of `tests.support.databases`."""

import django

from tests.support.databases import database_settings

SECRET_KEY = "tests"
DEBUG = False
USE_TZ = True
TIME_ZONE = "UTC"
ROOT_URLCONF = "tests.urls"
STATIC_URL = "static/"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
DATABASES = database_settings()
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
# Django 6.1 wants it; before that, the setting is unknown and does nothing.
MAILERS = {"default": {"BACKEND": "django.core.mail.backends.locmem.EmailBackend"}}

INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.messages",
    "django.contrib.sessions",
    "django.contrib.staticfiles",
    "soniq_django",
    "tests.shop",
    "tests.yard",
    "tests.faults.work",
]
if django.VERSION < (6, 0):
    INSTALLED_APPS.append("django_tasks")  # the Tasks API of later versions

TASKS = {
    "default": {"BACKEND": "soniq_django.tasks.SoniqBackend", "QUEUES": ["default", "emails"]},
    "slow": {
        "BACKEND": "soniq_django.tasks.SoniqBackend",
        "QUEUES": [],
        "OPTIONS": {"max_retries": 1, "timeout": 3600},
    },
    "immediate": {"BACKEND": "soniq_django.tasks.ImmediateBackend", "QUEUES": []},
    "dummy": {"BACKEND": "soniq_django.tasks.DummyBackend", "QUEUES": []},
}

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
]

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
