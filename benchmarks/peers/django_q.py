"""django-q2 with its ORM broker: ``manage.py qcluster``, tuned in the project's settings."""

from benchmarks.peers.base import DatabasePeer, NotRun


class DjangoQPeer(DatabasePeer):
    """One worker process per core (its default), bulk 50, queue limit 200, all results kept."""

    name = "django-q2"
    package = "django-q2"
    module = "django_q"
    jobs = "django_q_jobs"
    apps = ("django_q",)
    asynchronous = False
    bulk = False
    tables = ("django_q_ormq", "django_q_task")
    stored = "django_q_ormq"
    outcomes = "django_q_task WHERE success"

    def multiply(self, first: int, count: int, kind: str, state: str = "queued") -> None:
        """See the base class."""
        raise NotRun("its payloads are signed pickles, which SQL cannot write")

    def worker_command(self) -> list[str]:
        """See the base class."""
        return ["-m", "benchmarks.project.manage", "qcluster"]
