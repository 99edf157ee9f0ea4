"""Rows that others wrote into the tables stop neither the worker nor the admin."""

from __future__ import annotations

import json

import pytest
from django.db import IntegrityError, connections

from soniq.ids import uuid7
from soniq.jobs import ClaimRequest
from soniq_django.backend import DjangoBackend
from soniq_django.models import Job
from tests.support.vendors import ALIASES

pytestmark = pytest.mark.django_db(databases="__all__", transaction=True)

DEEP = '{"deep": ' + "[" * 980 + "]" * 980 + "}"
HUGE = '{"huge": ' + "9" * 5000 + "}"


@pytest.mark.parametrize("alias", ALIASES)
@pytest.mark.parametrize("text", [DEEP, HUGE], ids=["deep", "huge"])
def test_arguments_that_python_cannot_read_stop_no_claim(alias, text):
    """The job is given out, to be refused like all arguments that are no dict; the others go on."""
    backend = DjangoBackend(alias)
    bad, good = (Job.objects.using(alias).create(job_name="yard.noop") for _ in range(2))
    try:
        with connections[alias].cursor() as cursor:
            cursor.execute("UPDATE soniq_jobs SET args = %s WHERE id = %s", [text, _key(alias, bad.pk)])
    except IntegrityError as error:
        if text is DEEP and connections[alias].vendor == "mysql":
            pytest.skip(f"the database lets nobody write such a row: {error}")
        raise

    claims = backend.claim(ClaimRequest(worker_id=str(uuid7()), limit=10))

    assert sorted(claim.job_id for claim in claims) == sorted([str(bad.pk), str(good.pk)])
    given = {claim.job_id: claim.args for claim in claims}
    assert given[str(good.pk)] == {}
    assert isinstance(given[str(bad.pk)], dict) == _is_readable(text)
    found = backend.get_job(str(bad.pk))
    assert found is not None
    assert isinstance(found.args, dict) == _is_readable(text)


def _is_readable(text):
    """How deep Python reads JSON differs from release to release."""
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


def _key(alias, pk):
    return pk if connections[alias].vendor == "postgresql" else pk.hex
