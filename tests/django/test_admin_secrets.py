"""Hostile payloads and secrets in the admin: shown as text, masked, and stored as they were."""

from __future__ import annotations

import csv
import io
import json

import pytest

from soniq_django.conf import current_app
from soniq_django.models import DeadLetterJob, Job
from tests.support.admin import act, dead, page, said

pytestmark = pytest.mark.django_db(databases="__all__")

SECRET = "hunter2"
ARGS = {
    "order_id": 1,
    "user_password": SECRET,
    "smtp": {"hosts": [{"name": "mx", "Api-Key": SECRET}], "TOKEN": {"value": SECRET}},
    "headers": [["Authorization", f"Bearer {SECRET}"]],
}
ERROR = f"Traceback …\nConnectionError: no route, token={SECRET}, headers={{'Cookie': '{SECRET}'}}"
HOSTILE = {
    "script": "<script>alert(1)</script>",
    "attribute": "\" onmouseover=alert(1) x='",
    "template": "{{ settings.SECRET_KEY }}{% debug %}${7*7}",
    "entity": "&lt;script&gt;",
    "closing": "</pre></textarea></script><img src=x onerror=alert(1)>",
}
ACTIVE = {"ansi": "\x1b[2J", "bidi": "\u202egpj.exe", "c1": "\x9b31m", "line": "\u2028", "bell": "\x07"}


def failed_job(**columns):
    """A job that was written to the table with these values, whoever wrote them."""
    return Job.objects.create(**{"job_name": "shop.send_receipt", "status": "done", **columns})


def surrounded(text):
    """A context and a history that say this."""
    when = "2026-11-22T10:00:00+00:00"
    failure = {"attempt": 1, "started_at": when, "at": when, "worker_id": text, "error_class": text}
    return {"context": {text: text}, "failures": [{**failure, "error": f"{text}\n{text}"}]}


def pages_of(client, job, letter):
    """Every page that shows something of the two."""
    urls = [page("job", "changelist"), page("job", "change", job.pk), page("job", "delete", job.pk)]
    urls += [page("deadletterjob", name, letter.pk) for name in ("change", "delete", "replay")]
    urls.append(page("deadletterjob", "changelist"))
    return {url: client.get(url).text for url in urls}


@pytest.mark.parametrize("evil", HOSTILE.values(), ids=HOSTILE.keys())
def test_hostile_payload_is_shown_as_text(admin_client, evil):
    """Neither HTML nor a template becomes of it, wherever it stands."""
    columns = {
        "args": {evil: [evil]},
        "last_error": f"{evil}\n{evil}",
        "job_name": evil,
        "queue": evil,
        **surrounded(evil),
    }
    job = failed_job(result={"r": evil}, dedup_key=evil, producer_id=evil, **columns)
    letter = dead(tags=[evil], **columns)

    for url, text in pages_of(admin_client, job, letter).items():
        assert "<script>alert" not in text, url
        assert "<img src=x" not in text, url
        assert '" onmouseover' not in text, url
    detail = admin_client.get(page("job", "change", job.pk)).text
    assert ("{{ settings.SECRET_KEY }}{% debug %}" in detail) == (evil == HOSTILE["template"])


@pytest.mark.parametrize("evil", ACTIVE.values(), ids=ACTIVE.keys())
def test_active_characters_are_spelled_out(admin_client, evil):
    """A name that reads backwards, or an escape sequence in an error, is seen for what it is."""
    columns = {
        "args": {"a": evil, f"k{evil}": 1},
        "last_error": f"{evil} one\nboom {evil}",
        "job_name": f"n{evil}",
        **surrounded(evil),
    }
    job = failed_job(result={"r": evil}, dedup_key=f"d{evil}", **columns)
    letter = dead(tags=[f"t{evil}"], **columns)

    for url, text in pages_of(admin_client, job, letter).items():
        assert evil[0] not in text, url
    shown = admin_client.get(page("deadletterjob", "replay", letter.pk)).context["adminform"].form["args"]
    assert json.loads(shown.value()) == columns["args"]


def test_secrets_are_masked_in_every_page(admin_client):
    """In arguments, result and error, nested in dicts and lists; what is no secret is shown."""
    surrounding = {**surrounded(ERROR), "context": ARGS}
    job = failed_job(args=ARGS, result={"session_id": SECRET, "sent": 3}, last_error=ERROR, **surrounding)
    letter = dead(args=ARGS, error=ERROR, **surrounding)

    for url, text in pages_of(admin_client, job, letter).items():
        assert SECRET not in text, url
    detail = admin_client.get(page("job", "change", job.pk)).text
    assert "&quot;user_password&quot;: &quot;********&quot;" in detail
    assert "&quot;sent&quot;: 3" in detail
    assert "ConnectionError: no route, token=********" in detail


