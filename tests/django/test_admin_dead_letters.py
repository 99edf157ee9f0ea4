"""Dead letters in the admin: what is shown, to whom, and how they are replayed."""

import json

import pytest
from django.contrib.admin.models import LogEntry
from django.db import connection
from django.test.utils import CaptureQueriesContext

from soniq.ids import uuid7
from soniq.jobs import DeadLetterReason
from soniq_django.models import DeadLetterJob, Job
from tests.shop.jobs import rebuild_index
from tests.support.admin import TRACEBACK, act, dead, page, said, staff

pytestmark = pytest.mark.django_db(databases="__all__")

LIST = "/admin/soniq_django/deadletterjob/"
FORM = {"args": '{"order_id": 1}', "queue": "emails", "priority": "100", "max_attempts": "3", "seen": "0"}


def listed(response):
    """The dead letters that a list shows."""
    return list(response.context["cl"].result_list)


def replay(client, letter, **changes):
    """Send the form, with these values changed."""
    return client.post(page("deadletterjob", "replay", letter.pk), {**FORM, **changes}, follow=True)


def failing(*_args):
    """Stands for a history that cannot be written."""
    raise OSError("disk full")


def untouched(letter):
    """Whether nothing was written: no job, no count, no entry in the history."""
    replays = DeadLetterJob.objects.get(pk=letter.pk).resurrection_count
    return (Job.objects.count(), replays, LogEntry.objects.count()) == (0, 0, 0)


def test_anonymous_visitor_is_sent_to_the_login(client):
    """Neither list, page nor form answers without a login."""
    letter = dead()

    for url in (LIST, page("deadletterjob", "change", letter.pk), page("deadletterjob", "replay", letter.pk)):
        assert client.get(url).url.startswith("/admin/login/")
    assert client.post(page("deadletterjob", "replay", letter.pk), FORM).url.startswith("/admin/login/")

    assert untouched(letter)


def test_viewer_sees_dead_letters_and_can_do_nothing(client):
    """The permission to view shows list and page without action or button."""
    letter = dead()
    client.force_login(staff("view_deadletterjob"))

    shown = client.get(LIST)
    assert listed(shown) == [letter]
    assert 'name="action"' not in shown.text
    detail = client.get(page("deadletterjob", "change", letter.pk)).text
    assert "Replay…" not in detail
    assert "deletelink" not in detail
    assert client.get(page("deadletterjob", "replay", letter.pk)).status_code == 403
    assert replay(client, letter).status_code == 403
    act(client, "deadletterjob", "replay_selected", [letter])
    assert client.post(page("deadletterjob", "delete", letter.pk), {"post": "yes"}).status_code == 403

    assert untouched(letter)


def test_holder_of_replay_permission_replays_but_does_not_delete(client):
    """The permission to replay brings the button and the action, and no more."""
    letter = dead()
    client.force_login(staff("view_deadletterjob", "replay_deadletterjob"))

    assert "Replay…" in client.get(page("deadletterjob", "change", letter.pk)).text
    assert said(act(client, "deadletterjob", "replay_selected", [letter])) == ["1 dead letter was replayed."]
    assert client.post(page("deadletterjob", "delete", letter.pk), {"post": "yes"}).status_code == 403

    assert Job.objects.count() == 1


def test_replay_without_permission_to_see_jobs_leads_back(client):
    """The new job's id is told, but not linked to a page that would refuse."""
    letter = dead()
    client.force_login(staff("view_deadletterjob", "replay_deadletterjob"))

    response = replay(client, letter)

    assert response.redirect_chain == [(page("deadletterjob", "change", letter.pk), 302)]
    assert said(response) == [f"Replayed as job {Job.objects.get().pk}."]


def test_replay_permission_without_view_permission_opens_nothing(client):
    """Who may not see a dead letter may not replay it by its address either."""
    letter = dead()
    client.force_login(staff("replay_deadletterjob"))

    assert replay(client, letter).status_code == 403
    assert untouched(letter)


def test_nobody_can_edit_or_add_a_dead_letter(admin_client):
    """Even a superuser's POST to the page or to an add page changes nothing."""
    letter = dead()

    assert admin_client.post(page("deadletterjob", "change", letter.pk), {"queue": "x"}).status_code == 403
    assert admin_client.get(page("deadletterjob", "add")).status_code == 403


