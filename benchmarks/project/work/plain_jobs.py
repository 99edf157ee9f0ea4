"""No queue at all: an equal model, and the SQL that Django's ORM would have to send at the least."""

from __future__ import annotations

import json
from typing import Any

from django.db import connection, models

from benchmarks import producer
from soniq.ids import uuid7
from soniq_django.models import Job

COLUMNS = "id, job_name, args, queue, priority, status, attempts, max_attempts, crashes, producer_id"
INSERT = f"INSERT INTO plain_jobs ({COLUMNS}) VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s)"
INSERT_MANY = f"""
    INSERT INTO plain_jobs ({COLUMNS})
    SELECT id, %s, args, %s, %s, %s, %s, %s, %s, %s FROM unnest(%s::uuid[], %s::jsonb[]) AS job(id, args)
"""
VALUES = ("default", 100, "queued", 0, 4, 0, "")


class Meta:
    """The table is a copy of Soniq's, indexes and all."""

    app_label = "work"
    db_table = "plain_jobs"
    managed = False


Plain: Any = type(
    "Plain",
    (models.Model,),
    {field.name: field.clone() for field in Job._meta.local_fields}  # noqa: SLF001  # a public API of Django
    | {"Meta": Meta, "__module__": __name__},
)


class Producer(producer.Producer):
    """Inserts rows.

    :param raw: by hand-written SQL through Django's cursor, not by the ORM
    :param notify: with a NOTIFY in each transaction
    """

    def __init__(self, kind: str, *, raw: bool = False, notify: bool = False) -> None:
        super().__init__(kind)
        self._raw = raw
        self._notify = notify

    def one(self, number: int) -> None:
        """See the base class."""
        if not self._raw:
            Plain.objects.create(job_name=self.kind, args={"n": number})
            return
        with connection.cursor() as cursor:
            args = json.dumps({"n": number})
            statement = INSERT
            values = [uuid7(), self.kind, args, *VALUES]
            if self._notify:
                statement = f"WITH job AS ({statement}) SELECT pg_notify('plain', '')"
            cursor.execute(statement, values)

    def bulk(self, numbers: range) -> None:
        """See the base class."""
        if not self._raw:
            Plain.objects.bulk_create(
                [Plain(job_name=self.kind, args={"n": number}) for number in numbers], batch_size=2000
            )
            return
        with connection.cursor() as cursor:
            ids = [uuid7() for _ in numbers]
            args = [json.dumps({"n": number}) for number in numbers]
            cursor.execute(INSERT_MANY, [self.kind, *VALUES, ids, args])
