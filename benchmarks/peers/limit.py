"""The limit script; see :mod:`benchmarks.limit`."""

from benchmarks.peers.base import UUID7, DatabasePeer, NotRun

TABLE = """
    CREATE TABLE limit_jobs (LIKE soniq_jobs INCLUDING DEFAULTS);
    ALTER TABLE limit_jobs ADD PRIMARY KEY (id);
    CREATE INDEX ON limit_jobs (priority, scheduled_at, id) WHERE status = 'queued';
"""


class LimitPeer(DatabasePeer):
    """The same columns as Soniq's table, its primary key and one partial index.

    :param batch: jobs per claim
    """

    name = "limit"
    package = "psycopg"
    module = "psycopg"
    jobs = "limit_jobs"
    apps = ("soniq_django",)  # whose migration says what the columns are
    asynchronous = False
    tables = ("limit_jobs",)
    stored = "limit_jobs"
    outcomes = "limit_jobs WHERE status = 'done'"
    identity = {"id": UUID7, "args": "jsonb_build_object('n', n)"}
    delayed = {"scheduled_at": "now() + interval '1 day'"}
    done = {"status": "'done'", "attempts": "1", "started_at": "now()", "finished_at": "now()"}
    waiting = "status = 'queued'"

    def __init__(self, variant: str = "", *, batch: int = 100, notify: str = "no") -> None:
        super().__init__(variant, notify=notify)
        self._batch = batch

    def install(self) -> None:
        """See the base class."""
        self.execute(TABLE)

    def enqueue(self, first: int, count: int, kind: str) -> None:
        """See the base class."""
        if kind.startswith("orm"):
            raise NotRun("the limit script knows no Django")
        super().enqueue(first, count, kind)

    def worker_command(self) -> list[str]:
        """See the base class."""
        return ["-m", "benchmarks.limit", "--batch", str(self._batch)]
