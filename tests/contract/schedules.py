"""Steps of schedules: what is written of them, with jobs and without, and which are due."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import initialize, rule

from soniq.schedule_records import Misfire, Overlap, Schedule, ScheduleChange, ScheduleFilter
from tests.contract import choices
from tests.contract.base import Steps
from tests.contract.compared import SLACK
from tests.contract.model import ModelSchedule, ModelScheduleChange
from tests.contract.stores import Store

INSTANTS = (
    "starts_at",
    "ends_at",
    "declared_at",
    "anchor_at",
    "last_fire_at",
    "created_at",
    "updated_at",
)


class Schedules(Steps):
    @initialize(
        fields=choices.schedule_fields,
        names=st.permutations(choices.SCHEDULES),
        declared=st.permutations([True, False, False]),
    )
    def begin_with_schedules(self, fields: Any, names: list[str], declared: list[bool]) -> None:
        """Two of them due, so that there is an order."""
        whens = choices.INSTANTS[:3]
        drawn = [
            {"name": name, "job_name": "mail", "declared": own, "next_fire": when, "fields": fields}
            for name, own, when in zip(names, declared, whens, strict=True)
        ]
        self._write([{"schedule": one, "remove": False, "stale": False, "jobs": []} for one in drawn])
        self._ask_which_are_due(ScheduleFilter(), 100)

    @rule(options=st.lists(choices.schedule_changes, min_size=1, max_size=4))
    def write_schedules(self, options: list[dict[str, Any]]) -> None:
        self._write(options)

    def _write(self, options: list[dict[str, Any]]) -> None:
        """Each change sees what those before it made, or is out of date."""
        planned_jobs = iter(self.plan([job for one in options for job in one["jobs"]]))
        seen = {name: schedule.version for name, schedule in self.model.schedules.items()}
        planned: list[tuple[ModelScheduleChange, list[dict[str, Any]]]] = []
        for one in options:
            jobs = [next(planned_jobs) for _ in one["jobs"]]
            change = self._change(one, seen)
            planned.append((change, jobs))
            if not one["stale"]:
                seen.pop(change.name, None)
                if change.becomes is not None:
                    seen[change.name] = change.becomes.version

        def write(store: Store) -> list[list[str] | None]:
            return store.backend.write_schedules(
                [self._written(store, change, jobs) for change, jobs in planned]
            )

        answers = self.ask(write)
        expected = self.model.write_schedules(
            [
                ModelScheduleChange(
                    change.name, change.seen, change.becomes, [self.model_job(job) for job in jobs]
                )
                for change, jobs in planned
            ]
        )
        self.agree("write_schedules", answers, expected)

    @rule(
        job_names=choices.some_of(choices.NAMES),
        declared=choices.some_of(choices.SCHEDULES),
        limit=choices.limits,
    )
    def ask_which_schedules_are_due(self, job_names: Any, declared: Any, limit: int) -> None:
        where = ScheduleFilter(
            job_names=None if job_names is None else frozenset(job_names),
            declared=None if declared is None else frozenset(declared),
        )
        self._ask_which_are_due(where, limit)

    def _ask_which_are_due(self, where: ScheduleFilter, limit: int) -> None:
        waiting = self.model.waiting_schedules(where.job_names, where.declared)
        answers = self.ask(
            lambda store: [one.name for one in store.backend.due_schedules(where, limit=limit)]
        )
        due = [one.name for one in waiting if one.next_fire is not None and one.next_fire <= self.now.low]
        self.agree(f"due_schedules({where}, {limit})", answers, due[: max(0, limit)])
        upcoming = self.ask(lambda store: store.backend.upcoming_schedules(where))
        for name, seconds in upcoming.items():
            first = waiting[0].next_fire if waiting else None
            if first is None or seconds is None:
                assert seconds is first, (name, seconds, first)
                continue
            assert first - self.now.high - SLACK <= seconds <= first - self.now.low + SLACK, (name, seconds)

    @rule(names=choices.some_of(choices.SCHEDULES))
    def list_schedules(self, names: Any) -> None:
        answers = self.ask(lambda store: [one.name for one in store.backend.list_schedules(names)])
        known = sorted(name for name in self.model.schedules if names is None or name in names)
        self.agree(f"list_schedules({names})", answers, known)

    @rule()
    def ask_the_time(self) -> None:
        for name, seconds in self.ask(lambda store: store.seconds(store.backend.now())).items():
            assert self.now.low - SLACK <= seconds <= self.now.high + SLACK, (name, seconds, self.now)

    # -- what is written

    def _change(self, one: dict[str, Any], seen: dict[str, int]) -> ModelScheduleChange:
        name = one["schedule"]["name"]
        version = seen.get(name)
        if one["stale"]:
            version = 1 if version is None else version - 1
        if one["remove"] and version is not None:
            return ModelScheduleChange(name, version, None, [])
        return ModelScheduleChange(name, version, self._schedule(one["schedule"], (version or 0) + 10), [])

    def _schedule(self, drawn: dict[str, Any], version: int) -> ModelSchedule:
        fields = dict(drawn["fields"])
        cron, every = fields.pop("rule")
        for column in INSTANTS:
            if fields[column] is not None:
                fields[column] += self.start
        next_fire = None if drawn["next_fire"] is None else self.start + drawn["next_fire"]
        return ModelSchedule(
            drawn["name"],
            drawn["job_name"],
            drawn["declared"],
            next_fire,
            version,
            None,
            {**fields, "cron": cron, "every": every},
        )

    def _written(
        self, store: Store, change: ModelScheduleChange, jobs: list[dict[str, Any]]
    ) -> ScheduleChange:
        return ScheduleChange(
            name=change.name,
            seen=change.seen,
            becomes=None if change.becomes is None else _row(store, change.becomes),
            jobs=tuple(self.new_job(store, job) for job in jobs),
        )


def _row(store: Store, schedule: ModelSchedule) -> Schedule:
    fields = {
        column: store.instant(value) if column in INSTANTS and value is not None else value
        for column, value in schedule.fields.items()
    }
    fields |= {"misfire": Misfire(fields["misfire"]), "overlap": Overlap(fields["overlap"])}
    assert json.loads(fields["args_json"]) is not None
    return Schedule(
        **fields,
        name=schedule.name,
        job_name=schedule.job_name,
        declared=schedule.declared,
        next_fire_at=None if schedule.next_fire is None else store.instant(schedule.next_fire),
        version=schedule.version,
    )
