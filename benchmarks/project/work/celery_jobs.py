"""The jobs of Celery, and its app."""

import os

import django
from celery import Celery
from django.apps import apps

from benchmarks import producer

if not apps.ready:  # the worker's command line imports this module first
    django.setup()

from benchmarks.project.work import body

app = Celery("benchmarks")
app.conf.update(
    broker_url=os.environ["SONIQ_BENCH_REDIS"] + "/0",
    result_backend=os.environ["SONIQ_BENCH_REDIS"] + "/1",
    result_expires=3600,
    worker_prefetch_multiplier=100,  # what its documentation advises for many short tasks
    worker_hijack_root_logger=False,
)
JOBS = {name: app.task(name=name)(function) for name, function in body.JOBS.items()}


class Producer(producer.Producer):
    """Enqueues with ``delay``; there is no bulk call and no transaction."""

    def __init__(self, kind: str) -> None:
        super().__init__(kind)
        self._job = JOBS[kind]

    def one(self, number: int) -> None:
        """See the base class."""
        self._job.delay(number)

    def bulk(self, numbers: range) -> None:
        """See the base class."""
        with app.producer_or_acquire() as connected:
            for number in numbers:
                self._job.apply_async([number], producer=connected)
