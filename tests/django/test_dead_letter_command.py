"""``soniq_dead_letter``: each action, with filters, questions and masks."""

from __future__ import annotations

import csv
import io
import json
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import pytest

from soniq import Soniq
from soniq_django.models import DeadLetterJob, Job
from tests.support.commands import Terminal, Told, run
from tests.support.vendors import SQLITE

pytestmark = pytest.mark.django_db(transaction=True, databases="__all__")


@pytest.fixture
def command(alias: str):
    """Call an action on the test's database."""

    def call(action: str, *arguments: str, out: io.StringIO | None = None) -> Told:
        return run("soniq_dead_letter", action, *arguments, "--database", alias, out=out)

    return call


@pytest.fixture
def letter(app: Soniq, alias: str):
    """Make a dead letter that is so many hours old."""

    def make(hours: float = 1, **values) -> str:
        values = {
            "job_name": "shop.send_receipt", "queue": "emails", "priority": 100, "args": {"order_id": 1},
            "max_attempts": 3, "attempts": 3, "dead_letter_reason": "timeout",
            "last_error": "Traceback\nValueError: too slow", **values,
        }  # fmt: skip
        then = datetime.now(UTC) - timedelta(hours=hours)
        made = DeadLetterJob.objects.using(alias).create(
            id=uuid4(), original_created_at=then, moved_to_dead_letter_at=then, **values
        )
        return str(made.pk)

    return make


def ids(told: Told) -> list[str]:
    assert (told.code, told.err) == (0, "")
    return [row["id"] for row in json.loads(told.out)]


def left(alias: str) -> set[str]:
    return {str(pk) for pk in DeadLetterJob.objects.using(alias).values_list("pk", flat=True)}


# -- looking


def test_the_list_shows_the_newest_first_with_the_end_of_the_error(command, letter) -> None:
    old, new = letter(hours=72), letter(hours=2)

    heading, *lines = command("list").lines

    assert heading.split() == ["ID", "JOB", "QUEUE", "REASON", "TRIES", "AGE", "REPLAYS", "ERROR"]
    assert [line.split()[0] for line in lines] == [new, old]
    assert lines[0].split() == (
        f"{new} shop.send_receipt emails timeout 3 of 3 2 h 0 ValueError: too slow".split()
    )


def test_nothing_is_said_in_a_word(command, app: Soniq) -> None:
    assert command("list").out == "No dead letters.\n"
    assert command("list", "-v", "0").out == ""
    assert command("list", "--json").out == "[]\n"


def test_filters_have_to_hold_together(command, letter) -> None:
    receipt = letter(hours=1)
    picture = letter(hours=30, job_name="shop.resize_picture", queue="pictures", tags=["vip"])
    lost = letter(hours=60, dead_letter_reason="worker_lost")

    assert ids(command("list", "--json")) == [receipt, picture, lost]
    assert ids(command("list", "--json", "--job", "shop.resize_picture")) == [picture]
    assert ids(command("list", "--json", "--queue", "emails", "--queue", "pictures")) == [
        receipt,
        picture,
        lost,
    ]
    assert ids(command("list", "--json", "--reason", "worker_lost")) == [lost]
    assert ids(command("list", "--json", "--since", "2d")) == [receipt, picture]
    assert ids(command("list", "--json", "--since", "2d", "--until", "2h")) == [picture]
    assert ids(command("list", "--json", "--tag", "vip")) == [picture]
    assert ids(command("list", "--json", receipt, lost)) == [receipt, lost]
    assert ids(command("list", "--json", receipt, lost, "--reason", "timeout")) == [receipt]
    assert ids(command("list", "--json", "--limit", "2")) == [receipt, picture]


def test_a_list_that_is_cut_says_so(command, letter) -> None:
    for _ in range(3):
        letter()

    assert command("list", "--limit", "2").lines[-1].startswith("There are more; these are the 2 newest.")
    assert not command("list", "--limit", "3").lines[-1].startswith("There are more")


def test_secrets_are_masked_wherever_they_are_shown(command, letter) -> None:
    secret = letter(args={"order_id": 1, "api_key": "hush"}, last_error="ValueError: token=hush")

    for told in (
        command("list"),
        command("list", "--json"),
        command("show", secret),
        command("show", secret, "--json"),
        command("export"),
        command("export", "--format", "csv"),
        command("replay", secret, "--dry-run"),
    ):
        assert "hush" not in told.out + told.err
        assert "********" in told.out


