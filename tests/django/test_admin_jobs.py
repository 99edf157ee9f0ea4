"""Jobs in the admin: what is shown, to whom, and what can be done."""

import json
from datetime import timedelta

import pytest
from django.contrib.admin.models import LogEntry
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from soniq import transitions
from soniq.ids import uuid7
from soniq.jobs import ClaimRequest
from soniq_django.admin import paging
from soniq_django.conf import current_app
from soniq_django.models import DeadLetterJob, Job
from tests.shop.jobs import send_receipt
from tests.support.admin import TRACEBACK, act, claimed, dead, done, page, queued, said, staff
from tests.support.vendors import ALIASES

pytestmark = pytest.mark.django_db(databases="__all__")

LIST = "/admin/soniq_django/job/"


def listed(response):
    """The jobs that a list shows."""
    return list(response.context["cl"].result_list)


def test_anonymous_visitor_is_sent_to_the_login(client):
    """Neither list, page nor button answers without a login; the job stays as it was."""
    job = queued()

    for url in (LIST, page("job", "change", job.pk)):
        assert client.get(url).url.startswith("/admin/login/")
    assert client.post(page("job", "cancel", job.pk)).url.startswith("/admin/login/")

    job.refresh_from_db()
    assert job.status == "queued"


def test_staff_without_permission_sees_no_jobs(client):
    """Being staff alone opens nothing."""
    client.force_login(staff())

    assert client.get(LIST).status_code == 403
    assert client.get(page("job", "change", queued().pk)).status_code == 403


def test_viewer_sees_jobs_and_can_do_nothing(client):
    """The permission to view shows list and page without action, button or checkbox."""
    job = queued()
    client.force_login(staff("view_job"))

    shown = client.get(LIST)
    assert listed(shown) == [job]
    assert 'name="action"' not in shown.text
    detail = client.get(page("job", "change", job.pk)).text
    assert "Cancel job" not in detail
    assert "deletelink" not in detail
    assert client.post(page("job", "cancel", job.pk)).status_code == 403
    act(client, "job", "cancel_selected", [job])
    assert client.post(page("job", "delete", job.pk), {"post": "yes"}).status_code == 403

    job.refresh_from_db()
    assert job.status == "queued"


def test_nobody_can_edit_or_add_a_job(admin_client):
    """Even a superuser's POST to the page or to an add page changes nothing."""
    job = queued()

    assert admin_client.post(page("job", "change", job.pk), {"priority": "1"}).status_code == 403
    assert admin_client.get(page("job", "add")).status_code == 403
    assert "<textarea" not in admin_client.get(page("job", "change", job.pk)).text

    job.refresh_from_db()
    assert job.priority == 100


def test_holder_of_cancel_permission_cancels_but_does_not_delete(client):
    """The permission to cancel brings the button and the action, and no more."""
    job, other = queued(), queued(order_id=2)
    client.force_login(staff("view_job", "cancel_job"))

    assert "Cancel job" in client.get(page("job", "change", job.pk)).text
    response = client.post(page("job", "cancel", job.pk), follow=True)
    assert response.redirect_chain == [(page("job", "change", job.pk), 302)]
    assert said(response) == ["1 job was cancelled."]
    assert said(act(client, "job", "cancel_selected", [other])) == ["1 job was cancelled."]
    assert client.post(page("job", "delete", job.pk), {"post": "yes"}).status_code == 403

    assert set(Job.objects.values_list("status", flat=True)) == {"cancelled"}


def test_cancel_permission_without_view_permission_opens_nothing(client):
    """Who may not see a job may not cancel it by its address either."""
    job = queued()
    client.force_login(staff("cancel_job"))

    assert client.post(page("job", "cancel", job.pk)).status_code == 403

    job.refresh_from_db()
    assert job.status == "queued"


