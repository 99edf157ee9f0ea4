"""Language and time zone of an enqueue are those of the job, in a real drain of a worker."""

from __future__ import annotations

import contextlib
import threading
import zoneinfo
from datetime import UTC, datetime, timedelta

import pytest
from asgiref.local import Local
from asgiref.sync import sync_to_async
from django.db.models.signals import post_init
from django.test import override_settings
from django.utils import timezone, translation
from django.utils.formats import date_format
from django.utils.translation import gettext_lazy

import soniq
from soniq import Soniq
from soniq.ids import uuid7_text
from soniq.jobs import NewJob
from soniq_django import context
from soniq_django.models import Job
from tests.shop.models import Note
from tests.yard.jobs import write_note

pytestmark = pytest.mark.django_db(transaction=True, databases="__all__")

YES = gettext_lazy("yes,no,maybe")
SHOWN = ["Ja", "de", "Asia/Tokyo", "Nov. 22, 2026, 9 p.m."]


def look() -> list[str]:
    """What a job shows its user."""
    noon = datetime(2026, 11, 22, 12, tzinfo=UTC)
    with translation.override("en"):
        local = date_format(timezone.localtime(noon), "N j, Y, P", use_l10n=False)
    return [
        str(YES).partition(",")[0],
        str(translation.get_language()),
        timezone.get_current_timezone_name(),
        local,
    ]


@pytest.fixture(params=["sync", "async", "sync with middleware"])
def job(request, app):
    """A job that looks, in each of the forms in which it can run."""
    if "middleware" in request.param:

        @app.middleware
        async def transparent(ctx, call_next):
            return await call_next()

    @app.job(name="sync")
    def on_thread() -> list[str]:
        return look()

    @app.job(name="async")
    async def in_loop() -> list[list[str]]:
        shown = look()
        assert await sync_to_async(look)() == shown
        return shown

    return in_loop if request.param == "async" else on_thread


async def result_of(app: Soniq, job_id: str) -> object:
    await app.run_worker(run_once=True)
    found = await app.get_job(job_id)
    assert found["status"] == "done", found["last_error"]
    return found["result"]


async def test_a_job_has_the_language_and_zone_of_its_enqueue(app, job):
    """The next job, enqueued with neither, has those of the settings."""
    with translation.override("de"), timezone.override("Asia/Tokyo"):
        job_id = await app.enqueue(job)
    plain = await app.enqueue(job)

    assert (await app.get_job(job_id))["context"] == {"language": "de", "time_zone": "Asia/Tokyo"}
    assert (await app.get_job(plain))["context"] is None
    assert await result_of(app, job_id) == SHOWN
    assert (await result_of(app, plain))[1:3] == ["en-us", "UTC"]


async def test_a_sync_enqueue_captures_them_too(app):
    """Of a view, for example; one job and many."""

    def view() -> list[str]:
        with translation.override("de"):
            one = write_note.enqueue(text="x")
            return [one, *write_note.enqueue_many([{"text": "y"}] * 25)]

    ids = await sync_to_async(view)()
    contexts = [(await app.get_job(job_id))["context"] for job_id in ids]
    assert contexts == [{"language": "de"}] * 26


@pytest.mark.parametrize("kind", ["sync", "async"])
async def test_what_a_job_activates_ends_with_it(app, kind):
    """Whether or not it had been given something else."""

    def activate() -> None:
        translation.activate("fr")
        timezone.activate(zoneinfo.ZoneInfo("Asia/Tokyo"))

    async def aactivate() -> None:
        activate()

    @app.job(name="look")
    def looks() -> list[str]:
        return look()[1:3]

    @app.job(name="alook")
    async def alooks() -> list[str]:
        return look()[1:3]

    first = app.job(name="activate")(aactivate if kind == "async" else activate)
    await app.enqueue(first)
    with translation.override("de"):
        await app.enqueue(first)
    ids = [await app.enqueue(one) for one in (looks, alooks)]
    await app.run_worker(run_once=True)
    for job_id in ids:
        assert await app.get_result(job_id) == ["en-us", "UTC"]


