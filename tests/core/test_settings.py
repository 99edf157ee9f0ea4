"""Settings: each mistake is refused at once, in one line that names the key and the remedy."""

from __future__ import annotations

import math
from dataclasses import FrozenInstanceError

import pytest

from soniq import Soniq
from soniq.errors import ConfigurationError
from soniq.settings import Settings, check_queue, check_queues
from soniq.testing import make_app

SECONDS = (
    "poll_interval",
    "heartbeat_interval",
    "dead_after",
    "sweep_interval",
    "shutdown_timeout",
    "retry_delay",
    "snooze_max_seconds",
    "result_ttl",
    "dead_letter_ttl",
    "job_timeout",
)
POSITIVE = ("poll_interval", "heartbeat_interval", "dead_after", "sweep_interval", "job_timeout")
OPTIONAL = ("result_ttl", "dead_letter_ttl", "job_timeout", "queues")
WHOLE = ("concurrency", "max_crashes", "max_args_bytes", "max_result_bytes", "max_retries", "priority")


def refused(**values):
    """The message that these settings are refused with."""
    with pytest.raises(ConfigurationError) as error:
        make_app(**values)
    message = str(error.value)
    assert "\n" not in message
    return message


def test_the_defaults_are_those_of_the_documentation():
    """As the table of settings has them."""
    assert Settings() == Settings(
        concurrency=4,
        queues=None,
        poll_interval=5.0,
        heartbeat_interval=10,
        dead_after=45,
        sweep_interval=15,
        max_crashes=3,
        shutdown_timeout=30,
        job_timeout=300,
        max_retries=3,
        retry_delay=0,
        priority=100,
        result_ttl=86400,
        dead_letter_ttl=None,
        max_args_bytes=2**20,
        max_result_bytes=2**20,
        enqueue_validation="strict",
        snooze_max_seconds=86400,
    )


@pytest.mark.parametrize(
    ("key", "nearest"),
    [
        ("concurency", "concurrency"),
        ("max_retry", "max_retries"),
        ("timeout", "job_timeout"),
        ("queue", "queues"),
    ],
)
def test_an_unknown_setting_is_answered_with_the_nearest(key, nearest):
    """Did you mean."""
    assert refused(**{key: 1}) == f"unknown setting {key!r}; did you mean {nearest!r}?"


def test_a_setting_like_no_other_is_answered_with_all():
    """Then the list helps."""
    message = refused(zzz=1)
    assert "unknown setting 'zzz'" in message
    assert all(name in message for name in SECONDS + WHOLE)


@pytest.mark.parametrize("key", SECONDS)
@pytest.mark.parametrize("value", [-1, -0.001, "5", math.nan, math.inf, 1e300, True, [5], {}], ids=repr)
def test_a_time_is_a_number_of_seconds(key, value):
    """Neither negative nor endless, and never text."""
    message = refused(**{key: value})
    assert message.startswith(f"{key} is {value!r}: give ")
    assert "seconds" in message


@pytest.mark.parametrize("key", SECONDS)
def test_zero_is_refused_where_it_makes_no_sense(key):
    """An interval of nothing would be a loop without a pause."""
    if key in POSITIVE:
        assert f"{key} is 0: give more than 0" in refused(**{key: 0})
    else:
        make_app(**{key: 0})


@pytest.mark.parametrize("key", sorted({*SECONDS, *WHOLE, "queues", "enqueue_validation"}))
def test_none_switches_off_only_what_can_be_off(key):
    """A time to live, the timeout, the choice of queues."""
    if key in OPTIONAL:
        assert getattr(make_app(**{key: None}).settings, key) is None
    else:
        assert refused(**{key: None}).startswith(f"{key} is None: give ")


@pytest.mark.parametrize("key", WHOLE)
@pytest.mark.parametrize("value", [-1, 1.0, "4", True, math.nan, [1]], ids=repr)
def test_a_count_is_a_whole_number(key, value):
    """A bool is none."""
    assert refused(**{key: value}).startswith(f"{key} is {value!r}: give a whole number")


@pytest.mark.parametrize("key", ["concurrency", "max_crashes", "max_args_bytes", "max_result_bytes"])
def test_a_count_of_nothing_is_refused_where_nothing_would_happen(key):
    """At least one."""
    assert "1 or more" in refused(**{key: 0})


