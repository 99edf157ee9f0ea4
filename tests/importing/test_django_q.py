"""django-q2's packages and one-time schedules become jobs; its pickles are never run."""

import os
import pickle
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from django.core.management import CommandError
from django.utils import timezone

from soniq.fire_times import fire_times
from soniq_django.importing.pickles import Foreign, PackageError, foreign_path, read
from soniq_django.models import Job, Schedule
from soniq_django.store.schedule_rows import schedule_record
from tests.importing.conftest import Q_CLUSTER, drop_tables, installed, make_tables
from tests.importing.jobs import SEND, not_a_job
from tests.support.vendors import ALIASES

pytestmark = pytest.mark.django_db(databases="__all__")


@pytest.fixture(scope="module", autouse=True)
def tables(reachable, django_db_blocker):
    with installed("django_q", Q_CLUSTER=Q_CLUSTER):
        make_tables("django_q", ["OrmQ", "Schedule"], reachable, django_db_blocker)
        yield
        drop_tables("django_q", ["OrmQ", "Schedule"], reachable, django_db_blocker)


@pytest.fixture
def async_task():
    from django_q.tasks import async_task

    return async_task


@pytest.fixture
def waiting():
    from django_q.models import OrmQ

    return OrmQ.objects


@pytest.fixture
def schedules():
    from django_q.models import Schedule

    return Schedule.objects


@pytest.fixture
def schedule():
    from django_q.tasks import schedule

    return schedule


@pytest.fixture
def on_alias(soniq_on, monkeypatch):
    """Puts soniq's tables and django-q's on one alias."""
    from django_q.conf import Conf

    def put(alias):
        monkeypatch.setattr(Conf, "ORM", alias)
        soniq_on(alias)

    return put


@pytest.mark.parametrize("alias", ALIASES)
def test_waiting_tasks_become_jobs_once(alias, *, async_task, waiting, run_import, stored, on_alias):
    on_alias(alias)
    async_task(SEND, 1)
    async_task(SEND, order_id=2, note="ä", group="mine", timeout=3)
    ran = run_import("django_q")
    assert (ran.code, ran.said.splitlines()[0]) == (0, "waiting tasks of django-q: 2 moved")
    assert stored(alias) == [
        (SEND, {"order_id": 1}, "default", 100),
        (SEND, {"order_id": 2, "note": "ä"}, "default", 100),
    ]
    assert waiting.using(alias).count() == 0
    assert "0 moved" in run_import("django_q").said


def test_a_function_is_known_by_its_path(async_task, run_import, stored):
    async_task(not_a_job, 1)
    assert run_import("django_q", "--map", f"tests.importing.jobs.not_a_job={SEND}").code == 0
    assert stored() == [(SEND, {"order_id": 1}, "default", 100)]


def test_what_a_cluster_runs_now_is_left_to_it(async_task, waiting, run_import, stored):
    async_task(SEND, 1)
    waiting.update(lock=timezone.now() + timedelta(minutes=1))
    assert "0 moved" in run_import("django_q").said
    assert (waiting.count(), stored()) == (1, [])


def test_another_cluster_is_a_queue(async_task, run_import, stored):
    async_task(SEND, 1, cluster="mail")
    run_import("django_q", "--map-queue", "mail=emails")
    assert stored()[0][2] == "emails"


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"hook": "tests.importing.jobs.not_a_job"}, "it has a hook"),
        ({"chain": [(SEND, (1,))]}, "it is part of a chain"),
        ({"iter_count": 2}, "it is part of an iteration"),
    ],
)
def test_what_django_q_does_afterwards_keeps_a_task_there(options, reason, async_task, waiting, run_import):
    async_task(SEND, 1, **options)
    ran = run_import("django_q")
    assert (ran.code, waiting.count()) == (1, 1)
    assert reason in ran.said


def test_a_task_that_is_no_job_is_listed_and_left(async_task, waiting, run_import):
    async_task(not_a_job, 1)
    ran = run_import("django_q")
    assert (ran.code, waiting.count()) == (1, 1)
    assert "tests.importing.jobs.not_a_job: 1" in ran.said