def test_replay_needs_a_token(client):
    """A forged form from elsewhere replays nothing."""
    letter = dead()
    client.handler.enforce_csrf_checks = True
    client.force_login(staff("view_deadletterjob", "replay_deadletterjob"))

    assert replay(client, letter).status_code == 403
    assert untouched(letter)


def test_form_starts_with_what_the_job_died_with(admin_client):
    """Sending it as it is replays the job unchanged."""
    letter = dead(args={"order_id": 1, "né": ["ü"]}, priority=7)

    form = admin_client.get(page("deadletterjob", "replay", letter.pk)).context["adminform"].form

    assert json.loads(form["args"].initial) == {"order_id": 1, "né": ["ü"]}
    assert "né" in form["args"].initial
    values = [form[name].initial for name in ("queue", "priority", "max_attempts")]
    assert values == ["emails", 7, 3]


def test_replay_with_other_arguments_makes_the_job_that_was_asked_for(admin_client, admin_user):
    """The new job has the edited values, the dead letter stays and counts, the history knows."""
    letter = dead()

    response = replay(
        admin_client, letter, args='{"order_id": 2}', queue="slow", priority="5", max_attempts="9"
    )

    job = Job.objects.get()
    assert (job.args, job.queue, job.priority, job.max_attempts) == ({"order_id": 2}, "slow", 5, 9)
    assert (job.status, job.attempts, job.job_name) == ("queued", 0, "shop.send_receipt")
    assert response.redirect_chain == [(page("job", "change", job.pk), 302)]
    assert said(response) == [f'Replayed as job <a href="{page("job", "change", job.pk)}">{job.pk}</a>.']
    letter.refresh_from_db()
    assert (letter.resurrection_count, letter.args) == (1, {"order_id": 1})
    (entry,) = LogEntry.objects.all()
    assert (entry.user, entry.object_id) == (admin_user, str(letter.pk))
    assert entry.change_message == f"Replayed as job {job.pk}."
    assert str(job.pk) in admin_client.get(page("deadletterjob", "history", letter.pk)).text


def held_by_a_live_job():
    """A dead letter of a unique job, and the live twin that keeps it from being replayed."""
    letter = dead(job_name="shop.rebuild_index", args={"shop": "north"})
    return letter, rebuild_index.enqueue(shop="north")


def test_replay_that_a_live_job_stands_in_the_way_of_says_so(admin_client):
    """Page and history tell the job that holds the key, and claim no replay."""
    letter, holder = held_by_a_live_job()

    response = replay(admin_client, letter, args='{"shop": "north"}')

    assert response.redirect_chain == [(page("job", "change", holder), 302)]
    link = f'<a href="{page("job", "change", holder)}">{holder}</a>'
    assert said(response) == [f"Nothing was enqueued, the live job {link} holds its unique key."]
    assert Job.objects.count() == 1
    letter.refresh_from_db()
    assert letter.resurrection_count == 0
    told = f"Not replayed: nothing was enqueued, the live job {holder} holds its unique key."
    assert [entry.change_message for entry in LogEntry.objects.all()] == [told]


def test_replay_action_counts_no_job_that_was_not_enqueued(admin_client):
    """The one that a live job stands in the way of is named, the other is counted."""
    letter, holder = held_by_a_live_job()
    other = dead()

    told = said(act(admin_client, "deadletterjob", "replay_selected", [letter, other]))

    assert told == [
        "1 dead letter was replayed.",
        f"{letter} was not replayed: nothing was enqueued, the live job {holder} holds its unique key.",
    ]


def test_form_sent_twice_replays_once(admin_client):
    """The second one is refused, with a form that replays once more if it is sent again."""
    letter = dead()

    replay(admin_client, letter)
    second = replay(admin_client, letter)

    assert "was replayed meanwhile; look again" in second.context["adminform"].form.non_field_errors()[0]
    assert '<input type="hidden" name="seen" value="1">' in second.text
    assert Job.objects.count() == 1
    replay(admin_client, letter, seen="1")
    assert Job.objects.count() == 2