@pytest.mark.parametrize(("key", "value"), [("priority", 1001), ("max_retries", 32_767)])
def test_a_count_ends_where_its_column_does(key, value):
    """What the database could not hold is refused at the start, not at the first enqueue."""
    assert refused(**{key: value}).startswith(f"{key} is {value}: give a whole number")
    make_app(**{key: value - 1})


def test_fewer_than_three_beats_contradict_dead_after():
    """One late beat would look like a dead worker; both keys and the remedy are named."""
    message = refused(heartbeat_interval=20, dead_after=45)
    assert "heartbeat_interval (20 s)" in message
    assert "dead_after (45 s)" in message
    assert message.endswith("set dead_after to 60 or more")
    make_app(heartbeat_interval=15, dead_after=45)


@pytest.mark.parametrize("value", ["STRICT", "", True, 1], ids=repr)
def test_enqueue_validation_is_one_of_three_words(value):
    """And the message names them."""
    assert "give 'strict', 'warn' or 'none'" in refused(enqueue_validation=value)


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ("emails", "give a list of names"),
        ([], "queues is empty"),
        (["a b"], "'a b' is no queue name"),
        ([""], "'' is no queue name"),
        ([5], "5 is no queue name"),
        (["x" * 64], "is no queue name: use 1 to 63"),
        ({"a": 1}, "give a list of names"),
        (5, "give a list of names"),
    ],
    ids=repr,
)
def test_queues_is_a_list_of_queue_names(value, says):
    """For the app as for one worker."""
    assert says in refused(queues=value)
    with pytest.raises(ConfigurationError, match=says.replace("(", r"\(")):
        make_app().worker(queues=value)


def test_queues_named_twice_are_served_once():
    """In their order; any list-like will do."""
    assert check_queues(["b", "a", "b"]) == ("b", "a")
    assert make_app(queues=["b", "a", "b"]).settings.queues == ("b", "a")
    assert make_app().worker(queues=(name for name in "ba")).info.queues == ("b", "a")


@pytest.mark.parametrize("name", ["a", "default", "Emails", "_x", "9", "a.b:c-d_e", "x" * 63])
def test_queue_names_may_be_what_people_use(name):
    """Letters, digits and four signs."""
    assert check_queue(name) == name


@pytest.mark.parametrize(
    "name", ["", " a", "a ", "a\n", "-a", ".a", "a,b", "a/b", "ü", "x" * 64, "a\x00", None, 5, b"a"]
)
def test_other_queue_names_are_refused(name):
    """Commas separate queues on the command line; the rest is asking for trouble."""
    with pytest.raises(ConfigurationError, match="is no queue name"):
        check_queue(name)


def test_settings_cannot_be_changed():
    """What was checked stays as it was."""
    with pytest.raises(FrozenInstanceError):
        make_app().settings.concurrency = 9


@pytest.mark.parametrize("value", [0, -1, True, "4", 1.5], ids=repr)
def test_a_worker_needs_a_slot(value):
    """concurrency is one or more."""
    with pytest.raises(ConfigurationError, match="concurrency is"):
        make_app().worker(concurrency=value)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({}, "no store: give backend='memory', or database_url="),
        ({"backend": "postgres"}, "backend is 'postgres': give 'memory', 'sqlite', or a store"),
        ({"backend": ""}, "backend is ''"),
        ({"backend": "sqlite"}, "the sqlite store needs database_url"),
        ({"backend": "memory", "database_url": "x.db"}, "the memory store takes no database_url"),
        ({"database_url": "postgres://db/x"}, "for PostgreSQL use Django and soniq_django"),
        ({"database_url": 5}, "database_url is 5"),
    ],
    ids=repr,
)
def test_a_store_that_cannot_be_chosen_is_one_line(options, says):
    """What is missing, and what to write instead."""
    with pytest.raises(ConfigurationError) as error:
        Soniq(**options)
    assert says in str(error.value)
    assert "\n" not in str(error.value)


def test_a_store_and_a_url_contradict_each_other(app):
    """The store knows where its data is."""
    with pytest.raises(ConfigurationError, match="database_url"):
        Soniq("x.db", backend=app.backend)


@pytest.mark.parametrize("name", ["a.db", "a.sqlite", "a.sqlite3"])
async def test_a_path_with_a_known_ending_selects_sqlite(tmp_path, name):
    """As text or as a path."""
    for url in (str(tmp_path / name), tmp_path / name, f"sqlite:///{tmp_path / name}"):
        async with Soniq(database_url=url) as app:
            assert type(app.backend).__name__ == "SQLiteBackend"
        assert (tmp_path / name).exists()
