"""``soniq_enqueue``: one job from a shell."""

from __future__ import annotations

import io
import json
import sys
from datetime import UTC, datetime, timedelta

import pytest

from soniq import Soniq
from tests.shop.jobs import rebuild_index
from tests.support.commands import Told, run
from tests.support.vendors import SQLITE

pytestmark = pytest.mark.django_db(transaction=True, databases="__all__")


def enqueue(*arguments: str) -> Told:
    return run("soniq_enqueue", *arguments)


def stored(app: Soniq, told: Told):
    """The job whose id was printed."""
    assert (told.code, told.err) == (0, "")
    [job_id] = told.lines
    return app.backend.get_job(job_id)


def test_the_id_of_the_new_job_is_printed_and_nothing_else(app: Soniq) -> None:
    job = stored(app, enqueue("shop.send_receipt", "--args", '{"order_id": 1}'))

    assert (job.job_name, job.args, job.queue, job.status) == (
        "shop.send_receipt",
        {"order_id": 1},
        "emails",
        "queued",
    )


def test_arguments_are_given_as_they_are_stored(app: Soniq) -> None:
    """A mark is one; what the job could not read is refused."""
    marked = '{"order_id": {"$uuid": "00000000-0000-0000-0000-000000000007"}}'
    job = stored(app, enqueue("shop.send_receipt", "--args", marked))
    refused = enqueue("shop.send_receipt", "--args", '{"order_id": {"$uuid": "x"}}')

    assert job.args == json.loads(marked)
    assert refused.code == 1
    assert "args.order_id cannot be read as $uuid" in refused.err


def test_options_take_the_place_of_the_jobs_own(app: Soniq, alias: str) -> None:
    told = enqueue(
        "shop.send_receipt", "--args", '{"order_id": 1}', "--queue", "slow", "--priority", "7",
        "--dedup-key", "once", "--in", "2h", "--database", alias,
    )  # fmt: skip

    job = stored(app, told)
    assert (job.queue, job.priority, job.dedup_key) == ("slow", 7, "once")
    assert job.scheduled_at - datetime.now(UTC) == pytest.approx(timedelta(hours=2), abs=timedelta(minutes=1))


def test_a_time_without_a_zone_is_in_that_of_the_project(app: Soniq, settings) -> None:
    settings.TIME_ZONE = "Europe/Berlin"
    arguments = ("shop.rebuild_index", "--args", '{"shop": "a"}', "--at")

    local = stored(app, enqueue(*arguments, "2040-07-01T09:00"))
    named = stored(app, enqueue(*arguments, "2040-07-01T09:00+00:00", "--dedup-key", "b"))

    assert local.scheduled_at == datetime(2040, 7, 1, 7, tzinfo=UTC)
    assert named.scheduled_at == datetime(2040, 7, 1, 9, tzinfo=UTC)


def test_a_live_twin_is_named_instead(app: Soniq) -> None:
    there = rebuild_index.enqueue(shop="a")

    told = enqueue("shop.rebuild_index", "--args", '{"shop": "a"}')
    as_json = json.loads(enqueue("shop.rebuild_index", "--args", '{"shop": "a"}', "--json").out)

    assert (told.code, told.out) == (0, f"{there}\n")
    assert told.err == "nothing was enqueued: this live job has the same unique key\n"
    assert as_json == {"id": there, "enqueued": False}


def test_unique_is_asked_for_on_the_command_line(app: Soniq) -> None:
    arguments = ("shop.send_receipt", "--args", '{"order_id": 1}', "--unique", "--json")

    first, second = (json.loads(enqueue(*arguments).out) for _ in range(2))

    assert first["enqueued"]
    assert second == {"id": first["id"], "enqueued": False}


def test_arguments_come_from_the_standard_input(app: Soniq, monkeypatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO('{"order_id": 5}\n'))

    assert stored(app, enqueue("shop.send_receipt", "--args", "-")).args == {"order_id": 5}


@pytest.mark.parametrize("alias", SQLITE)
@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["shop.send_recipe"], "no job named 'shop.send_recipe' is registered; did you mean"),
        (["shop.send_receipt"], "missing a required argument: 'order_id'"),
        (["shop.send_receipt", "--args", '{"order": 1}'], "shop.send_receipt(order_id: int)"),
        (["shop.send_receipt", "--args", "[1]"], "--args is a list: give an object of keyword arguments"),
        (["shop.send_receipt", "--args", '{"order_id": 1', "--unique"], 'column 15\n  {"order_id": 1\n'),
        (["shop.send_receipt", "--args", '{"a": 1,\n "b" 2}'], 'line 2, column 6\n   "b" 2}\n       ^'),
        (["shop.send_receipt", "--args", ""], "give an object such as {}"),
        (["shop.send_receipt", "--args", '{"order_id": 1}', "--priority", "-1"], "priority is -1"),
        (["shop.send_receipt", "--args", '{"order_id": 1}', "--queue", "a b"], "'a b' is no queue name"),
        (["shop.send_receipt", "--in", "soon"], "'soon' is no duration; give a number and s, min, h, d or w"),
        (["shop.send_receipt", "--at", "2026-02-30"], "'2026-02-30' is no time; give one such as"),
        (["shop.send_receipt", "--at", "2040-01-01", "--in", "1"], "not allowed with argument"),
    ],
)  # fmt: skip
def test_what_cannot_be_enqueued_is_refused_with_the_reason(app: Soniq, arguments, why: str) -> None:
    told = enqueue(*arguments)

    assert (told.code, told.out) == (1, "")
    assert why in told.err
    assert app.backend.queue_stats()["total"] == 0
