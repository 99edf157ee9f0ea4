"""What becomes of schedules: each verb gives the :class:`ScheduleChange` that a store is to write.

========  ======================  ===============================================================
verb      who                     what
========  ======================  ===============================================================
add       somebody, at run time   a new schedule, or another rule for a known one
declare   a worker that starts    the same for what code declares, unless somebody overrode it
pause     somebody                no fire time until it is resumed
resume    somebody                the next fire time from now on
remove    somebody                it is gone
retire    a worker                gone, too: no code has declared it for long
fire      a worker                the next fire time, and the jobs of those that have come
run_now   somebody                one job, at no fire time
========  ======================  ===============================================================

None in the place of a change: there is nothing to write.

Releases side by side declare different things for one name. A worker knows by the schedule's former
definitions that its own is the older one, and lets the newer stand; unless nobody has confirmed the newer
one for :data:`FORSAKEN_AFTER`, as after a release was taken back.

Pure: the time comes in as an argument, and nothing is written.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterable
from dataclasses import fields, replace
from datetime import datetime
from typing import Any

from soniq.fire_times import next_fire
from soniq.jobs import NewJob
from soniq.schedule_policy import Firing
from soniq.schedule_records import Schedule, ScheduleChange, ScheduleSpec

CONFIRM_EVERY = 300.0  # seconds; so often a worker says that its code declares a schedule
FORSAKEN_AFTER = 900.0  # seconds without a confirmation: no living worker's code declares it so
RETIRE_AFTER = 7 * 86400.0  # seconds without a confirmation: a schedule that nobody touched is removed
MOST_FORMER = 20  # definitions that are remembered

_SPEC = tuple(field.name for field in fields(ScheduleSpec))
_RULE = ("cron", "every", "timezone", "starts_at", "ends_at")


# -- people


def add(spec: ScheduleSpec, known: Schedule | None, now: datetime) -> ScheduleChange | None:
    """The schedule as it is wanted; one that code declares is overridden by it."""
    if known is None:
        return _created(spec, now)
    if _same(spec, known):
        return None
    return _written(known, now, **_with_rule_of(spec, known, now), overridden=known.declared)


def pause(known: Schedule, now: datetime) -> ScheduleChange | None:
    """It fires no more until it is resumed."""
    if known.paused:
        return None
    return _written(known, now, paused=True, next_fire_at=None)


def resume(known: Schedule, now: datetime) -> ScheduleChange | None:
    """It fires again, from now on: what it missed meanwhile was not wanted."""
    if not known.paused:
        return None
    return _written(known, now, paused=False, next_fire_at=_next(known, known, now))


def remove(known: Schedule) -> ScheduleChange:
    """It is gone. What code declares comes back with the next worker that starts."""
    return ScheduleChange(name=known.name, seen=known.version, becomes=None)


def run_now(known: Schedule, job: NewJob, now: datetime) -> ScheduleChange:
    """One job out of turn; its fire times stay as they are."""
    change = _written(known, now, fired=known.fired + 1)
    return replace(change, jobs=(job,))


# -- workers


def fire(known: Schedule, firing: Firing, jobs: Iterable[NewJob], now: datetime) -> ScheduleChange:
    """What :func:`soniq.schedule_policy.decide` has decided.

    :param jobs: one for each of its fire times, in their order
    """
    change = _written(
        known,
        now,
        next_fire_at=firing.next,
        last_fire_at=firing.fire_times[-1] if firing.fire_times else known.last_fire_at,
        fired=known.fired + len(firing.fire_times),
        skipped=known.skipped + firing.skipped,
    )
    return replace(change, jobs=tuple(jobs))


def declare(spec: ScheduleSpec, known: Schedule | None, now: datetime) -> ScheduleChange | None:
    """What code declares: a new schedule, another rule for a known one, or a word that it still does."""
    mine = definition(spec)
    if known is None:
        return _created(spec, now, declared=True, definition=mine, declared_at=now)
    if not known.declared:
        # Made at run time under this name; from now on code declares it, and may not change it.
        same = _same(spec, known)
        return _written(known, now, declared=True, definition=mine, declared_at=now, overridden=not same)
    if known.definition == mine:
        return _written(known, now, declared_at=now) if _silent(known, now, CONFIRM_EVERY) else None
    if mine in known.former_definitions and not _silent(known, now, FORSAKEN_AFTER):
        return None
    former = [one for one in (*known.former_definitions, known.definition) if one not in (mine, None)]
    rule: dict[str, Any] = {} if known.overridden else _with_rule_of(spec, known, now)
    return _written(
        known,
        now,
        **rule,
        definition=mine,
        former_definitions=tuple(former[-MOST_FORMER:]),
        declared_at=now,
    )


def retire(known: Schedule, declared: Collection[str], now: datetime) -> ScheduleChange | None:
    """Removed, if no code declares it any more and nobody has touched it.

    :param declared: the names that the code at hand declares
    """
    if not known.declared or known.name in declared or known.overridden or known.paused:
        return None
    return remove(known) if _silent(known, now, RETIRE_AFTER) else None


def definition(spec: ScheduleSpec) -> str:
    """A fingerprint of all that is wanted of a schedule."""
    wanted = {name: getattr(spec, name) for name in _SPEC}
    text = json.dumps(wanted, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


# -- writing


def _created(spec: ScheduleSpec, now: datetime, **more: Any) -> ScheduleChange:
    anchor = spec.starts_at or now
    row = Schedule(
        **{name: getattr(spec, name) for name in _SPEC},
        **more,
        anchor_at=anchor,
        next_fire_at=next_fire(spec, anchor, now),
        created_at=now,
        updated_at=now,
        # Above all versions of a schedule of this name that was removed: who has seen that one is too late.
        version=int(now.timestamp() * 1_000_000),
    )
    return ScheduleChange(name=spec.name, seen=None, becomes=row)


def _written(known: Schedule, now: datetime, **values: Any) -> ScheduleChange:
    row = replace(known, **values, updated_at=now, version=known.version + 1)
    return ScheduleChange(name=known.name, seen=known.version, becomes=row)


def _same(spec: ScheduleSpec, known: Schedule) -> bool:
    return all(getattr(spec, name) == getattr(known, name) for name in _SPEC)


def _with_rule_of(spec: ScheduleSpec, known: Schedule, now: datetime) -> dict[str, Any]:
    """All that the spec says; the next fire time is another one only if the rule is."""
    values: dict[str, Any] = {name: getattr(spec, name) for name in _SPEC}
    if any(getattr(spec, name) != getattr(known, name) for name in _RULE):
        anchor = spec.starts_at or now
        values["anchor_at"] = anchor
        moved = replace(known, anchor_at=anchor)
        values["next_fire_at"] = None if known.paused else _next(spec, moved, now)
    return values


def _next(spec: ScheduleSpec, known: Schedule, now: datetime) -> datetime | None:
    """The next fire time from now on, and behind all that have fired, should a clock have been set back."""
    after = now if known.last_fire_at is None else max(now, known.last_fire_at)
    return next_fire(spec, known.anchor_at, after)


def _silent(known: Schedule, now: datetime, seconds: float) -> bool:
    """Whether no worker has confirmed it for so long."""
    return known.declared_at is None or (now - known.declared_at).total_seconds() >= seconds