@pytest.mark.parametrize(
    ("zone", "stored", "name"),
    [
        (zoneinfo.ZoneInfo("Europe/Berlin"), "Europe/Berlin", "Europe/Berlin"),
        (timezone.get_fixed_timezone(-210), -210, "-0330"),
        (timezone.get_fixed_timezone(timedelta(hours=2)), 120, "+0200"),
        (zoneinfo.ZoneInfo("UTC"), None, "UTC"),
        (UTC, 0, "+0000"),
    ],
    ids=str,
)
def test_a_zone_is_carried_by_its_name_or_offset(zone, stored, name):
    """What the settings say anyway is not."""
    with timezone.override(zone):
        assert context.active_zone() == stored
    if stored is not None:
        with context.in_zone(stored):
            assert timezone.get_current_timezone_name() == name
            assert timezone.get_current_timezone().utcoffset(datetime(2026, 1, 1)) == zone.utcoffset(  # noqa: DTZ001  # what it is given
                datetime(2026, 1, 1)  # noqa: DTZ001  # as above
            )


@override_settings(LANGUAGE_CODE="de", TIME_ZONE="Europe/Berlin")
def test_what_the_settings_say_is_not_carried():
    """So that a project of another language pays no more."""
    with translation.override("de"), timezone.override("Europe/Berlin"):
        assert (context.active_language(), context.active_zone()) == (None, None)
    with translation.override("en"), timezone.override("UTC"):
        assert (context.active_language(), context.active_zone()) == ("en", "UTC")


@pytest.mark.parametrize("kind", ["sync", "async"])
async def test_what_a_job_refers_to_is_loaded_in_its_context(app, alias, kind):
    """On the slot's thread, where a tenant's connection or schema would be set."""
    held, told = threading.local(), []

    @contextlib.contextmanager
    def in_tenant(name):
        held.tenant = name
        yield
        held.tenant = None

    def noticed(**_):
        told.append(getattr(held, "tenant", None))

    def read(note: Note) -> str:
        return note.text

    async def aread(note: Note) -> str:
        return note.text

    app.context("tenant", capture=lambda: "acme")(in_tenant)
    job = app.job(name="read")(aread if kind == "async" else read)
    note = await Note.objects.using(alias).acreate(text="kept")
    job_id = await app.enqueue(job, note=note)
    post_init.connect(noticed, sender=Note)
    try:
        assert await result_of(app, job_id) == "kept"
    finally:
        post_init.disconnect(noticed, sender=Note)
    assert told == ["acme"]


@pytest.mark.parametrize("value", [5, None, "", "../../etc", ["de"], "x" * 300], ids=repr)
async def test_values_that_are_none_leave_the_settings_in_force(app, caplog, value):
    """A row edited by hand, or a zone that this machine does not know, fails no job."""
    import json

    @app.job(name="look")
    def looks() -> list[str]:
        return look()[1:3]

    text = json.dumps({"language": value, "time_zone": "No/Where" if value == 5 else value})
    new = NewJob(uuid7_text(), "look", "{}", "default", 100, 1, context_json=text)
    await sync_to_async(app.backend.enqueue)([new])

    assert await result_of(app, new.id) == ["en-us", "UTC"]
    assert [one.levelname for one in caplog.records if one.name == "soniq.context"] == ["WARNING"] * 2


async def test_the_usual_case_leaves_the_column_empty(app, alias):
    """NULL, not the JSON null and not an empty object."""
    await app.enqueue(write_note, text="x", alias=alias)

    assert await Job.objects.using(alias).filter(context__isnull=True, failures__isnull=True).acount() == 1


@pytest.mark.parametrize(
    "local", [Local(), Local(thread_critical=True), object()], ids=["usual", "of a thread", "other"]
)
def test_what_is_not_known_of_asgiref_counts_as_touched(local):
    """Then it is read, which is slower and no less right."""
    asked = context.untouched(local)
    assert asked() is (type(local).__name__ == "_DefaultLocal")
    if isinstance(local, Local):
        local.value = 5
    assert asked() is False


def test_where_nothing_was_activated_there_is_nothing_to_carry():
    assert soniq.get_default_app().registry.contexts.capture() is None
