"""What the steps of a test are made of: options, outcomes and filters, as Hypothesis draws them."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import strategies as st

DAY = 86400.0
FAR = 30 * DAY  # a delay that no step waits for
JUMP = 60 * DAY  # the time that a test lets pass; longer than any delay

NAMES = ("mail", "bill'; DROP TABLE soniq_jobs; --", "späť")
QUEUES = ("default", "q.3", "%s \" ' {}")
KEYS = ("k1", "k2", "k3")
PRIORITIES = (0, 100, 1000)
# Offsets from the start of the test; jobs of equal instants are told apart by their ids.
INSTANTS = (-3 * DAY, -2 * DAY, 40 * DAY, 50 * DAY, 100 * DAY)
REASONS = (
    "max_retries_exceeded",
    "permanent_failure",
    "job_not_found",
    "invalid_arguments",
    "timeout",
    "worker_lost",
)
TAGS = ("seen", "see", "späť '\"%_", "\\", "a,b")

# What the codec writes as JSON itself. It marks floats from 1e16 on, and -0.0, as databases change those.
texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=8)
floats = st.floats(-1e15, 1e15).map(lambda value: value + 0.0)
scalars = st.none() | st.booleans() | st.integers(-(2**70), 2**70) | floats | texts
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)
arguments = st.just({}) | st.dictionaries(texts, values, max_size=2)
encoded = values.map(lambda value: json.dumps(value, ensure_ascii=False))
errors = st.sampled_from(["broken", "späť ✗\n  two lines", "'; DROP TABLE soniq_jobs; --"]) | texts

when = st.one_of(
    st.just(("now", 0.0)),
    st.just(("now", 0.0)),
    st.just(("now", 0.0)),
    st.just(("delay", FAR)),
    st.sampled_from([("instant", offset) for offset in INSTANTS]),
)
new_jobs = st.fixed_dictionaries(
    {
        "name": st.sampled_from(NAMES),
        "args": arguments,
        "queue": st.sampled_from(QUEUES),
        "priority": st.sampled_from(PRIORITIES),
        "max_attempts": st.integers(1, 3),
        "args_hash": st.none() | st.just("a" * 64),
        "dedup_key": st.none() | texts,
        "unique_key": st.none() | st.sampled_from(KEYS),
        "producer": st.just("") | st.just("web-1:4711"),
        "context": st.none() | st.none() | st.none() | arguments,
        "when": when,
    }
)

ttls = st.sampled_from([None, 0.0, 2 * DAY])
outcomes = st.one_of(
    st.tuples(st.just("succeed"), st.none() | encoded, ttls, st.none()),
    st.tuples(st.just("succeed"), st.none() | encoded, ttls, st.none() | errors),
    st.tuples(
        st.just("fail"), errors, st.sampled_from([None, 0.0, FAR]), st.sampled_from([None, "a.späť.Error"])
    ),
    st.tuples(st.just("snooze"), st.sampled_from([0.0, FAR]), st.none() | errors),
    st.tuples(st.just("interrupt")),
    st.tuples(st.just("rescue"), st.integers(1, 3)),
    st.tuples(st.just("bury"), st.sampled_from(REASONS), errors),
)
# How an outcome may be out of date: said by another worker, of another attempt, of another job.
twists = st.sampled_from([None, None, None, "worker", "attempt", "job"])


def some_of(pool: Any) -> Any:
    """None (all), or a collection of any type that the contract allows."""
    some = st.lists(st.sampled_from(pool), max_size=3)
    return st.none() | st.none() | st.none() | some | some.map(tuple) | some.map(frozenset)


SCHEDULES = ("nightly", "Nightly", "späť '\"%_")
# What no step looks at; instants as seconds from the start of the test.
schedule_fields = st.fixed_dictionaries(
    {
        "args_json": arguments.map(lambda value: json.dumps(value, ensure_ascii=False)),
        "queue": st.none() | st.sampled_from(QUEUES),
        "priority": st.none() | st.sampled_from(PRIORITIES),
        "rule": st.sampled_from([("*/5 * * * *", None), (None, 1.5), (None, 86400.0)]),
        "timezone": st.sampled_from(["UTC", "America/Argentina/Buenos_Aires"]),
        "starts_at": st.none() | st.sampled_from(INSTANTS),
        "ends_at": st.none() | st.sampled_from(INSTANTS),
        "misfire": st.sampled_from(["once", "skip", "all"]),
        "max_age": st.sampled_from([None, 0.0, 3600.5]),
        "overlap": st.sampled_from(["allow", "skip"]),
        "jitter": st.sampled_from([0.0, 2.25]),
        "definition": st.none() | st.just("a" * 32),
        "former_definitions": st.lists(st.just("b" * 32), max_size=3).map(tuple),
        "declared_at": st.none() | st.sampled_from(INSTANTS),
        "overridden": st.booleans(),
        "paused": st.booleans(),
        "anchor_at": st.sampled_from(INSTANTS),
        "last_fire_at": st.none() | st.sampled_from(INSTANTS),
        "fired": st.integers(0, 2**40),
        "skipped": st.integers(0, 2**40),
        "created_at": st.sampled_from(INSTANTS),
        "updated_at": st.sampled_from(INSTANTS),
    }
)
schedules = st.fixed_dictionaries(
    {
        "name": st.sampled_from(SCHEDULES),
        "job_name": st.sampled_from(NAMES),
        "declared": st.booleans(),
        "next_fire": st.none() | st.sampled_from(INSTANTS),
        "fields": schedule_fields,
    }
)
# What is done to the schedule of this name, by whom: one who has seen it as it is, or as it was.
schedule_changes = st.fixed_dictionaries(
    {
        "schedule": schedules,
        "remove": st.sampled_from([False, False, False, True]),
        "stale": st.sampled_from([False, False, False, True]),
        "jobs": st.lists(new_jobs, max_size=2),
    }
)

limits = st.sampled_from([1, 2, 3, 100, 0, -1])
filters = st.fixed_dictionaries(
    {},
    optional={
        "job_names": some_of(NAMES),
        "queues": some_of(QUEUES),
        "reasons": some_of(REASONS),
        "tags": some_of(TAGS),
        "has_been_resurrected": st.none() | st.booleans(),
    },
)
workers = st.fixed_dictionaries(
    {
        "hostname": st.sampled_from(["host-1", "höst"]),
        "pid": st.integers(1, 2**31 - 1),
        "concurrency": st.integers(1, 64),
        "queues": st.none() | st.lists(st.sampled_from(QUEUES), max_size=3).map(tuple),
    }
)
