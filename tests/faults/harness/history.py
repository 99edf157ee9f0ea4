"""What became of each job, as the database saw it: triggers write down every change of a job's state.

The queue does not know of them. With them the invariants are statements about facts, where the rows alone
would only show how it ended.
"""

from dataclasses import dataclass
from typing import Any
from uuid import UUID

POSTGRES_HISTORY = """
CREATE TABLE faults_history (
    n bigserial PRIMARY KEY, at double precision, job text, old text, new text,
    worker text, attempts int, attempts_before int, crashes int, crashes_before int
);
CREATE FUNCTION faults_remember() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO faults_history
        (at, job, old, new, worker, attempts, attempts_before, crashes, crashes_before)
    VALUES (extract(epoch FROM clock_timestamp()), coalesce(NEW.id, OLD.id), OLD.status,
            CASE WHEN TG_OP = 'DELETE' THEN 'deleted' ELSE NEW.status END,
            CASE WHEN NEW.status = 'processing' THEN NEW.worker_id ELSE OLD.worker_id END,
            coalesce(NEW.attempts, OLD.attempts), OLD.attempts,
            coalesce(NEW.crashes, OLD.crashes), OLD.crashes);
    RETURN NULL;
END $$;
CREATE TRIGGER faults_remember AFTER INSERT OR DELETE OR UPDATE OF status ON soniq_jobs
    FOR EACH ROW EXECUTE FUNCTION faults_remember();
"""

_SQLITE_NOW = "(julianday('now') - 2440587.5) * 86400.0"
_SQLITE_INSERT = f"""
    INSERT INTO faults_history
        (at, job, old, new, worker, attempts, attempts_before, crashes, crashes_before)
    VALUES ({_SQLITE_NOW}, """

SQLITE_HISTORY = f"""
CREATE TABLE faults_history (
    n integer PRIMARY KEY, at real, job text, old text, new text,
    worker text, attempts int, attempts_before int, crashes int, crashes_before int
);
CREATE TRIGGER faults_inserted AFTER INSERT ON soniq_jobs BEGIN {_SQLITE_INSERT}
    NEW.id, NULL, NEW.status, NULL, NEW.attempts, NULL, NEW.crashes, NULL);
END;
CREATE TRIGGER faults_updated AFTER UPDATE OF status ON soniq_jobs BEGIN {_SQLITE_INSERT}
    NEW.id, OLD.status, NEW.status,
    CASE WHEN NEW.status = 'processing' THEN NEW.worker_id ELSE OLD.worker_id END,
    NEW.attempts, OLD.attempts, NEW.crashes, OLD.crashes);
END;
CREATE TRIGGER faults_deleted AFTER DELETE ON soniq_jobs BEGIN {_SQLITE_INSERT}
    OLD.id, OLD.status, 'deleted', OLD.worker_id, OLD.attempts, OLD.attempts, OLD.crashes, OLD.crashes);
END;
"""

_MYSQL_INSERT = """
    INSERT INTO faults_history
        (at, job, old, new, worker, attempts, attempts_before, crashes, crashes_before)
    VALUES (UNIX_TIMESTAMP(SYSDATE(6)), """

MYSQL_HISTORY = (
    """
CREATE TABLE faults_history (
    n bigint AUTO_INCREMENT PRIMARY KEY, at double, job char(36), old varchar(20), new varchar(20),
    worker char(36), attempts int, attempts_before int, crashes int, crashes_before int
)""",
    f"""CREATE TRIGGER faults_inserted AFTER INSERT ON soniq_jobs FOR EACH ROW {_MYSQL_INSERT}
    NEW.id, NULL, NEW.status, NULL, NEW.attempts, NULL, NEW.crashes, NULL)""",
    f"""CREATE TRIGGER faults_updated AFTER UPDATE ON soniq_jobs FOR EACH ROW
    IF NEW.status <> OLD.status THEN {_MYSQL_INSERT}
    NEW.id, OLD.status, NEW.status,
    CASE WHEN NEW.status = 'processing' THEN NEW.worker_id ELSE OLD.worker_id END,
    NEW.attempts, OLD.attempts, NEW.crashes, OLD.crashes); END IF""",
    f"""CREATE TRIGGER faults_deleted AFTER DELETE ON soniq_jobs FOR EACH ROW {_MYSQL_INSERT}
    OLD.id, OLD.status, 'deleted', OLD.worker_id, OLD.attempts, OLD.attempts, OLD.crashes, OLD.crashes)""",
)

HISTORY = """
SELECT at, job, old, new, worker, attempts, attempts_before, crashes, crashes_before
FROM faults_history ORDER BY n
"""


@dataclass(slots=True)
class Claim:
    """One claim of a job, from the database's point of view."""

    worker: str
    attempt: int
    begun: float
    ended: float | None = None
    how: str = ""  # done, deleted (buried), retry, rescue, interrupt (or snooze); empty while it lasts


def claims_by_job(rows: list[tuple[Any, ...]]) -> dict[str, list[Claim]]:
    """The claims of each job, in order.

    :param rows: the answer to ``HISTORY``
    """
    jobs: dict[str, list[Claim]] = {}
    for at, job, old, new, worker, attempts, attempts_before, crashes, crashes_before in rows:
        claims = jobs.setdefault(str(UUID(job)), [])
        if old == "processing":
            claims[-1].ended = at
            claims[-1].how = _how(new, attempts, attempts_before, crashes, crashes_before)
        if new == "processing":
            claims.append(Claim(str(UUID(worker)), attempts, at))
    return jobs


def _how(new: str, attempts: int, before: int, crashes: int, crashes_before: int) -> str:
    if new != "queued":
        return new
    if crashes > crashes_before:
        return "rescue"
    return "interrupt" if attempts < before else "retry"
