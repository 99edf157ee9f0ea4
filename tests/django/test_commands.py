"""What all commands have in common."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest
from django.core.management import get_commands, load_command_class

from tests.support.scratch import Project

OURS = sorted(name for name, app in get_commands().items() if app == "soniq_django")


def parser_of(name: str):
    command = load_command_class("soniq_django", name)
    return command.create_parser("manage.py", name)


def parsers_of(name: str):
    """The command's, and those of its actions."""
    parser = parser_of(name)
    yield parser
    for action in parser._subparsers._group_actions if parser._subparsers else ():
        yield from action.choices.values()


def test_these_are_the_commands() -> None:
    assert OURS == [
        "soniq_check",
        "soniq_dead_letter",
        "soniq_enqueue",
        "soniq_health",
        "soniq_import",
        "soniq_prune",
        "soniq_status",
        "soniq_worker",
    ]


@pytest.mark.parametrize("name", OURS)
def test_every_help_ends_with_examples_that_the_command_line_accepts(name: str) -> None:
    for parser in parsers_of(name):
        _, _, examples = parser.format_help().partition("Examples:\n")
        lines = [shlex.split(line) for line in examples.splitlines()]
        assert lines, parser.prog
        for python, manage, command, *arguments in lines:
            assert (python, manage, command) == ("python", "manage.py", name)
            parser_of(name).parse_args(arguments)


@pytest.mark.parametrize("name", OURS)
def test_every_help_names_the_exit_codes_and_explains_every_option(name: str) -> None:
    assert "Exit code 0" in " ".join(parser_of(name).description.split())
    for parser in parsers_of(name):
        for action in parser._actions:
            assert action.help or action.dest in ("action", "ids"), f"{parser.prog} {action.dest}"


@pytest.mark.slow
@pytest.mark.parametrize(
    "arguments", [["soniq_status"], ["soniq_check"], ["soniq_enqueue", "x"], ["soniq_worker"]]
)
def test_a_setting_that_cannot_be_is_told_without_a_traceback(arguments: list[str], tmp_path: Path) -> None:
    """Some of our commands do without Django's checks, which would have told it."""
    told = Project(tmp_path, soniq={"CONCURENCY": 1}).run(*arguments)

    assert told.returncode in (1, 2)
    assert "did you mean 'CONCURRENCY'?" in told.stderr
    assert "Traceback" not in told.stderr