@pytest.mark.parametrize("seen", ["", "x", "-1", "1"])
def test_form_that_has_not_seen_the_replays_there_are_is_refused(admin_client, seen):
    """Whatever it says it has seen instead."""
    letter = dead()

    assert "was replayed meanwhile" in replay(admin_client, letter, seen=seen).text
    assert untouched(letter)


def test_form_that_is_overtaken_while_it_is_served_replays_nothing(admin_client, monkeypatch):
    """The other replay is committed after this request has looked at the dead letter."""
    letter = dead()
    replayed = DeadLetterJob.replay

    def overtaken(row, **options):
        DeadLetterJob.objects.filter(pk=letter.pk).update(resurrection_count=1)
        return replayed(row, **options)

    monkeypatch.setattr(DeadLetterJob, "replay", overtaken)

    response = replay(admin_client, letter)

    assert "was replayed meanwhile" in response.text
    assert untouched(letter)  # what the other one wrote is in this test's transaction, and undone too


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ('{"order_id": 1', "line 1, column 15"),
        ("{'order_id': 1}", "line 1, column 2"),
        ("[1]", "Give a JSON object"),
        ("null", "Give a JSON object"),
        ("", "required"),
        ('{"order_id": ' + "9" * 5000 + "}", "cannot be read"),
        ("[" * 100_000, "cannot be read"),
        ('{"order_id": NaN}', "args.order_id is nan"),
        ('{"order_id": "\\u0000"}', "NUL"),
        ('{"order_id": "\\ud800"}', "surrogate"),
        ('{"order_id": ' + "[" * 80 + "]" * 80 + "}", "nested deeper"),
        ('{"order": 1}', "order"),
        ("{}", "order_id"),
        ('{"order_id": 1, "extra": 2}', "extra"),
        (json.dumps({"order_id": "x" * 1_100_000}), "over the limit"),
    ],
    ids=lambda value: value[:24] if isinstance(value, str) else None,
)
def test_arguments_that_cannot_be_are_refused_at_the_field(admin_client, text, complaint):
    """The form comes back with what was typed and why it is wrong; nothing is written."""
    letter = dead()

    response = replay(admin_client, letter, args=text)

    assert response.status_code == 200
    form = response.context["adminform"].form
    (error,) = form.errors["args"]
    assert complaint in error
    assert form["args"].value() == text
    assert untouched(letter)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("queue", "no such thing!"),
        ("queue", ""),
        ("queue", "q" * 64),
        ("priority", "-1"),
        ("priority", "1001"),
        ("priority", "high"),
        ("max_attempts", "0"),
        ("max_attempts", "32768"),
    ],
)
def test_other_values_that_cannot_be_are_refused_at_their_field(admin_client, field, value):
    """Each complaint stands where the value is."""
    letter = dead()

    response = replay(admin_client, letter, **{field: value})

    assert list(response.context["adminform"].form.errors) == [field]
    assert untouched(letter)


def test_refused_markup_is_shown_as_text(admin_client):
    """What was typed, and the complaint that quotes it, are escaped."""
    letter = dead()

    text = replay(admin_client, letter, args='{"<script>alert(1)</script>": 1}').text

    assert "<script>alert" not in text
    assert "&lt;script&gt;alert" in text


def test_replay_of_a_job_whose_code_was_deleted_says_so(admin_client):
    """List, page and form are there; the replay is refused with the name and a hint."""
    letter = dead(job_name="shop.send_reciept")

    assert listed(admin_client.get(LIST)) == [letter]
    note = "No job of this name is registered in this project."
    assert note in admin_client.get(page("deadletterjob", "change", letter.pk)).text
    assert note in admin_client.get(page("deadletterjob", "replay", letter.pk)).text
    response = replay(admin_client, letter)

    (error,) = response.context["adminform"].form.non_field_errors()
    assert "no job named 'shop.send_reciept'" in error
    assert "did you mean 'shop.send_receipt'?" in error
    assert untouched(letter)


