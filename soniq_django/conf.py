"""``settings.SONIQ``: checked once, turned into the default app."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal

from django.conf import settings as django_settings
from django.core.exceptions import ImproperlyConfigured

from soniq import ConfigurationError, Soniq, get_default_app, set_default_app
from soniq.settings import Settings, check_known
from soniq_django.metrics import load_sink
from soniq_django.signals import SignalObserver

_OWN = (
    "DATABASE",
    "DEV_WORKER",
    "JOBS_MODULE",
    "METRICS",
    "METRICS_PORT",
    "NOTIFY",
    "PROCESSES",
    "TESTING",
)
_MODES = ("manual", "inline", "memory")
MAX_PORT = 65_535
_CORE = {field.name.upper(): field.name for field in fields(Settings)}
_QUOTED_OR_NAME = re.compile(
    r"""'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*"|\b(?P<name>""" + "|".join(_CORE.values()) + r")\b"
)


class UnknownDatabase(ImproperlyConfigured):
    """``SONIQ["DATABASE"]`` names an alias that ``DATABASES`` does not have."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DjangoSettings:
    """``settings.SONIQ``, checked."""

    core: dict[str, Any]  # keywords of Soniq
    database: str | None = None  # alias that holds the tables; None = the router's choice
    dev_worker: bool = False  # runserver runs a worker beside itself, in DEBUG
    processes: int = 1  # worker processes per soniq_worker
    notify: bool = True  # wake workers by LISTEN/NOTIFY where the database can
    jobs_module: str = "jobs"  # imported from every installed app
    testing: Literal["manual", "inline", "memory"] | None = None  # what becomes of jobs in tests
    metrics: str | None = None  # "prometheus", "opentelemetry", or the path of a MetricsSink; None = none
    metrics_port: str | int | None = None  # where workers answer scrapes: PORT or "HOST:PORT"; None = nowhere

    @property
    def of_app(self) -> dict[str, Any]:
        """The keywords of Soniq, with the project's defaults: schedules go by its TIME_ZONE."""
        return {"timezone": django_settings.TIME_ZONE, **self.core}


def read_settings() -> DjangoSettings:
    """Check ``settings.SONIQ``.

    :raises ImproperlyConfigured: a key is unknown, a value impossible, or two contradict each other
    """
    values = getattr(django_settings, "SONIQ", {})
    if not isinstance(values, Mapping):
        raise ImproperlyConfigured(f"SONIQ is {values!r}: give a dict of settings")
    try:
        check_known(values, [*_CORE, *_OWN], what="key in settings.SONIQ:")
    except ConfigurationError as error:
        raise ImproperlyConfigured(str(error)) from None
    try:
        core = {_CORE[key]: value for key, value in values.items() if key in _CORE}
        Settings.from_mapping(core)
    except ConfigurationError as error:
        raise ImproperlyConfigured(_in_upper_case(str(error))) from None
    database = values.get("DATABASE")
    known = list(django_settings.DATABASES)
    if database is not None and database not in known:
        raise UnknownDatabase(
            f"SONIQ['DATABASE'] is {database!r}, which DATABASES does not have; it has: {', '.join(known)}"
        )
    jobs_module = values.get("JOBS_MODULE", "jobs")
    if not isinstance(jobs_module, str) or not jobs_module.isidentifier():
        raise ImproperlyConfigured(
            f"SONIQ['JOBS_MODULE'] is {jobs_module!r}: give the name of a module, such as 'jobs'"
        )
    notify = _flag(values, "NOTIFY", default=True)
    metrics, metrics_port = _metrics(values)
    dev_worker = _flag(values, "DEV_WORKER", default=False)
    processes = values.get("PROCESSES", 1)
    if isinstance(processes, bool) or not isinstance(processes, int) or processes < 1:
        raise ImproperlyConfigured(f"SONIQ['PROCESSES'] is {processes!r}: give 1 or more")
    testing = values.get("TESTING")
    if testing is not None and testing not in _MODES:
        raise ImproperlyConfigured(
            f"SONIQ['TESTING'] is {testing!r}: give one of {', '.join(_MODES)} in the settings of tests, and "
            "leave it out of all others"
        )
    return DjangoSettings(
        core=core,
        database=database,
        dev_worker=dev_worker,
        notify=notify and testing is None,  # nobody listens, and tests count callbacks of on_commit()
        processes=processes,
        jobs_module=jobs_module,
        testing=testing,
        metrics=metrics,
        metrics_port=metrics_port,
    )


def _flag(values: Mapping[str, Any], key: str, *, default: bool) -> bool:
    value = values.get(key, default)
    if not isinstance(value, bool):
        raise ImproperlyConfigured(f"SONIQ[{key!r}] is {value!r}: give True or False")
    return value


def _metrics(values: Mapping[str, Any]) -> tuple[str | None, str | int | None]:
    """Who counts, and where that is told."""
    metrics = values.get("METRICS")
    if metrics is not None and (not isinstance(metrics, str) or not metrics):
        raise ImproperlyConfigured(
            f"SONIQ['METRICS'] is {metrics!r}: give 'prometheus', 'opentelemetry', or the path of a sink"
        )
    metrics_port = check_metrics_port(values.get("METRICS_PORT"), "SONIQ['METRICS_PORT']")
    if metrics_port is not None and metrics != "prometheus":
        raise ImproperlyConfigured(
            f"SONIQ['METRICS_PORT'] is {metrics_port!r}, and SONIQ['METRICS'] is {metrics!r}: "
            "only 'prometheus' is scraped"
        )
    return metrics, metrics_port


def check_metrics_port(value: Any, name: str) -> str | int | None:
    """``value``, if it says where to answer scrapes; ``name`` is what the error calls it.

    :raises ImproperlyConfigured: it does not
    """
    text = str(value)
    port = text.rpartition(":")[2]
    if value is None or (
        isinstance(value, (str, int)) and port.isdecimal() and port.isascii() and 0 < int(port) <= MAX_PORT
    ):
        return value
    raise ImproperlyConfigured(f"{name} is {value!r}: give a port, 1 to {MAX_PORT}, or 'HOST:PORT'")


def configure() -> DjangoSettings:
    """Make the app that ``settings.SONIQ`` describes, and make it the default one."""
    settings = read_settings()
    set_default_app(app_on(settings.database, settings))
    if settings.testing is not None:
        from soniq_django.testing import testing_mode  # noqa: PLC0415  # for tests alone

        set_default_app(testing_mode(settings.testing).enable())
    return settings


def app_on(database: str | None, settings: DjangoSettings) -> Soniq:
    """The app that the settings describe, on this database; None = where the router writes jobs."""
    from soniq_django.backend import DjangoBackend  # noqa: PLC0415  # needs the models
    from soniq_django.connections import DjangoEnvironment  # noqa: PLC0415  # as above

    return Soniq(
        metrics_sink=load_sink(settings.metrics),
        observer=SignalObserver(),
        backend=DjangoBackend(database, notify=settings.notify),
        environment=DjangoEnvironment(),
        **settings.of_app,
    )


def current_app() -> Soniq:
    """The default app; what ``from soniq_django import soniq`` gives."""
    return get_default_app()


def _in_upper_case(message: str) -> str:
    """The message with the names of settings as ``settings.SONIQ`` writes them; what is quoted stays."""
    renamed = _QUOTED_OR_NAME.sub(lambda part: part["name"].upper() if part["name"] else part[0], message)
    return f"settings.SONIQ: {renamed}"