def test_masking_leaves_the_stored_values_alone(admin_client):
    """They are needed to run the job."""
    letter = dead(args=ARGS, error=ERROR)
    pages_of(admin_client, failed_job(), letter)

    letter.refresh_from_db()
    assert (letter.args, letter.last_error) == (ARGS, ERROR)


def test_the_setting_hides_further_names(admin_client, settings):
    """On top of the usual ones."""
    settings.SONIQ = {"REDACT": ["iban", "-session"]}
    job = failed_job(args={"iban": "DE00 1", "password": SECRET}, result={"session": "kept"})

    text = admin_client.get(page("job", "change", job.pk)).text
    assert "DE00" not in text
    assert SECRET not in text
    assert "kept" in text


def replayed_with(client, letter, args):
    """Send the form of the replay; the response."""
    form = {"args": args, "queue": "emails", "priority": "5", "max_attempts": "1"}
    return client.post(page("deadletterjob", "replay", letter.pk), {**form, "seen": "0"})


def test_replay_of_the_masked_form_runs_with_the_secrets(admin_client):
    """Masks that are left stand for what is stored; other values are those of the form."""
    letter = dead(args={"order_id": 1}, job_name="yard.fail")
    DeadLetterJob.objects.filter(pk=letter.pk).update(args={"message": {"password": SECRET, "n": 1}})
    form = admin_client.get(page("deadletterjob", "replay", letter.pk)).context["adminform"].form
    shown = json.loads(form["args"].value())
    assert shown == {"message": {"password": "********", "n": 1}}
    shown["message"]["n"] = 2

    assert replayed_with(admin_client, letter, json.dumps(shown)).status_code == 302

    assert Job.objects.get().args == {"message": {"password": SECRET, "n": 2}}


def test_a_mask_where_nothing_is_hidden_is_refused_at_the_field(admin_client):
    """It would be stored as stars."""
    letter = dead(job_name="yard.fail", args={"message": "x"})

    shown = replayed_with(admin_client, letter, '{"message": {"token": "********"}}').text

    assert "args.message.token is ********" in shown
    assert not Job.objects.exists()


def test_json_that_is_nested_too_deep_is_refused_at_the_field(admin_client):
    """However deep: no page breaks."""
    letter = dead(job_name="yard.fail", args={"message": "x"})

    for depth in (100, 450, 900, 100_000):
        response = replayed_with(admin_client, letter, '{"message":' + "[" * depth + "]" * depth + "}")
        assert response.status_code == 200
        assert "deep" in response.text or "cannot be read" in response.text
    assert not Job.objects.exists()


def test_a_row_that_is_nested_too_deep_is_shown_without_its_depths(admin_client):
    """Others may write to the table; the pages go on."""
    deep = json.loads("[" * 400 + "]" * 400)
    job = failed_job(args={"deep": deep}, result=deep)
    letter = dead(args={"deep": deep})

    for url, text in pages_of(admin_client, job, letter).items():
        assert "Server Error" not in text, url


def test_a_refused_replay_tells_no_secrets(admin_client, monkeypatch):
    """The reason may quote the arguments; it is masked like them."""
    letter = dead(args={"order_id": 1})
    app = current_app()

    def refuse(*args, **kwargs):
        from soniq.errors import InvalidArguments

        raise InvalidArguments(f"refused: {{'password': '{SECRET}'}} \x1b[0m")

    monkeypatch.setattr(type(app.dead_letter), "replay_now", refuse)

    [told] = said(act(admin_client, "deadletterjob", "replay_selected", [letter]))
    assert told.endswith(r"refused: {'password': '********'} \x1b[0m")
    shown = replayed_with(admin_client, letter, '{"order_id": 1}').text
    assert SECRET not in shown
    assert "********" in shown


async def _export(kind):
    return await current_app().dead_letter.export_dead_letter_jobs(format=kind)


@pytest.mark.django_db(databases="__all__", transaction=True)
@pytest.mark.parametrize("kind", ["json", "csv"])
async def test_secrets_are_masked_in_exports(kind):
    """They leave the house; active characters are spelled out, too."""
    from asgiref.sync import sync_to_async

    letter = await sync_to_async(dead)(args={**ARGS, "a": "\x1b[2J\u202e"}, error=f"{ERROR}\x1b[0m")

    text = await _export(kind)

    assert SECRET not in text
    assert not {"\x1b", "\u202e"} & set(text)
    row = json.loads(text)[0] if kind == "json" else next(csv.DictReader(io.StringIO(text)))
    args = row["args"] if kind == "json" else json.loads(row["args"])
    assert args["user_password"] == "********"
    assert args["a"] == "\x1b[2J\u202e"
    assert row["id"] == str(letter.pk)
    stored = await current_app().dead_letter.get_dead_letter_job(letter.pk)
    assert stored.args["user_password"] == SECRET