def test_cancelling_says_how_many_jobs_it_was_too_late_for(admin_client):
    """Jobs that run or ended stay as they are; the others are cancelled."""
    finished, (running, _) = done(), claimed()
    waiting = [queued(order_id=number) for number in range(3)]

    response = act(admin_client, "job", "cancel_selected", [finished, running, *waiting])

    assert said(response) == [
        "3 jobs were cancelled.",
        "2 jobs could not be cancelled: they are running or have ended.",
    ]
    assert Job.objects.get(pk=running.pk).status == "processing"
    assert Job.objects.get(pk=finished.pk).status == "done"
    assert {Job.objects.get(pk=job.pk).status for job in waiting} == {"cancelled"}


def test_cancelled_job_is_purged_after_the_results_time_to_live(admin_client):
    """Cancelling goes through the state machine, so the row expires like every finished one."""
    job = queued()

    admin_client.post(page("job", "cancel", job.pk))

    job.refresh_from_db()
    assert (job.expires_at - job.finished_at).total_seconds() == pytest.approx(86400, abs=1)


def test_cancelling_is_in_the_history_of_each_job(admin_client, admin_user):
    """Who cancelled what can be looked up; a job that was not cancelled has no entry."""
    job, (running, _) = queued(), claimed()
    act(admin_client, "job", "cancel_selected", [job, running, queued()])

    entries = LogEntry.objects.filter(object_id=str(job.pk))
    assert [(entry.user, entry.change_message) for entry in entries] == [(admin_user, "Cancelled.")]
    assert not LogEntry.objects.filter(object_id=str(running.pk)).exists()
    assert "Cancelled." in admin_client.get(page("job", "history", job.pk)).text


def test_cancel_button_is_there_for_waiting_jobs_only(admin_client):
    """A job that runs or ended has no button."""
    running, _ = claimed()
    for job in (running, done()):
        assert "Cancel job" not in admin_client.get(page("job", "change", job.pk)).text


def test_cancelling_needs_a_post_with_a_token(client):
    """A link or a forged form from elsewhere cancels nothing."""
    job = queued()
    client.handler.enforce_csrf_checks = True
    client.force_login(staff("view_job", "cancel_job"))

    assert client.get(page("job", "cancel", job.pk)).status_code == 405
    assert client.post(page("job", "cancel", job.pk)).status_code == 403

    job.refresh_from_db()
    assert job.status == "queued"


def test_cancelling_a_job_that_is_gone_says_so(admin_client):
    """The row may have been purged since the page was opened."""
    response = admin_client.post(page("job", "cancel", uuid7()), follow=True)

    assert response.redirect_chain == [(LIST, 302)]
    assert "any more" in said(response)[0]


def test_running_job_can_be_deleted(client):
    """The row goes, and what its worker reports later is dropped."""
    job, claim = claimed()
    client.force_login(staff("view_job", "delete_job"))

    assert client.post(page("job", "delete", job.pk), {"post": "yes"}).status_code == 302

    assert not Job.objects.exists()
    late = transitions.succeed(claim, result_json=None, ttl=None)
    assert current_app().backend.apply([late]) == [False]


def test_selected_jobs_can_be_deleted(admin_client):
    """Django's own action, with its confirmation."""
    jobs = [queued(order_id=number) for number in range(3)]

    asked = act(admin_client, "job", "delete_selected", jobs[:2])
    assert "Are you sure" in asked.text
    assert Job.objects.count() == 3
    act(admin_client, "job", "delete_selected", jobs[:2], post="yes")

    assert list(Job.objects.all()) == [jobs[2]]


def test_markup_in_a_job_is_shown_as_text(admin_client):
    """Arguments, result, error, name and queue come from outside: none becomes HTML."""
    evil = "<script>alert('%s')</script>"
    job = Job.objects.create(
        job_name=evil % "name",
        queue=evil % "queue",
        args={evil % "key": evil % "value"},
        dedup_key=evil % "dedup",
        status="done",
        result=[evil % "result"],
        last_error=f"{evil % 'frame'}\n{evil % 'headline'}",
    )

    for url in (LIST, page("job", "change", job.pk), page("job", "delete", job.pk), LIST + "?q=%3Cscript"):
        text = admin_client.get(url).text
        assert "<script>alert" not in text
        assert "&lt;script&gt;alert" in text


