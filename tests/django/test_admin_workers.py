"""Workers in the admin: a list to look at."""

from datetime import timedelta

import pytest
from django.utils import timezone

from soniq.ids import uuid7
from soniq.jobs import ClaimRequest, WorkerInfo
from soniq_django.conf import current_app
from soniq_django.models import Worker
from tests.support.admin import page, queued, staff

pytestmark = pytest.mark.django_db(databases="__all__")

LIST = "/admin/soniq_django/worker/"


def registered(**facts):
    """A worker that has just registered itself."""
    worker = WorkerInfo(**{"id": str(uuid7()), "hostname": "web1", "pid": 42, "concurrency": 4, **facts})
    current_app().backend.register(worker)
    return Worker.objects.get(pk=worker.id)


def test_list_shows_what_each_worker_does(admin_client):
    """How many of its slots are busy, and what it serves."""
    worker = registered(queues=("emails", "pictures"))
    for _ in range(2):
        queued()
    current_app().backend.claim(ClaimRequest(worker_id=str(worker.pk), limit=2))

    text = admin_client.get(LIST).text

    assert "web1:42" in text
    assert "2 of 4" in text
    assert "emails, pictures" in text
    assert '<span class="soniq-badge soniq-live">live</span>' in text


def test_silent_worker_is_shown_as_lost(admin_client):
    """After the time that maintenance takes a worker for dead."""
    worker = registered()
    Worker.objects.filter(pk=worker.pk).update(last_heartbeat_at=timezone.now() - timedelta(minutes=5))

    for url in (LIST, page("worker", "change", worker.pk)):
        text = admin_client.get(url).text
        assert '<span class="soniq-badge soniq-lost">lost</span>' in text
    assert "5\N{NO-BREAK SPACE}minutes ago" in admin_client.get(LIST).text


def test_workers_can_only_be_looked_at(admin_client):
    """No button, no action, no address changes a worker, not even for a superuser."""
    worker = registered()

    assert 'name="action"' not in admin_client.get(LIST).text
    for name, args in (("delete", [worker.pk]), ("add", [])):
        assert admin_client.post(page("worker", name, *args), {"post": "yes"}).status_code == 403
    assert admin_client.post(page("worker", "change", worker.pk), {"pid": 1}).status_code == 403

    worker.refresh_from_db()
    assert worker.pid == 42


def test_workers_are_hidden_from_who_may_not_view_them(client):
    """Being staff alone opens nothing; the permission to view opens the list."""
    client.force_login(staff())
    assert client.get(LIST).status_code == 403

    client.force_login(staff("view_worker"))
    assert client.get(LIST).status_code == 200


def test_number_of_queries_does_not_grow_with_the_list(admin_client, django_assert_num_queries):
    """Session, user, a bounded count and the rows: four, for one worker as for ten."""
    for workers in (1, 9):
        for _ in range(workers):
            registered()
        with django_assert_num_queries(4):
            admin_client.get(LIST)