def test_show_has_all_there_is_to_say(command, letter) -> None:
    one = letter(hours=2, tags=["vip", "\x1b[2J"], args={"order_id": 7})

    told = command("show", one).out

    assert f"Id        {one}\nJob       shop.send_receipt\n" in told
    assert "Queue     emails, priority 100\n" in told
    assert ", 2 h ago\n" in told
    assert "Replays   none\n" in told
    assert "Tags      vip, \\x1b[2J\n" in told
    assert '\nArguments\n  {\n    "order_id": 7\n  }\n' in told
    assert told.endswith("\nLast error\n  Traceback\n  ValueError: too slow\n")


def test_show_has_a_line_for_each_failed_attempt(command, letter) -> None:
    when, worker = "2026-11-22T10:00:00+00:00", "01a203eb-25b7-7d0e-a829-37a947cf3f2f"
    failures = [
        {
            "attempt": n,
            "worker_id": worker,
            "at": when,
            "error": f"Traceback\nValueError: token=hush{n} no {n}",
        }
        for n in (1, 2)
    ]
    told = command("show", letter(failures=failures)).out.partition("\nFailed attempts\n")[2].splitlines()

    assert [line[:5] for line in told] == ["  1  ", "  2  "]
    assert "2026-11-22 10:00:00 UTC" in told[0]
    assert told[1].endswith(f"worker {worker}: ValueError: token=******** no 2")


def test_an_id_that_is_not_there_is_told_from_one_that_is_none(command, app: Soniq) -> None:
    absent = str(uuid4())

    assert f"no dead letter has the id '{absent}'" in command("show", absent).err
    assert "'42' is no id; soniq_dead_letter list shows them" in command("show", "42").err


def test_export_writes_to_the_standard_output_or_a_file(command, letter, tmp_path: Path) -> None:
    made = {letter(), letter(job_name="=cmd()")}

    assert set(ids(command("export"))) == made
    rows = list(csv.DictReader(io.StringIO(command("export", "--format", "csv").out)))
    assert {row["id"] for row in rows} == made
    assert "'=cmd()" in {row["job_name"] for row in rows}
    told = command("export", "--output", str(tmp_path / "letters.json"))
    assert (told.out, told.err) == ("", f"wrote 2 dead letters to {tmp_path}/letters.json\n")
    assert len(json.loads((tmp_path / "letters.json").read_text())) == 2
    refused = command("export", "--output", str(tmp_path / "absent" / "x"))
    assert (refused.code, "No such file or directory" in refused.err) == (1, True)


# -- replaying


def test_a_replay_names_the_new_job_and_keeps_the_letter(command, letter, app: Soniq, alias: str) -> None:
    one = letter(args={"order_id": 7})

    told = command("replay", one)

    [job] = app.backend.list_jobs()
    assert told.lines == [f"{one} is replayed as job {job.id}", "Replayed 1 dead letter."]
    assert (job.args, job.queue, job.max_attempts) == ({"order_id": 7}, "emails", 3)
    assert DeadLetterJob.objects.using(alias).get(pk=one).resurrection_count == 1


def test_the_new_job_can_differ(command, letter, app: Soniq) -> None:
    one = letter()
    different = ("--new-queue", "slow", "--new-priority", "3", "--new-args", '{"order_id": 2}')

    assert command("replay", one, *different, "--one-attempt").code == 0

    [job] = app.backend.list_jobs()
    assert (job.queue, job.priority, job.args, job.max_attempts) == ("slow", 3, {"order_id": 2}, 1)


def test_what_is_refused_is_named_and_the_others_go_on(command, letter, app: Soniq) -> None:
    unknown, good = letter(hours=2, job_name="shop.gone"), letter(hours=1)

    told = command("replay", "--all")
    as_json = json.loads(command("replay", unknown, "--json").out)

    assert told.code == 1
    assert f"{unknown} was not replayed: no job named 'shop.gone' is registered" in told.err
    assert told.lines[-1] == "Replayed 1 dead letter."
    assert app.backend.queue_stats()["queued"] == 1
    assert as_json["replayed"] == {}
    assert set(as_json["refused"]) == {unknown}
    assert good in told.out


def test_a_live_twin_stands_in_the_way(command, letter, app: Soniq) -> None:
    one = letter(job_name="shop.rebuild_index", queue="default", args={"shop": "a"})
    assert command("replay", one).code == 0

    told = command("replay", one)

    assert told.code == 1
    assert "holds its unique key" in told.err


