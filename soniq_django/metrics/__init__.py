"""Metrics: what becomes of ``SONIQ["METRICS"]`` and ``SONIQ["METRICS_PORT"]``.

The libraries are extras, so each is imported only where it was asked for.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

from django.core.exceptions import ImproperlyConfigured
from django.utils.module_loading import import_string

from soniq.hooks import MetricsSink
from soniq.steady import get_logger
from soniq.supervisor import SUPERVISED

logger = get_logger("soniq.metrics")

LOCALHOST = "127.0.0.1"
EXTRAS = ("prometheus", "opentelemetry")


def load_sink(name: str | None) -> MetricsSink | None:
    """The sink that ``SONIQ["METRICS"]`` means.

    :raises ImproperlyConfigured: it cannot be imported; says what to install, or what to write
    """
    if name is None:
        return None
    path = f"soniq_django.metrics.{name}.shared_sink" if name in EXTRAS else name
    try:
        found = import_string(path)
    except ImportError as error:
        remedy = f"pip install 'soniq-django[{name}]'" if name in EXTRAS else "give the path of a sink"
        raise ImproperlyConfigured(
            f"SONIQ['METRICS'] is {name!r}, which cannot be imported ({error}): {remedy}"
        ) from error
    made = found() if isinstance(found, type) or name in EXTRAS else found
    missing = [method for method in ("record_job_start", "record_job_end") if not hasattr(made, method)]
    if missing:
        raise ImproperlyConfigured(f"SONIQ['METRICS'] is {name!r}, which lacks {' and '.join(missing)}")
    sink: MetricsSink = made
    return sink


def begin_worker(
    metrics: str | None, port: str | int | None, environment: Mapping[str, str] = os.environ
) -> None:
    """What a worker process does for metrics besides counting: answer scrapes, look at the queues.

    The Nth worker of ``--processes`` answers N - 1 ports further up. Each is a target of its own.

    :param port: PORT or "HOST:PORT"; None: no scrapes are answered here. One that is taken is told in the
        log, and the worker goes on without.
    :raises ImproperlyConfigured: nothing would be there to scrape
    """
    if metrics == "opentelemetry":
        from soniq_django.metrics.opentelemetry import shared_sink  # noqa: PLC0415  # an extra

        shared_sink().watch_queues()
    if port is None:
        return
    if metrics != "prometheus":
        raise ImproperlyConfigured(
            f"METRICS_PORT is {port!r}, but SONIQ['METRICS'] is {metrics!r}: make it 'prometheus', "
            "or leave the port out"
        )
    from soniq_django.metrics.prometheus import serve  # noqa: PLC0415  # an extra

    host, _, number = str(port).rpartition(":")
    own = int(number) + int(environment.get(SUPERVISED, "1")) - 1
    try:
        serve(host or LOCALHOST, own)
    except (OSError, OverflowError) as error:
        # Jobs come first: the worker that this one replaces may hold the port a while longer.
        logger.error(  # noqa: TRY400  # the traceback would say no more
            "no scrapes are answered: this worker cannot listen on %s:%d (%s); give it another METRICS_PORT",
            host or LOCALHOST,
            own,
            error,
        )