def test_one_refused_replay_does_not_stop_the_others(admin_client):
    """Each refused one is named with its reason."""
    unknown = dead(job_name="shop.long_gone")
    unfit = dead(args={"order": 1})
    good = [dead(), dead()]

    told = said(act(admin_client, "deadletterjob", "replay_selected", [unknown, unfit, *good]))

    assert told[0] == "2 dead letters were replayed."
    refused = "\n".join(told[1:])
    assert f"shop.long_gone {unknown.pk} was not replayed: no job named 'shop.long_gone'" in refused
    assert f"shop.send_receipt {unfit.pk} was not replayed: " in refused
    assert len(told) == 3
    counts = {row.pk: row.resurrection_count for row in DeadLetterJob.objects.all()}
    assert counts == {unknown.pk: 0, unfit.pk: 0, good[0].pk: 1, good[1].pk: 1}
    assert Job.objects.count() == 2
    logged = LogEntry.objects.values_list("object_id", flat=True)
    assert set(logged) == {str(letter.pk) for letter in good}


def test_many_refused_replays_fill_no_page_with_messages(admin_client):
    """Ten are told one by one, the others are counted."""
    letters = [dead(job_name="shop.long_gone") for _ in range(13)]

    told = said(act(admin_client, "deadletterjob", "replay_selected", letters))

    assert len(told) == 11
    assert told[-1] == "3 more were not replayed."


def test_replay_of_a_dead_letter_that_is_gone_says_so(admin_client):
    """It may have been deleted since the page was opened."""
    letter = dead()
    DeadLetterJob.objects.all().delete()

    response = replay(admin_client, letter)

    assert response.redirect_chain == [(LIST, 302)]
    assert "any more" in said(response)[0]
    assert not Job.objects.exists()


def test_dead_letters_can_be_deleted(client):
    """From the page and from the list, with the permission to delete."""
    first, second, third = dead(), dead(), dead()
    client.force_login(staff("view_deadletterjob", "delete_deadletterjob"))

    client.post(page("deadletterjob", "delete", first.pk), {"post": "yes"})
    act(client, "deadletterjob", "delete_selected", [second], post="yes")

    assert list(DeadLetterJob.objects.all()) == [third]


def test_all_dead_letters_of_a_filter_can_be_deleted(admin_client):
    """What "select all" means is what the filter left."""
    dead(reason=DeadLetterReason.TIMEOUT)
    kept = dead()

    admin_client.post(
        LIST + "?reason=timeout",
        {"action": "delete_selected", "select_across": "1", "_selected_action": str(kept.pk), "post": "yes"},
    )

    assert list(DeadLetterJob.objects.all()) == [kept]


def test_no_more_is_offered_for_deletion_than_one_request_may_name(admin_client, settings):
    """Django's confirmation sends a field per row, and refuses requests with too many."""
    settings.DATA_UPLOAD_MAX_NUMBER_FIELDS = 13
    letters = [dead() for _ in range(5)]
    newest = [str(letter.pk) for letter in letters[:1:-1]]

    asked = act(admin_client, "deadletterjob", "delete_selected", letters[:1], select_across="1")

    assert [str(row.pk) for row in asked.context["queryset"]] == newest
    assert said(asked) == ["These are the first 3; more cannot be deleted at a time."]
    confirmed = {"action": "delete_selected", "post": "yes", "_selected_action": newest}
    assert admin_client.post(LIST, confirmed).status_code == 302
    assert DeadLetterJob.objects.count() == 2


def test_replay_that_cannot_be_noted_is_undone(admin_client, monkeypatch):
    """No job is enqueued behind the history's back."""
    letter = dead()
    monkeypatch.setattr("soniq_django.admin.dead_letters.note", failing)

    with pytest.raises(OSError, match="disk full"):
        replay(admin_client, letter)

    assert untouched(letter)


def test_markup_in_a_dead_letter_is_shown_as_text(admin_client):
    """Arguments, error, name, queue, reason and tags come from outside: none becomes HTML."""
    evil = "<script>alert('%s')</script>"
    letter = dead(
        job_name=evil % "name",
        queue=evil % "queue",
        args={evil % "key": evil % "value"},
        last_error=f"{evil % 'frame'}\n{evil % 'headline'}",
        dead_letter_reason="<script>alert()",
        tags=[evil % "tag"],
    )

    for url in (
        LIST,
        page("deadletterjob", "change", letter.pk),
        page("deadletterjob", "replay", letter.pk),
        page("deadletterjob", "delete", letter.pk),
    ):
        text = admin_client.get(url).text
        assert "<script>alert" not in text
        assert "&lt;script&gt;alert" in text
    refused = dead(job_name=evil % "name")
    told = act(admin_client, "deadletterjob", "replay_selected", [refused]).text
    assert "was not replayed" in told
    assert "<script>alert" not in told


