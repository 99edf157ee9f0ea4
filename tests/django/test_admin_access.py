"""Who may do what in the admin, by which kind of request, and where it leads."""

from __future__ import annotations

import pytest
from django.contrib.admin.models import LogEntry
from django.core import serializers
from django.test import Client

from soniq.ids import uuid7
from soniq.jobs import WorkerInfo
from soniq_django.conf import current_app
from soniq_django.models import DeadLetterJob, Job, Worker
from tests.support.admin import dead, page, queued, staff

pytestmark = pytest.mark.django_db(databases="__all__")

REPLAY = {"args": '{"order_id": 1}', "queue": "emails", "priority": "5", "max_attempts": "1", "seen": "0"}
# What changes something: the address, what is sent, and the permission that it takes besides "view".
DEEDS = {
    "cancel": (lambda job, letter: page("job", "cancel", job.pk), {}, "cancel_job"),
    "cancel selected": (
        lambda job, letter: page("job", "changelist"),
        {"action": "cancel_selected"},
        "cancel_job",
    ),
    "delete": (lambda job, letter: page("job", "delete", job.pk), {"post": "yes"}, "delete_job"),
    "delete selected": (
        lambda job, letter: page("job", "changelist"),
        {"action": "delete_selected", "post": "yes"},
        "delete_job",
    ),
    "replay": (
        lambda job, letter: page("deadletterjob", "replay", letter.pk),
        REPLAY,
        "replay_deadletterjob",
    ),
    "replay selected": (
        lambda job, letter: page("deadletterjob", "changelist"),
        {"action": "replay_selected"},
        "replay_deadletterjob",
    ),
    "delete letter": (
        lambda job, letter: page("deadletterjob", "delete", letter.pk),
        {"post": "yes"},
        "delete_deadletterjob",
    ),
}
each_deed = pytest.mark.parametrize("deed", DEEDS.values(), ids=[name.replace(" ", "-") for name in DEEDS])
EVERYTHING = {permission for _, _, permission in DEEDS.values()} | {
    "view_job",
    "view_deadletterjob",
    "view_worker",
}


def stored():
    """All rows, as text."""
    rows = [
        *Job.objects.order_by("pk"),
        *DeadLetterJob.objects.order_by("pk"),
        *Worker.objects.order_by("pk"),
    ]
    return serializers.serialize("json", [*rows, *LogEntry.objects.order_by("pk")])


def sent(deed, job, letter):
    """Address and form of a deed."""
    address, form, _ = deed
    chosen = letter if "replay_selected" in form.values() else job
    return address(job, letter), {**form, "_selected_action": [str(chosen.pk)]}


@each_deed
def test_no_get_changes_anything(admin_client, deed):
    """A link, a prefetch or an image in a mail does nothing, whatever its query says."""
    job, letter = queued(), dead()
    before = stored()

    address, form = sent(deed, job, letter)
    for method in (admin_client.get, admin_client.head, admin_client.options):
        method(address, form)

    assert stored() == before


@each_deed
def test_every_deed_needs_a_token(admin_user, deed):
    """A form on another site, sent by the browser of somebody who is logged in, does nothing."""
    job, letter = queued(), dead()
    before = stored()
    client = Client(enforce_csrf_checks=True)
    client.force_login(admin_user)

    address, form = sent(deed, job, letter)
    assert client.post(address, form).status_code == 403

    assert stored() == before


@each_deed
def test_every_deed_needs_its_own_permission(client, deed):
    """All the other permissions together are not enough."""
    job, letter = queued(), dead()
    before = stored()
    client.force_login(staff(*sorted(EVERYTHING - {deed[2]})))

    address, form = sent(deed, job, letter)
    client.post(address, form)

    assert stored() == before


@each_deed
def test_every_deed_is_done_with_its_permission(client, deed):
    """And no other but the one to look: the tests above would notice nothing otherwise."""
    job, letter = queued(), dead()
    before = stored()
    client.force_login(staff("view_job", "view_deadletterjob", deed[2]))

    address, form = sent(deed, job, letter)
    client.post(address, form)

    assert stored() != before


def test_workers_can_only_be_looked_at(admin_client):
    """They come and go on their own; there is nothing to press."""
    worker = WorkerInfo(id=str(uuid7()), hostname="host", pid=1, concurrency=1)
    current_app().backend.register(worker)
    before = stored()

    for name, args in (("changelist", []), ("change", [worker.id]), ("delete", [worker.id]), ("add", [])):
        admin_client.post(page("worker", name, *args), {"post": "yes", "_selected_action": worker.id})

    assert stored() == before


@pytest.mark.parametrize("parameter", ["next", "_to_field", "_changelist_filters", "_popup", "redirect_to"])
def test_no_answer_leads_to_another_site(admin_client, parameter):
    """Wherever a request says it wants to go on."""
    evil = "https://evil.example/"
    job, letter = queued(), dead()
    addresses = [page("job", "cancel", job.pk), page("deadletterjob", "replay", letter.pk)]
    addresses += [page("job", "cancel", uuid7()), page("deadletterjob", "replay", uuid7())]
    addresses.append("/admin/soniq_django/job/https:_2F_2Fevil.example_2F/cancel/")

    for address in addresses:
        response = admin_client.post(f"{address}?{parameter}={evil}", {**REPLAY, parameter: evil})
        assert response.status_code == 302
        assert response["Location"].startswith("/admin/soniq_django/"), response["Location"]
