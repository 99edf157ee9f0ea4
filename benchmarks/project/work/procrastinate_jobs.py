"""The jobs of procrastinate, which imports this module when its app is installed."""

from procrastinate.contrib.django import app

from benchmarks import producer
from benchmarks.project.work import body

JOBS = {name: app.task(name=name)(function) for name, function in body.JOBS.items()}


class Producer(producer.Producer):
    """Enqueues through Django's connection."""

    def __init__(self, kind: str) -> None:
        super().__init__(kind)
        self._job = JOBS[kind]

    def one(self, number: int) -> None:
        """See the base class."""
        self._job.defer(n=number)

    def bulk(self, numbers: range) -> None:
        """See the base class."""
        self._job.batch_defer(*({"n": number} for number in numbers))