def test_page_of_a_job_tells_everything(admin_client):
    """Arguments and result as JSON over several lines, the error with its last line on top."""
    job = done(json.dumps({"sent": ["a", "b"]}))
    Job.objects.filter(pk=job.pk).update(last_error=TRACEBACK, attempts=2)

    text = admin_client.get(page("job", "change", job.pk)).text

    assert str(job.pk) in text
    assert "2 of 3" in text
    assert "{\n  &quot;order_id&quot;: 1\n}" in text
    assert "&quot;sent&quot;: [\n    &quot;a&quot;,\n" in text
    assert '<strong class="soniq-error">ConnectionError: no route to mail server</strong>' in text
    assert "Traceback (most recent call last):" in text


def test_job_whose_code_was_deleted_is_shown_with_a_note(admin_client):
    """List and page need no code of the job."""
    job = Job.objects.create(job_name="shop.long_gone", args={"id": 7})

    assert listed(admin_client.get(LIST)) == [job]
    text = admin_client.get(page("job", "change", job.pk)).text
    assert "No job of this name is registered in this project." in text
    assert "is registered" not in admin_client.get(page("job", "change", queued().pk)).text


def test_page_of_a_job_that_gave_up_leads_to_its_dead_letter(admin_client):
    """An address that was noted while the job lived still leads to it."""
    letter = dead()

    response = admin_client.get(page("job", "change", letter.pk), follow=True)

    assert response.redirect_chain == [(page("deadletterjob", "change", letter.pk), 302)]
    assert said(response) == ["This job gave up; here is its dead letter."]


@pytest.mark.parametrize("object_id", ["nonsense", "0190", "00000000-0000-7000-8000-000000000000"])
def test_page_of_a_job_that_never_was_leads_to_the_start(admin_client, object_id):
    """Whether it is an id or not."""
    assert admin_client.get(page("job", "change", object_id)).status_code == 302


def test_search_finds_jobs_by_name_and_dedup_key(admin_client):
    """Parts of them are enough, in any case."""
    receipt = queued()
    picture = Job.objects.create(job_name="shop.resize_picture", dedup_key="Picture:77")

    for term, found in {"RECEIPT": [receipt], "picture:7": [picture], "nothing": []}.items():
        assert listed(admin_client.get(LIST, {"q": term})) == found


def test_search_for_an_id_asks_the_primary_key(admin_client):
    """With dashes or without, with spaces around; no other column is looked at."""
    job = queued()
    queued()

    for term in (str(job.pk), job.pk.hex, f" {job.pk} "):
        with CaptureQueriesContext(connection) as queries:
            assert listed(admin_client.get(LIST, {"q": term})) == [job]
        assert not [query for query in queries if "LIKE" in query["sql"].upper().split("WHERE")[-1]]


@pytest.mark.parametrize("term", ["0190-no-uuid", "'; --", "%", "\\", "\x00", "🎈" * 40, "{" + "0" * 36])
def test_search_for_anything_gets_an_answer(admin_client, term):
    """No text makes the list fail."""
    queued()

    assert admin_client.get(LIST, {"q": term}).status_code == 200


def test_filters_narrow_the_list(admin_client):
    """By status, queue and name; the choices are what the code declares and what rows have."""
    receipt = queued()
    old = Job.objects.create(job_name="shop.long_gone", queue="attic", status="done")

    assert listed(admin_client.get(LIST, {"status__exact": "done"})) == [old]
    assert listed(admin_client.get(LIST, {"queue": "emails"})) == [receipt]
    assert listed(admin_client.get(LIST, {"job_name": "shop.long_gone"})) == [old]
    _, queues, names, _ = admin_client.get(LIST).context["cl"].filter_specs
    assert {"attic", "emails", "pictures"} <= {value for value, _ in queues.lookup_choices}
    assert {"shop.long_gone", "shop.resize_picture"} <= {value for value, _ in names.lookup_choices}


