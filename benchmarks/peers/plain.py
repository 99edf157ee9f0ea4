"""No queue: rows in an equal table, written by the ORM or by raw SQL. For the enqueueing figures."""

from benchmarks.peers.base import DatabasePeer, NotRun


class PlainPeer(DatabasePeer):
    """``Model.objects.create()`` and ``bulk_create()``, or with ``raw=True`` one INSERT."""

    name = "django"
    package = "django"
    module = "django"
    jobs = "plain_jobs"
    apps = ("soniq_django",)
    tables = ("plain_jobs",)
    stored = "plain_jobs"
    outcomes = "plain_jobs WHERE false"

    def install(self) -> None:
        """See the base class."""
        self.execute("CREATE TABLE plain_jobs (LIKE soniq_jobs INCLUDING ALL)")

    def start_worker(self, processes: int = 1) -> None:
        """See the base class."""
        raise NotRun("nothing here runs jobs")