def test_list_shows_the_last_line_of_each_error(admin_client):
    """Of a long error, too: the line that says what went wrong."""
    dead(error="x" * 30_000 + "\n" + TRACEBACK)
    dead(error="short")
    dead(error="Boom: " + "y" * 5_000)

    text = admin_client.get(LIST).text

    assert ">ConnectionError: no route to mail server<" in text
    assert ">short<" in text
    assert f">…{'y' * 98}…<" in text
    assert "Traceback" not in text


def test_page_of_a_dead_letter_tells_everything(admin_client):
    """Arguments over several lines, the error with its last line on top, reason and tags."""
    letter = dead(tags=["mail", "july"], reason=DeadLetterReason.TIMEOUT)

    text = admin_client.get(page("deadletterjob", "change", letter.pk)).text

    assert "{\n  &quot;order_id&quot;: 1\n}" in text
    assert '<strong class="soniq-error">ConnectionError: no route to mail server</strong>' in text
    assert "Traceback (most recent call last):" in text
    assert '<span class="soniq-badge soniq-timeout">timeout</span>' in text
    assert "mail, july" in text
    assert "1 of 3" in text


def test_dead_letter_without_an_error_is_shown(admin_client):
    """The column may be empty."""
    letter = dead(last_error=None)

    assert admin_client.get(LIST).status_code == 200
    assert "Last error" not in admin_client.get(page("deadletterjob", "change", letter.pk)).text


def test_filters_narrow_the_list(admin_client):
    """By reason, queue, name, and whether it was replayed."""
    plain = dead()
    lost = dead(reason=DeadLetterReason.WORKER_LOST, queue="attic", job_name="shop.old", resurrection_count=2)

    for name, value in {
        "reason": "worker_lost",
        "queue": "attic",
        "job_name": "shop.old",
        "replayed": "yes",
    }.items():
        assert listed(admin_client.get(LIST, {name: value})) == [lost]
    assert listed(admin_client.get(LIST, {"replayed": "no"})) == [plain]
    assert len(listed(admin_client.get(LIST, {"reason": "made-up", "replayed": "perhaps"}))) == 2


def test_search_finds_dead_letters_by_name_and_id(admin_client):
    """An id is the id of the job that gave up."""
    receipt, old = dead(), dead(job_name="shop.old")

    for term, found in {"OLD": [old], str(receipt.pk): [receipt], str(uuid7()): [], "no-uuid": []}.items():
        assert listed(admin_client.get(LIST, {"q": term})) == found


def test_newest_dead_letters_come_first(admin_client):
    """By when the job gave up, not by when it was enqueued."""
    first, second = dead(), dead()
    DeadLetterJob.objects.filter(pk=first.pk).update(moved_to_dead_letter_at="2999-01-01T00:00Z")

    assert listed(admin_client.get(LIST)) == [first, second]


def test_number_of_queries_does_not_grow_with_the_list(admin_client, django_assert_num_queries):
    """Session, user, two filters, a bounded count and the rows: six, for one row as for ten."""
    for letters in (1, 9):
        for _ in range(letters):
            dead()
        with django_assert_num_queries(6):
            assert len(listed(admin_client.get(LIST))) in (1, 10)


def test_list_reads_no_arguments_and_no_whole_errors(admin_client):
    """They may take a megabyte each."""
    dead()

    with CaptureQueriesContext(connection) as queries:
        admin_client.get(LIST)

    (rows,) = [query["sql"] for query in queries if "error_tail" in query["sql"]]
    for column in ("args", "context", "failures"):
        assert f'"{column}"' not in rows
    assert '"last_error",' not in rows.replace('("soniq_dead_letter_jobs"."last_error",', "(")
