"""procrastinate: ``manage.py procrastinate worker --concurrency 10``."""

from benchmarks.peers.base import CONCURRENCY, DatabasePeer


class ProcrastinatePeer(DatabasePeer):
    """With its Django app; its workers use a psycopg pool."""

    name = "procrastinate"
    package = "procrastinate"
    module = "procrastinate"
    jobs = "procrastinate_jobs"
    apps = ("procrastinate.contrib.django",)
    tables = ("procrastinate_jobs", "procrastinate_workers", "procrastinate_events")
    stored = "procrastinate_jobs"
    # Not its jobs: a worker that leaves updates all of those that it ran.
    outcomes = "procrastinate_events WHERE type = 'succeeded'"
    identity = {
        "id": "nextval(pg_get_serial_sequence('procrastinate_jobs', 'id'))",
        "args": "jsonb_build_object('n', n)",
    }
    delayed = {"scheduled_at": "now() + interval '1 day'"}
    done = {"status": "'succeeded'", "attempts": "1"}
    waiting = "status = 'todo'"
    triggers = True

    def worker_command(self) -> list[str]:
        """See the base class."""
        manage = ["-m", "benchmarks.project.manage", "procrastinate"]
        return [*manage, "worker", "--concurrency", str(CONCURRENCY)]
