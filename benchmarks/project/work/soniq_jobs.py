"""The jobs of soniq-django."""

import soniq
from benchmarks import producer
from benchmarks.project.work import body

JOBS = {name: soniq.job(function) for name, function in body.JOBS.items()}


class Producer(producer.Producer):
    """Enqueues through the public API."""

    def __init__(self, kind: str) -> None:
        super().__init__(kind)
        self._job = JOBS[kind]

    def one(self, number: int) -> None:
        """See the base class."""
        self._job.enqueue(n=number)

    def bulk(self, numbers: range) -> None:
        """See the base class."""
        self._job.enqueue_many({"n": number} for number in numbers)
