"""Enqueueing for the limit script: psycopg, without Django."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterable

import psycopg

from benchmarks import producer
from soniq.ids import uuid7

INSERT = """
    INSERT INTO limit_jobs (id, job_name, args, queue, priority, status, attempts, max_attempts, crashes,
                            producer_id)
    VALUES (%s, %s, %s, 'default', 100, 'queued', 0, 4, 0, '')
"""
COPY = """
    COPY limit_jobs (id, job_name, args, queue, priority, status, attempts, max_attempts, crashes,
                     producer_id) FROM STDIN
"""
NOTIFY = "NOTIFY limit_jobs"
INSERT_NOTIFY = f"WITH job AS ({INSERT} RETURNING id) SELECT pg_notify('limit_jobs', '') FROM job"


class Producer(producer.Producer):
    """Inserts rows.

    :param notify: ``"inside"`` the transaction, ``"after"`` it in a statement of its own, or ``"no"``
    """

    def __init__(self, kind: str, *, notify: str = "no") -> None:
        super().__init__(kind)
        self._notify = notify
        self._local = threading.local()

    @property
    def _connection(self) -> psycopg.Connection:
        if not hasattr(self._local, "connection"):
            url = os.environ["SONIQ_BENCH_DATABASE"]
            self._local.connection = psycopg.connect(url, autocommit=True, prepare_threshold=1)
        return self._local.connection

    def one(self, number: int) -> None:
        """See the base class."""
        statement = INSERT_NOTIFY if self._notify == "inside" else INSERT
        self._connection.execute(statement, [uuid7(), self.kind, json.dumps({"n": number})])

    def singles(self, numbers: Iterable[int]) -> None:
        """See the base class."""
        for number in numbers:
            self.one(number)
            if self._notify == "after":
                self._connection.execute(NOTIFY)

    def transaction(self, numbers: Iterable[int]) -> None:
        """See the base class."""
        with self._connection.transaction():
            for number in numbers:
                self.one(number)
        if self._notify == "after":
            self._connection.execute(NOTIFY)

    def bulk(self, numbers: range) -> None:
        """See the base class."""
        with self._connection.cursor() as cursor, cursor.copy(COPY) as copy:
            for number in numbers:
                copy.write_row(
                    [uuid7(), self.kind, json.dumps({"n": number}), "default", 100, "queued", 0, 4, 0, ""]
                )
        if self._notify != "no":
            self._connection.execute(NOTIFY)
