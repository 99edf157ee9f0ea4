"""The jobs of django-q2, which calls functions by their path."""

from django.db import transaction
from django_q.tasks import async_task

from benchmarks import producer


class Producer(producer.Producer):
    """Enqueues with ``async_task``; there is no bulk call, so in bulk it does so in one transaction."""

    def one(self, number: int) -> None:
        """See the base class."""
        async_task(f"benchmarks.project.work.body.{self.kind}", number)

    def bulk(self, numbers: range) -> None:
        """See the base class."""
        with transaction.atomic():
            self.singles(numbers)