class Bomb:
    """Would leave a file behind if it were unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.system, (f"touch {self.path}",)


def test_a_signed_pickle_is_not_run_either(async_task, waiting, run_import, tmp_path):
    async_task(SEND, Bomb(tmp_path / "ran"))
    ran = run_import("django_q")
    assert (ran.code, waiting.count()) == (1, 1)
    assert "its arguments hold a posix.system" in ran.said
    assert not (tmp_path / "ran").exists()


def test_a_package_that_somebody_else_signed_is_not_read(
    async_task, waiting, run_import, settings, monkeypatch
):
    from django_q.conf import Conf

    monkeypatch.setattr(Conf, "SECRET_KEY", "another")
    async_task(SEND, 1)
    monkeypatch.setattr(Conf, "SECRET_KEY", settings.SECRET_KEY)
    waiting.create(key="cluster", payload="no package at all", lock=timezone.now())
    ran = run_import("django_q")
    assert (ran.code, waiting.count()) == (1, 2)
    assert "(unreadable): 2" in ran.said
    assert "not signed with this project's SECRET_KEY" in ran.said


def test_a_broker_without_rows_is_named(run_import, monkeypatch):
    from django_q.conf import Conf

    monkeypatch.setattr(Conf, "ORM", None)
    with pytest.raises(CommandError, match="Q_CLUSTER has no 'orm'"):
        run_import("django_q")


def test_a_schedule_that_runs_once_becomes_a_delayed_job(schedule, schedules, run_import, stored):
    when = datetime(2031, 5, 1, 12, 30, tzinfo=UTC)
    schedule(SEND, 1, note="it's", next_run=when)
    schedule("moving.renamed", 2, next_run=when, cluster="slow")
    ran = run_import("django_q")
    assert ran.code == 0
    assert "schedules of django-q: 2 moved" in ran.said
    assert stored() == [
        (SEND, {"order_id": 1, "note": "it's"}, "default", 100),
        ("moving.renamed", {"order_id": 2}, "slow", 300),
    ]
    assert {job.scheduled_at for job in Job.objects.all()} == {when}
    assert schedules.count() == 0


def test_arguments_in_django_qs_other_spelling(schedules, run_import, stored):
    schedules.create(func=SEND, args="1", kwargs="note='new', ", schedule_type="O")
    schedules.create(func=SEND, args="1, 'old'", schedule_type="O")
    assert run_import("django_q").code == 0
    assert [row[1] for row in stored()] == [{"order_id": 1, "note": "new"}, {"order_id": 1, "note": "old"}]


@pytest.mark.parametrize("kwargs", ["note=print(1)", "note", "{1}", "note=", "**{'a': 1}"])
def test_arguments_that_are_no_literals_are_not_run(kwargs, schedules, run_import, stored, capsys):
    schedules.create(func=SEND, args="1", kwargs=kwargs, schedule_type="O")
    ran = run_import("django_q")
    assert (ran.code, schedules.count(), stored()) == (1, 1, [])
    assert capsys.readouterr().out == ""


NEXT = datetime(2031, 1, 15, 2, 30, tzinfo=UTC)  # a Wednesday, 03:30 in Berlin


class SchedulesOn:
    """A router that keeps django-q's tables on one alias."""

    def __init__(self, alias):
        self._alias = alias

    def db_for_write(self, model, **hints):
        return self._alias if model._meta.app_label == "django_q" else None


@pytest.fixture
def berlin(monkeypatch):
    """django-q's own time zone."""
    from django_q.conf import Conf

    monkeypatch.setattr(Conf, "TIME_ZONE", "Europe/Berlin")


@pytest.mark.parametrize("alias", ALIASES)
def test_schedules_become_schedules_once(alias, *, schedules, run_import, stored, on_alias, settings):
    on_alias(alias)
    settings.DATABASE_ROUTERS = [SchedulesOn(alias)]
    schedules.using(alias).create(name="nightly", func=SEND, args="1", schedule_type="C", cron="0 3 * * *")
    options = {"kwargs": "order_id=2", "schedule_type": "I", "minutes": 5, "cluster": "mail"}
    second = schedules.using(alias).create(func=SEND, **options)
    dry = run_import("django_q", "--dry-run")
    assert "schedules of django-q: 2 would be moved" in dry.said
    assert schedules.using(alias).count() == 2

    ran = run_import("django_q", "--map-queue", "mail=emails")

    assert (ran.code, stored(alias), schedules.using(alias).count()) == (0, [], 0)
    one, two = Schedule.objects.using(alias).order_by("name")
    assert (one.name, one.cron, one.every, one.args_json) == ("nightly", "0 3 * * *", None, '{"order_id":1}')
    assert (two.name, two.cron, two.every, two.queue) == (f"{SEND} {second.pk}", None, 300.0, "emails")
    assert (two.next_fire_at - second.next_run) % timedelta(minutes=5) == timedelta(0)
    assert "schedules of django-q: 0 moved" in run_import("django_q").said


