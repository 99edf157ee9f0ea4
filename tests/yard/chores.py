"""Tasks in a module that nothing imports: a worker finds them by the names of waiting jobs."""

from tests.support.task_api import task


@task
def sweep(corner):
    return f"swept {corner}"


def not_a_task():
    raise AssertionError("never called")