@pytest.mark.parametrize("value", ["elsewhere", "\x00", "<script>alert(1)</script>"])
def test_filter_by_a_value_that_no_job_has_shows_an_empty_list(admin_client, value):
    """An old bookmark, or an address that somebody made up."""
    queued()

    response = admin_client.get(LIST, {"queue": value})

    assert listed(response) == []
    assert "<script>alert" not in response.text


def test_choices_of_a_filter_are_bounded(admin_client):
    """A queue per customer does not make a page per customer, and the chosen one is always there."""
    Job.objects.bulk_create(Job(job_name="shop.sync", queue=f"customer-{n:04}") for n in range(300))

    response = admin_client.get(LIST, {"queue": "customer-0299"})

    offered = [value for value, _ in response.context["cl"].filter_specs[1].lookup_choices]
    assert len(offered) == 101
    assert offered[-1] == "customer-0299"


def test_number_of_queries_does_not_grow_with_the_list(admin_client, django_assert_num_queries):
    """Session, user, two filters, a bounded count and the rows: six, for one job as for fifty."""
    for jobs in (1, 49):
        Job.objects.bulk_create(Job(job_name="shop.sync", args={"n": n}) for n in range(jobs))
        with django_assert_num_queries(6):
            assert len(listed(admin_client.get(LIST))) in (1, 50)


def test_list_does_not_read_arguments_errors_and_results(admin_client):
    """They may take a megabyte each."""
    queued()

    with CaptureQueriesContext(connection) as queries:
        admin_client.get(LIST)

    for column in ("args", "last_error", "result", "context", "failures"):
        assert not [query for query in queries if f'"soniq_jobs"."{column}"' in query["sql"]]


def test_list_counts_and_selects_no_further_than_it_reaches(admin_client, monkeypatch):
    """Of a bigger table it shows the newest jobs and says so; "select all" means these."""
    monkeypatch.setattr(paging, "REACH", 3)
    monkeypatch.setattr("soniq_django.admin.table.REACH", 3)
    jobs = [queued(order_id=number) for number in range(5)]

    response = admin_client.get(LIST)
    assert response.context["cl"].result_count == 3
    assert "The list ends after 3 rows" in response.text
    act(admin_client, "job", "cancel_selected", jobs[-1:], select_across="1")

    cancelled = Job.objects.filter(status="cancelled").order_by("id")
    assert list(cancelled) == jobs[2:]


def test_counting_stops_at_the_reach(admin_client):
    """The count is of a limited number of rows."""
    with CaptureQueriesContext(connection) as queries:
        admin_client.get(LIST)

    (count,) = [query["sql"] for query in queries if "COUNT(" in query["sql"]]
    assert f"LIMIT {paging.REACH + 1}" in count


def of_another_release(**columns):
    """A job whose name this project's code does not have."""
    job = queued()
    Job.objects.filter(pk=job.pk).update(job_name="shop.<old>", **columns)
    job.refresh_from_db()
    return job


def test_job_that_waits_for_unknown_code_is_marked_with_its_age(admin_client):
    """In the list; a job that ran, or that some code answers to, has no mark."""
    queued()
    of_another_release(status="done")
    assert "unknown here" not in admin_client.get(LIST).text

    of_another_release(created_at=timezone.now() - timedelta(hours=3, minutes=5))

    shown = " ".join(admin_client.get(LIST).text.replace("\xa0", " ").split())
    assert shown.count("unknown here") == 1
    assert "shop.&lt;old&gt; <span" in shown
    assert "unknown here, waits for 3 hours</span>" in shown


