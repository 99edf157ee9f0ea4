"""Which dead letters a command line means."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import CommandError

from soniq.dead_letter import checked
from soniq.errors import ConfigurationError
from soniq.ids import is_job_id
from soniq.jobs import DeadLetterReason
from soniq.records import DeadLetterFilter
from soniq.settings import MAX_COUNT
from soniq_django.commands.options import moment, whole

FILTERS = ("ids", "job", "queue", "reason", "since", "until", "tag")


def add_filters(parser: ArgumentParser, *, limit: int | None = None) -> None:
    """Ids and filters; those that are given must all hold."""
    parser.add_argument("ids", nargs="*", metavar="ID", help="these only")
    parser.add_argument("--job", action="append", metavar="NAME", help="of this name; may be repeated")
    parser.add_argument("--queue", action="append", metavar="NAME", help="of this queue; may be repeated")
    parser.add_argument(
        "--reason",
        action="append",
        choices=[reason.value for reason in DeadLetterReason],
        metavar="REASON",
        help=f"given up for this reason: {', '.join(DeadLetterReason)}; may be repeated",
    )
    parser.add_argument(
        "--since", type=moment, metavar="TIME", help="given up at or after: 2026-05-01T09:00, or 2h, 7d ago"
    )
    parser.add_argument("--until", type=moment, metavar="TIME", help="given up before")
    parser.add_argument("--tag", action="append", metavar="TAG", help="with this tag; may be repeated")
    parser.add_argument(
        "--limit",
        type=whole(least=1),
        default=limit,
        metavar="N",
        help=f"no more than the N newest (default: {'all' if limit is None else limit})",
    )


def filter_of(options: dict[str, Any]) -> DeadLetterFilter:
    """The filter that the options describe.

    :raises CommandError: an id is none
    """
    for text in options["ids"]:
        if not is_job_id(text):
            raise CommandError(f"{text!r} is no id; soniq_dead_letter list shows them")
    try:
        return checked(
            DeadLetterFilter(
                ids=options["ids"] or None,
                job_names=options["job"],
                queues=options["queue"],
                reasons=options["reason"],
                date_from=options["since"],
                date_to=options["until"],
                tags=options["tag"],
                limit=options["limit"] or MAX_COUNT,
            )
        )
    except ConfigurationError as error:
        raise CommandError(str(error)) from None


def require_choice(options: dict[str, Any]) -> None:
    """Refuse a change of everything that nobody asked for.

    :raises CommandError: there is neither an id nor a filter nor ``--all``
    """
    if not options["all"] and not any(options[name] for name in FILTERS):
        raise CommandError("which ones? give ids or filters, or --all")