@pytest.mark.parametrize(
    ("kind", "cron"),
    [
        ("D", "30 3 * * *"),
        ("W", "30 3 * * 3"),
        ("M", "30 3 15 * *"),
        ("BM", "30 3 15 1,3,5,7,9,11 *"),
        ("Q", "30 3 15 1,4,7,10 *"),
        ("Y", "30 3 15 1 *"),
    ],
)
def test_periods_of_django_q_are_by_the_local_clock(kind, cron, schedules, run_import, berlin):
    schedules.create(name="x", func=SEND, args="1", schedule_type=kind, next_run=NEXT)
    assert run_import("django_q").code == 0
    moved = Schedule.objects.get()
    assert (moved.cron, moved.timezone, moved.next_fire_at) == (cron, "Europe/Berlin", NEXT)


@pytest.mark.parametrize(
    ("kind", "next_run", "cron"),
    [
        ("Q", datetime(2031, 1, 30, 2, 30, tzinfo=UTC), "30 3 30 1,4,7,10 *"),
        ("Y", datetime(2031, 12, 31, 2, 30, tzinfo=UTC), "30 3 31 12 *"),
        ("Y", datetime(2031, 2, 28, 2, 30, tzinfo=UTC), "30 3 28 2 *"),
    ],
)
def test_a_late_day_that_all_of_its_months_have_is_exact(
    kind, next_run, cron, *, schedules, run_import, berlin
):
    schedules.create(name="x", func=SEND, args="1", schedule_type=kind, next_run=next_run)
    row = schedules.get()
    assert run_import("django_q").code == 0
    moved = Schedule.objects.get()
    assert moved.cron == cron
    # What django-q would have done next, and the times after that.
    ahead = iter(fire_times(schedule_record(moved), moved.anchor_at, next_run))
    for _ in range(8):
        next_run = row.calculate_next_run(next_run)
        assert next(ahead) == next_run


@pytest.mark.parametrize("zone", ["UTC", "Etc/GMT-2"])
def test_every_second_week_is_exact_where_clocks_never_change(zone, schedules, run_import, monkeypatch):
    from django_q.conf import Conf

    monkeypatch.setattr(Conf, "TIME_ZONE", zone)
    schedules.create(name="x", func=SEND, args="1", schedule_type="BW", next_run=NEXT)
    assert run_import("django_q").code == 0
    assert Schedule.objects.values_list("every", "next_fire_at").get() == (14 * 86_400.0, NEXT)


@pytest.mark.parametrize(
    ("kind", "next_run"),
    [
        ("Q", datetime(2031, 1, 31, 2, tzinfo=UTC)),  # there is no 31st of April
        ("BM", datetime(2031, 1, 31, 2, tzinfo=UTC)),
        ("Y", datetime(2032, 2, 29, 2, tzinfo=UTC)),
        ("M", datetime(2031, 2, 28, 23, 30, tzinfo=UTC)),  # the first of March in Berlin, counted by UTC
    ],
)
def test_a_day_that_moves_in_short_months_stays_there(kind, next_run, schedules, run_import, berlin):
    schedules.create(name="x", func=SEND, args="1", schedule_type=kind, next_run=next_run)
    ran = run_import("django_q")
    assert (ran.code, schedules.count(), Schedule.objects.count()) == (1, 1, 0)
    assert "declare it with the day that you mean" in ran.said


def test_every_second_week_by_a_clock_that_changes_stays_there(schedules, run_import, berlin):
    schedules.create(name="x", func=SEND, args="1", schedule_type="BW", next_run=NEXT)
    ran = run_import("django_q")
    assert (ran.code, schedules.count(), Schedule.objects.count()) == (1, 1, 0)
    assert "every second week by the clock of Europe/Berlin" in ran.said