def test_filter_shows_what_waits_for_unknown_code(admin_client):
    """Not what ended under a name that is gone since."""
    queued()
    of_another_release(status="done")
    waits = of_another_release()

    assert listed(admin_client.get(LIST, {"code": "unknown"})) == [waits]
    assert len(listed(admin_client.get(LIST, {"code": "anything"}))) == 3


def test_status_is_told_in_words(admin_client):
    """The colour of a badge repeats what its text says."""
    queued()
    claimed()

    text = admin_client.get(LIST).text

    assert '<span class="soniq-badge soniq-queued">queued</span>' in text
    assert '<span class="soniq-badge soniq-processing">processing</span>' in text


def test_times_are_told_from_now(admin_client):
    """How long ago, or how soon; the exact time is the tooltip."""
    now = timezone.now()
    job = queued()
    Job.objects.filter(pk=job.pk).update(
        scheduled_at=now + timedelta(hours=2, minutes=5), created_at=now - timedelta(days=3)
    )

    text = admin_client.get(LIST).text.replace("\N{NO-BREAK SPACE}", " ")

    assert ">in 2 hours</time>" in text
    assert ">3 days ago</time>" in text
    assert ">just now</time>" in text


@pytest.mark.parametrize("alias", ALIASES)
def test_admin_looks_where_the_app_keeps_its_jobs(admin_client, alias, settings):
    """Lists, pages and actions work in the database that the settings name, whatever the router says."""
    settings.SONIQ = {"DATABASE": alias}
    queued_there = Job.objects.using(alias).get(pk=send_receipt.enqueue(order_id=1))
    deleted_there = Job.objects.using(alias).get(pk=send_receipt.enqueue(order_id=2))

    assert listed(admin_client.get(LIST)) == [deleted_there, queued_there]
    assert "Cancel job" in admin_client.get(page("job", "change", queued_there.pk)).text
    assert said(act(admin_client, "job", "cancel_selected", [queued_there])) == ["1 job was cancelled."]
    act(admin_client, "job", "delete_selected", [deleted_there], post="yes")

    assert listed(admin_client.get(LIST)) == [queued_there]
    assert list(Job.objects.using(alias).values_list("status", flat=True)) == ["cancelled"]


def test_admin_shows_the_projects_tables_when_the_app_has_none(admin_client, soniq_app):
    """As in tests, where the app keeps its jobs in memory."""
    job = Job.objects.create(job_name="shop.send_receipt")

    assert listed(admin_client.get(LIST)) == [job]


def test_dead_letters_are_not_listed_among_jobs(admin_client):
    """A job that gave up has moved."""
    dead()

    assert listed(admin_client.get(LIST)) == []
    assert DeadLetterJob.objects.count() == 1


def test_page_shows_each_failed_attempt(admin_client):
    """As a table, the last one first: which, when, whose, and its error with the last line on top."""
    job, claim = claimed()
    backend = current_app().backend
    backend.apply([transitions.fail(claim, error=TRACEBACK, delay=0)])
    (again,) = backend.claim(ClaimRequest(worker_id=str(uuid7()), limit=1))
    backend.apply([transitions.rescue(again, max_crashes=9)])

    text = admin_client.get(page("job", "change", job.pk)).text

    rows = text.partition('<table class="soniq-history">')[2].partition("</table>")[0].split("<tr>")[2:]
    assert [row.partition("</td>")[0] for row in rows] == ["<td>2", "<td>1"]
    assert again.worker_id in rows[0]
    assert "was lost during attempt 2" in rows[0]
    assert claim.worker_id in rows[1]
    assert '<strong class="soniq-error">ConnectionError: no route to mail server</strong>' in rows[1]
    assert "Traceback (most recent call last):" in rows[1]
    assert all("<time datetime=" in row for row in rows)


def test_page_of_a_job_without_failures_and_context_has_no_such_headings(admin_client):
    """Most jobs have neither."""
    text = admin_client.get(page("job", "change", queued().pk)).text

    assert "soniq-history" not in text
    assert "Context" not in text
