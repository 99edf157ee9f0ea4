"""The actions of ``soniq_dead_letter`` and their options."""

from __future__ import annotations

from argparse import SUPPRESS, ArgumentParser
from collections.abc import Callable
from typing import TypeAlias

from soniq_django.commands.base import ExamplesFormatter, as_epilog
from soniq_django.commands.letter_options import add_filters
from soniq_django.commands.options import add_database, add_dry_run, add_json, add_yes, days, whole
from soniq_django.commands.questions import HANDFUL

LISTED = 50  # that `list` shows unless told otherwise

MakeAction: TypeAlias = Callable[[str, str, str], ArgumentParser]


def add_actions(parser: ArgumentParser) -> None:
    """A parser for each action."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION", title="actions")

    def action(name: str, what: str, examples: str) -> ArgumentParser:
        made: ArgumentParser = actions.add_parser(
            name,
            help=what,
            description=f"{what[0].upper()}{what[1:]}.",
            epilog=as_epilog(examples),
            formatter_class=ExamplesFormatter,
        )
        add_database(made)
        # Django has these before the action only. Without a default, they change nothing unless given.
        made.add_argument("-v", "--verbosity", type=int, choices=range(4), default=SUPPRESS, help=SUPPRESS)
        for option in ("--traceback", "--no-color", "--force-color"):
            made.add_argument(option, action="store_true", default=SUPPRESS, help=SUPPRESS)
        return made

    for add in (_add_list, _add_show, _add_replay, _add_delete, _add_export, _add_prune):
        add(action)


def _add_list(action: MakeAction) -> None:
    parser = action("list", "list dead letters, the newest first", "soniq_dead_letter list --since 24h")
    add_filters(parser, limit=LISTED)
    add_json(parser, "a list of objects with all fields")


def _add_show(action: MakeAction) -> None:
    parser = action(
        "show",
        "show all about a dead letter, with its arguments and its last error",
        "soniq_dead_letter show 0198c5f2-6d1c-7a4e-b1d0-5a52f6d1a111",
    )
    parser.add_argument("ids", nargs="+", metavar="ID")
    parser.set_defaults(limit=None)
    add_json(parser, "a list of objects with all fields")


def _add_replay(action: MakeAction) -> None:
    parser = action(
        "replay",
        "enqueue dead letters anew, the oldest first; they stay, as a record of what happened",
        """
        soniq_dead_letter replay 0198c5f2-6d1c-7a4e-b1d0-5a52f6d1a111
        soniq_dead_letter replay --job shop.jobs.notify_supplier --since 2h --yes
        soniq_dead_letter replay --all --new-queue slow --dry-run
        """,
    )
    add_filters(parser)
    _add_changing(parser)
    parser.add_argument("--new-queue", metavar="NAME", help="enqueue in this queue instead of its own")
    parser.add_argument("--new-priority", type=int, metavar="N", help="with this priority instead of its own")
    parser.add_argument("--new-args", metavar="JSON", help="with these arguments; for one dead letter only")
    attempts = parser.add_mutually_exclusive_group()
    attempts.add_argument(
        "--new-max-attempts", type=whole(least=1), metavar="N", help="with so many attempts"
    )
    attempts.add_argument(
        "--one-attempt", action="store_true", help="with one attempt, instead of as many as it had"
    )
    add_json(parser, "one JSON object: the new ids, and what was refused")


def _add_delete(action: MakeAction) -> None:
    parser = action(
        "delete",
        "delete dead letters for good",
        """
        soniq_dead_letter delete 0198c5f2-6d1c-7a4e-b1d0-5a52f6d1a111
        soniq_dead_letter delete --reason job_not_found --until 30d --dry-run
        """,
    )
    add_filters(parser)
    _add_changing(parser)


def _add_export(action: MakeAction) -> None:
    parser = action(
        "export",
        "write dead letters as JSON or CSV, for tickets and spreadsheets",
        """
        soniq_dead_letter export --job shop.jobs.notify_supplier > letters.json
        soniq_dead_letter export --format csv --output letters.csv
        """,
    )
    add_filters(parser)
    parser.add_argument("--format", choices=["json", "csv"], default="json", help="default: json")
    parser.add_argument("--output", metavar="FILE", help="write to this file, not to the standard output")


def _add_prune(action: MakeAction) -> None:
    parser = action(
        "prune",
        "delete old dead letters alone, as soniq_prune does with all that is past its time",
        "soniq_dead_letter prune --older-than 90 --yes",
    )
    parser.add_argument(
        "--older-than",
        type=days,
        metavar="DAYS",
        help="those that are so old; days, or 12h, 90min (default: SONIQ['DEAD_LETTER_TTL'])",
    )
    add_dry_run(parser)
    add_yes(parser, HANDFUL)


def _add_changing(parser: ArgumentParser) -> None:
    parser.add_argument("--all", action="store_true", help="all of them, if no filter is given")
    add_dry_run(parser)
    add_yes(parser, HANDFUL)