def test_replays_are_made_in_the_order_in_which_the_jobs_gave_up(command, letter, app: Soniq) -> None:
    for hours in (1, 3, 2):
        letter(hours=hours, args={"order_id": hours})

    assert command("replay", "--all").code == 0

    assert [job.args["order_id"] for job in app.backend.list_jobs()] == [1, 2, 3]  # the newest first


def test_new_arguments_are_for_one_alone(command, letter, app: Soniq) -> None:
    letter(), letter()

    told = command("replay", "--all", "--new-args", '{"order_id": 2}')

    assert "--new-args is for one dead letter, these are 2; give one id" in told.err
    assert app.backend.list_jobs() == []


# -- asking first


@pytest.mark.parametrize("action", ["replay", "delete"])
def test_everything_is_never_meant_by_default(command, letter, alias: str, action: str) -> None:
    made = {letter()}

    told = command(action)

    assert (told.code, told.err) == (1, "which ones? give ids or filters, or --all\n")
    assert (left(alias), Job.objects.using(alias).count()) == (made, 0)


@pytest.mark.parametrize(
    "arguments", [("replay", "--all"), ("delete", "--all"), ("prune", "--older-than", "0")]
)
def test_more_than_a_handful_needs_yes_in_a_pipe(command, letter, alias: str, arguments) -> None:
    made = {letter() for _ in range(6)}

    told = command(*arguments)

    assert told.code == 1
    assert "that is more than 5, and nobody is here to be asked" in told.err
    assert "add --yes" in told.err
    assert (left(alias), Job.objects.using(alias).count()) == (made, 0)
    assert command(*arguments, "--yes").code == 0
    assert left(alias) == (made if arguments[0] == "replay" else set())


@pytest.mark.parametrize("alias", SQLITE)
@pytest.mark.parametrize(("answer", "gone"), [("y", True), ("n", False), ("", False)])
def test_a_person_is_asked(command, letter, alias: str, monkeypatch, *, answer: str, gone: bool) -> None:
    made = {letter() for _ in range(6)}
    asked = Terminal()
    monkeypatch.setattr(sys, "stdout", asked)
    terminal = Terminal(f"{answer}\n")
    monkeypatch.setattr(sys, "stdin", terminal)

    told = command("delete", "--all")

    assert asked.getvalue() == "delete 6 dead letters? [y/N] "
    assert left(alias) == (set() if gone else made)
    assert told.err == ("" if gone else "not done; nothing was changed\n")


def test_a_dry_run_shows_what_would_happen_and_changes_nothing(command, letter, alias: str) -> None:
    made = {letter(hours=hours) for hours in range(1, 13)}

    for action in ("replay", "delete"):
        told = command(action, "--all", "--dry-run")
        assert told.lines[0] == f"Would {action} 12 dead letters."
        assert told.lines[-1] == "and 2 more"
        assert len(told.lines) == 13
    assert command("prune", "--older-than", "8h", "--dry-run").lines[0] == "Would delete 5 dead letters."
    assert (left(alias), Job.objects.using(alias).count()) == (made, 0)


# -- deleting


def test_what_is_meant_is_deleted_and_nothing_else(command, letter, alias: str) -> None:
    letter(dead_letter_reason="worker_lost")
    kept = {letter()}

    assert command("delete", "--reason", "worker_lost").out == "Deleted 1 dead letter.\n"
    assert left(alias) == kept
    assert command("delete", "--reason", "worker_lost").out == "No dead letters meet this.\n"


def test_pruning_goes_by_age(command, letter, alias: str) -> None:
    letter(hours=49)
    kept = {letter(hours=47)}

    assert command("prune", "--older-than", "2").out == "Deleted 1 dead letter.\n"
    assert left(alias) == kept
    assert "how old? give --older-than DAYS, or set SONIQ['DEAD_LETTER_TTL']" in command("prune").err


def test_the_default_age_is_that_of_the_setting(letter, alias: str, settings) -> None:
    settings.SONIQ = {"DATABASE": alias, "DEAD_LETTER_TTL": 3600}
    letter(hours=2)

    assert run("soniq_dead_letter", "prune").out == "Deleted 1 dead letter.\n"


@pytest.mark.parametrize("alias", SQLITE)
def test_an_action_and_a_known_reason_are_needed(command, app: Soniq) -> None:
    assert "the following arguments are required: ACTION" in run("soniq_dead_letter").err
    assert "invalid choice: 'bored'" in command("list", "--reason", "bored").err
    assert "'2026' is neither a time nor an age" in command("list", "--since", "2026").err
