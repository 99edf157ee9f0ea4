"""Schedules in the admin: when they fire, and steering them."""

import re
from datetime import UTC, datetime, timedelta
from html import unescape

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.admin.utils import quote
from django.utils.html import escape

from soniq_django.conf import current_app
from soniq_django.models import DeadLetterJob, Job, Schedule
from tests.shop.jobs import send_receipt
from tests.support.admin import act, page, said, staff

pytestmark = pytest.mark.django_db(databases="__all__")

LIST = "/admin/soniq_django/schedule/"
ODD = "a/b _5F 'ü' \"%s\"?#<b>"  # a name may be any text


def made(name="nightly", **options):
    """A schedule of a job with an argument."""
    options = {"cron": "0 3 * * *", "timezone": "Europe/Berlin", "args": {"order_id": 7}, **options}
    if "every" in options:
        del options["cron"]
    current_app().scheduler.add_now(send_receipt, name=name, **options)
    return Schedule.objects.get(pk=name)


def test_list_shows_the_rule_the_zone_and_the_next_fire_time(admin_client):
    made()
    made("often", every=timedelta(minutes=5))
    made("over", ends_at=datetime(2020, 1, 1, tzinfo=UTC))
    current_app().scheduler.pause_now("often")

    text = admin_client.get(LIST).text

    for shown in (
        "every day at 03:00 (0 3 * * *)",
        "Europe/Berlin",
        "every 5 minutes",
        '<span class="soniq-badge soniq-schedule-active">active</span>',
        '<span class="soniq-badge soniq-schedule-paused">paused</span>',
        '<span class="soniq-badge soniq-schedule-ended">ended</span>',
    ):
        assert shown in text


def bury(job_id):
    """As if a worker had given the job up."""
    job = Job.objects.get(pk=job_id)
    same = ("id", "job_name", "queue", "priority", "args", "max_attempts", "context")
    DeadLetterJob.objects.create(
        **{name: getattr(job, name) for name in same},
        attempts=1,
        dead_letter_reason="timeout",
        original_created_at=job.created_at,
        tags=[],
    )
    job.delete()


@pytest.mark.parametrize("status", ["active", "paused", "ended"])
def test_list_can_be_confined_to_a_status(admin_client, status):
    made("active")
    made("ended", ends_at=datetime(2020, 1, 1, tzinfo=UTC))
    made("paused")
    current_app().scheduler.pause_now("paused")

    [shown] = admin_client.get(LIST, {"status": status}).context["cl"].result_list

    assert shown.name == status


def test_page_shows_the_next_fire_times_on_the_schedules_own_clock(admin_client):
    """Across a change of the clock: it is three there, whatever the distance."""
    made()
    Schedule.objects.update(next_fire_at=datetime(2031, 3, 29, 2, tzinfo=UTC))

    text = admin_client.get(page("schedule", "change", "nightly")).text

    assert "2031-03-29 03:00:00 CET" in text
    assert "2031-03-30 03:00:00 CEST" in text
    assert "2031-04-02 03:00:00 CEST" in text
    assert "2031-04-03" not in text
    assert "order_id" in text


@pytest.mark.parametrize(
    "columns", [{"cron": "x"}, {"timezone": "Nowhere"}, {"misfire": "?", "args_json": "{"}]
)
def test_row_that_somebody_broke_can_be_looked_at(admin_client, columns):
    made()
    Schedule.objects.update(**columns)

    assert admin_client.get(LIST).status_code == 200
    assert admin_client.get(page("schedule", "change", "nightly")).status_code == 200


def test_any_name_has_a_page_and_its_buttons_work(admin_client):
    made(ODD)
    text = admin_client.get(page("schedule", "change", quote(ODD))).text
    assert "<b>" not in text.partition("</title>")[2]
    assert page("schedule", "pause", quote(ODD)) in unescape(text)

    answer = admin_client.post(page("schedule", "pause", quote(ODD)), follow=True)

    assert said(answer) == ["1 schedule is paused."]
    assert Schedule.objects.get(pk=ODD).paused
    assert page("schedule", "resume", quote(ODD)) in unescape(answer.text)


def test_pause_and_resume_are_noted_in_the_history(client):
    made("one")
    made("two")
    client.force_login(staff("view_schedule", "pause_schedule"))

    assert said(act(client, "schedule", "pause_selected", Schedule.objects.all())) == [
        "2 schedules are paused."
    ]
    assert not Schedule.objects.filter(paused=False).exists()
    assert not Schedule.objects.filter(next_fire_at__isnull=False).exists()
    assert said(act(client, "schedule", "resume_selected", Schedule.objects.filter(pk="one"))) == [
        "1 schedule is active."
    ]

    assert Schedule.objects.get(pk="one").next_fire_at is not None
    entries = LogEntry.objects.order_by("pk").values_list("object_id", "change_message")
    assert sorted(entries[:2]) == [("one", "Paused."), ("two", "Paused.")]
    assert entries[2] == ("one", "Resumed.")


