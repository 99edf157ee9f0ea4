"""Which schedules the code of today cannot run."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from soniq import JobContext
from soniq.schedule_check import check_schedules
from soniq.schedule_records import ScheduleChange


@pytest.fixture
async def old(make):
    """The app of the release before."""
    app = make()

    @app.job(name="shop.report")
    def report(day: str, ctx: JobContext):
        pass

    app.job(name="shop.gone")(lambda: None)
    return app


@pytest.fixture
def new(make, old):
    """The app of today, on the same store."""
    app = make(backend=old.backend)

    @app.job(name="shop.report")
    def report(date: str, ctx: JobContext):
        pass

    return app


def problems(app):
    return [(one.name, one.kind) for one in check_schedules(app.backend, app.registry)]


async def test_a_schedule_that_the_code_can_run_is_no_finding(old):
    await old.scheduler.add("shop.report", every=60, args={"day": "today"})
    assert check_schedules(old.backend, old.registry) == []


async def test_a_schedule_of_a_job_that_is_gone_is_found(old, new):
    await old.scheduler.add("shop.gone", every=60, name="cleaning")
    [finding] = check_schedules(new.backend, new.registry)

    assert (finding.kind, finding.name, finding.job_name) == ("unknown_job", "cleaning", "shop.gone")
    assert "no job named 'shop.gone'" in finding.reason
    assert finding.next_fire_at > datetime.now(UTC)


async def test_arguments_that_the_code_refuses_are_found_paused_or_not(old, new):
    await old.scheduler.add("shop.report", every=60, args={"day": "secret"}, name="a")
    await old.scheduler.add("shop.report", every=60, args={"day": "secret"}, name="b")
    await old.scheduler.pause("b")

    assert problems(new) == [("a", "invalid_arguments"), ("b", "invalid_arguments")]
    assert "secret" not in str(check_schedules(new.backend, new.registry))


async def test_a_rule_that_cannot_be_read_is_found(old):
    """As a row edited by hand may have, or a time zone that this machine lacks."""
    await old.scheduler.add("shop.gone", cron="0 3 * * *")
    [row] = old.backend.list_schedules()
    damaged = replace(row, timezone="Mars/Phobos", version=row.version + 1)
    old.backend.write_schedules([ScheduleChange(name=row.name, seen=row.version, becomes=damaged)])

    assert problems(old) == [("shop.gone", "invalid_rule")]


async def test_a_schedule_that_has_ended_is_no_finding(old, new):
    past = datetime.now(UTC) - timedelta(days=1)
    await old.scheduler.add("shop.gone", every=60, ends_at=past)
    assert problems(new) == []


async def test_of_declared_schedules_those_that_somebody_overrode_are_looked_at(old, new):
    """The others become what the code says, or go with the code that declared them."""
    for name in ("kept", "overridden"):
        old.periodic(every=60, args={"day": "today"}, schedule_name=name)(old.registry.get("shop.report"))
    old.periodic(every=60, schedule_name="gone")(old.registry.get("shop.gone"))
    for name in ("kept", "overridden"):
        new.periodic(every=60, args={"date": "today"}, schedule_name=name)(new.registry.get("shop.report"))
    old.backend.setup()
    old.timetable().declare()
    await old.scheduler.add("shop.report", every=120, args={"day": "today"}, name="overridden")
    await old.scheduler.add("shop.gone", every=120, name="gone")

    assert problems(new) == [("overridden", "invalid_arguments")]
