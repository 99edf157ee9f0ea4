"""Long commands show how far they are: on a terminal, and to nobody in a pipe."""

from __future__ import annotations

import sys
from io import StringIO

import pytest

from soniq import Soniq
from tests.support.commands import Terminal, run
from tests.yard.jobs import fail, noop

pytestmark = pytest.mark.django_db(transaction=True, databases="__all__")

JOBS = 3
COMMANDS = [
    (noop, ("soniq_worker", "--run-once"), f"{JOBS}/{JOBS} "),
    (noop, ("soniq_check",), "job"),
    (fail, ("soniq_dead_letter", "replay", "--all"), f"0/{JOBS} "),
    (fail, ("soniq_dead_letter", "delete", "--all"), f"0/{JOBS} "),
    (fail, ("soniq_dead_letter", "prune", "--older-than", "0"), f"0/{JOBS} "),
    (fail, ("soniq_prune", "--dead-letters", "0"), f"0/{JOBS} "),
]


@pytest.mark.parametrize(
    ("job", "command", "bar"), COMMANDS, ids=[" ".join(command[:2]) for _, command, _ in COMMANDS]
)
@pytest.mark.parametrize("where", ["terminal", "pipe", "quiet"])
def test_progress_is_shown_on_a_terminal_alone(
    app: Soniq,
    alias: str,
    monkeypatch: pytest.MonkeyPatch,
    *,
    job,
    command: tuple[str, ...],
    bar: str,
    where: str,
) -> None:
    job.enqueue_many([{"message": "no"} if job is fail else {}] * JOBS)
    if job is fail:
        run("soniq_worker", "--run-once", "-v0")
    stream = StringIO() if where == "pipe" else Terminal()
    options = [] if command[0] == "soniq_worker" else ["--database", alias]
    monkeypatch.setattr(sys, "stderr", stream)

    told = run(*command, *options, "-v0" if where == "quiet" else "-v1")

    assert told.code == 0, told.err
    if where == "terminal":
        assert bar in stream.getvalue()
    else:
        assert stream.getvalue() == ""