def test_running_out_of_turn_enqueues_the_job_and_says_which(client):
    schedule = made()
    client.force_login(staff("view_schedule", "run_schedule"))

    assert said(act(client, "schedule", "run_selected", [schedule])) == ["1 job was enqueued."]

    job = Job.objects.get()
    assert job.args == {"order_id": 7}
    assert LogEntry.objects.get().change_message == f"Run as job {job.pk}."
    after = Schedule.objects.get()
    assert (after.next_fire_at, after.fired) == (schedule.next_fire_at, 1)
    assert page("job", "change", job.pk) in client.get(page("schedule", "change", "nightly")).text


def test_a_schedule_without_code_is_refused_and_others_run(client):
    made()
    gone = made("gone")
    Schedule.objects.filter(pk="gone").update(job_name="shop.gone")
    client.force_login(staff("view_schedule", "run_schedule"))

    refused, ran = sorted(said(act(client, "schedule", "run_selected", [gone, made()])), reverse=True)

    assert "no job named 'shop.gone'" in refused
    assert ran == "1 job was enqueued."
    assert LogEntry.objects.count() == Job.objects.count() == 1


def test_a_schedule_that_went_away_is_told(admin_client):
    made()
    url = page("schedule", "run", "nightly")
    Schedule.objects.all().delete()

    assert "any more" in said(admin_client.post(url, follow=True))[0]


DEEDS = {"pause": "pause_schedule", "resume": "pause_schedule", "run": "run_schedule"}


@pytest.mark.parametrize("verb", DEEDS)
def test_every_deed_needs_its_permission_and_a_post(client, verb):
    made()
    before = Schedule.objects.values().get()
    others = {"view_schedule", "delete_schedule", "change_schedule", *DEEDS.values()} - {DEEDS[verb]}
    client.force_login(staff(*others))
    assert client.post(page("schedule", verb, "nightly")).status_code == 403
    assert f"/{verb}/" not in client.get(page("schedule", "change", "nightly")).text
    client.force_login(staff(DEEDS[verb]))  # may do it, but not look at it
    assert client.post(page("schedule", verb, "nightly")).status_code == 403
    client.force_login(staff("view_schedule", DEEDS[verb]))
    assert client.get(page("schedule", verb, "nightly")).status_code == 405

    assert Schedule.objects.values().get() == before
    assert client.post(page("schedule", verb, "nightly")).status_code == 302


@pytest.mark.parametrize("name", ["nightly", ODD])
def test_page_leads_to_the_jobs_and_dead_letters_that_the_schedule_made(admin_client, name):
    made(name)
    made("other")
    service = current_app().scheduler
    job_id, gave_up, _ = service.run_now(name), service.run_now(name), service.run_now("other")
    send_receipt.enqueue(order_id=7)
    bury(gave_up)

    text = admin_client.get(page("schedule", "change", quote(name))).text
    jobs, letters = (
        unescape(found) for found in re.findall(r'<a href="([^"]*/(?:job|deadletterjob)/\?[^"]*)">', text)
    )

    def listed(url):
        shown = admin_client.get(url)
        assert escape(name) in shown.text  # as the chosen filter
        return [str(row.pk) for row in shown.context["cl"].result_list]

    assert (listed(jobs), listed(letters)) == ([job_id], [gave_up])


def test_a_schedule_that_no_database_takes_is_one_without_jobs(admin_client):
    send_receipt.enqueue(order_id=7)
    shown = admin_client.get("/admin/soniq_django/job/", {"schedule": "a\x00b"})
    assert list(shown.context["cl"].result_list) == []


def test_schedules_are_neither_added_nor_edited_here(admin_client):
    made()
    assert admin_client.get(page("schedule", "add")).status_code == 403
    assert admin_client.post(page("schedule", "change", "nightly"), {"cron": "* * * * *"}).status_code == 403
    assert Schedule.objects.get().cron == "0 3 * * *"


def test_who_may_delete_can_remove_one(client):
    made()
    client.force_login(staff("view_schedule", "delete_schedule"))
    client.post(page("schedule", "delete", "nightly"), {"post": "yes"})
    assert not Schedule.objects.exists()


def test_search_finds_names_of_schedules_and_of_jobs(admin_client):
    made("Nightly report")
    made("other")

    def found(text):
        return [row.name for row in admin_client.get(LIST, {"q": text}).context["cl"].result_list]

    assert found("REPORT") == ["Nightly report"]
    assert found("send_receipt") == ["Nightly report", "other"]
    assert found("01890a5d-ac96-774b-bcce-b302099a8057") == []


def test_secrets_among_the_arguments_are_masked(admin_client):
    made()
    Schedule.objects.update(args_json='{"password": "hunter2"}')
    text = admin_client.get(page("schedule", "change", "nightly")).text
    assert "hunter2" not in text
    assert "password" in text


def test_number_of_queries_does_not_grow_with_the_list(admin_client, django_assert_num_queries):
    """Session, user, the names of jobs to filter by, a bounded count and the rows."""
    for schedules in (1, 9):
        for number in range(schedules):
            made(f"{schedules} {number}")
        with django_assert_num_queries(5):
            admin_client.get(LIST)