def test_hours_go_on_with_the_next_run(schedules, run_import):
    schedules.create(name="x", func=SEND, args="1", schedule_type="H", next_run=NEXT)
    assert run_import("django_q").code == 0
    assert Schedule.objects.values_list("every", "next_fire_at").get() == (3600.0, NEXT)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"schedule_type": "ZZ"}, "its type 'ZZ'"),
        ({"schedule_type": "M", "next_run": NEXT.replace(day=31)}, "the end of months"),
        ({"schedule_type": "D", "repeats": 3}, "it runs 3 times more"),
        ({"schedule_type": "D", "intended_date_kwarg": "note"}, "JobContext.scheduled_for"),
        ({"schedule_type": "D", "hook": "x.y"}, "it has a hook"),
        ({"schedule_type": "D", "kwargs": "x=y"}, "its arguments cannot be read"),
        ({"schedule_type": "D", "func": "shop.gone"}, "no job named 'shop.gone'"),
        ({"schedule_type": "C", "cron": "0 3 */2 * 1"}, "days that are either"),
        ({"schedule_type": "C", "cron": "0 3 * * * 5"}, "five fields"),
    ],
)
def test_schedules_that_cannot_be_moved_are_listed_and_left(options, reason, schedules, run_import):
    schedules.bulk_create(
        [schedules.model(**{"name": "x", "func": SEND, "args": "1", "next_run": NEXT, **options})]
    )
    ran = run_import("django_q")
    assert (ran.code, schedules.count(), Schedule.objects.count()) == (1, 1, 0)
    assert reason in ran.said


def test_of_two_schedules_of_one_name_the_second_stays(schedules, run_import):
    for minutes in (1, 2):
        schedules.create(name="x", func=SEND, args="1", schedule_type="I", minutes=minutes)
    ran = run_import("django_q")
    assert (ran.code, schedules.get().minutes, Schedule.objects.get().every) == (1, 2, 60.0)
    assert "there is a schedule 'x' already" in ran.said


def test_a_schedule_that_is_over_is_left_alone(schedules, run_import):
    schedules.create(func=SEND, args="1", schedule_type="D", repeats=0)
    assert run_import("django_q").code == 0
    assert (schedules.count(), Schedule.objects.count()) == (1, 0)


# What reads the pickles, without django-q.


@pytest.mark.parametrize(
    "value",
    [
        {"a": [1, 2.5, None, True, "ä", b"x"], "b": (1, {2}, frozenset({3}))},
        datetime(2026, 1, 1, 12, tzinfo=UTC),
        [timedelta(seconds=1), Decimal("1.10")],
    ],
)
@pytest.mark.parametrize("protocol", [4, pickle.HIGHEST_PROTOCOL])
def test_plain_values_are_read(value, protocol):
    assert read(pickle.dumps(value, protocol)) == value


class Listed(list):
    """A type that pickle fills by append."""


class Mapped(dict):
    """And one that it fills by item."""


@pytest.mark.parametrize("value", [Listed([1]), Mapped(a=1), Bomb("x"), ValueError("x"), print, Listed])
@pytest.mark.parametrize("protocol", [4, pickle.HIGHEST_PROTOCOL])
def test_other_types_are_named_and_not_made(value, protocol):
    found = read(pickle.dumps({"deep": [value]}, protocol))
    assert foreign_path(found) is not None
    inner = found["deep"][0]
    assert isinstance(inner, Foreign) or issubclass(inner, Foreign)


def test_lists_without_an_end_are_left_and_listed(async_task, waiting, run_import):
    """One that holds itself, and one that is deeper than Python's own calls."""
    endless = []
    endless.append(endless)
    deep = []
    for _ in range(300):
        deep = [deep]
    async_task(SEND, endless)
    async_task(SEND, deep)
    ran = run_import("django_q")
    assert (ran.code, waiting.count()) == (1, 2)
    assert ran.said.count("or contains itself") == 1  # for both


@pytest.mark.parametrize("data", [b"", b"x", b"\x80\x05.", pickle.dumps([1])[:-2], b"\x80\x05Xxxxx"])
def test_damaged_pickles_are_an_error_of_one_kind(data):
    with pytest.raises(PackageError):
        read(data)
