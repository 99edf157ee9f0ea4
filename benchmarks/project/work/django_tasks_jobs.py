"""The jobs of django-tasks-db. It finds a task by its path, so each needs a name in this module."""

from django_tasks_db.compat import task_backends
from django_tasks_db.models import DBTaskResult

from benchmarks import producer
from benchmarks.project.work import body

try:
    from django.tasks import task
except ImportError:
    from django_tasks import task


@task()
def noop(n: int) -> None:
    """See the body."""
    body.noop(n)


@task()
async def noop_async(n: int) -> None:
    """See the body."""
    await body.noop_async(n)


@task()
def stamp(n: int) -> None:
    """See the body."""
    body.stamp(n)


@task()
def orm(n: int) -> None:
    """See the body."""
    body.orm(n)


@task()
async def orm_async(n: int) -> None:
    """See the body."""
    await body.orm_async(n)


class Producer(producer.Producer):
    """Enqueues through ``django.tasks``; there is no bulk call, so in bulk it stores the rows as one."""

    def __init__(self, kind: str) -> None:
        super().__init__(kind)
        self._task = globals()[kind]

    def one(self, number: int) -> None:
        """See the base class."""
        self._task.enqueue(n=number)

    def bulk(self, numbers: range) -> None:
        """See the base class."""
        backend = task_backends["default"]
        first = backend.enqueue(self._task, [], {"n": numbers[0]}).db_result
        DBTaskResult.objects.bulk_create(
            [_like(first, number) for number in numbers[1:]],
            batch_size=2000,
        )


def _like(row: DBTaskResult, number: int) -> DBTaskResult:
    """A new row that differs in its job's number."""
    return DBTaskResult(
        args_kwargs={"args": [], "kwargs": {"n": number}},
        priority=row.priority,
        task_path=row.task_path,
        queue_name=row.queue_name,
        run_after=row.run_after,
        backend_name=row.backend_name,
    )
