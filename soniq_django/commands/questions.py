"""What more than a handful of rows asks for before it happens."""

from __future__ import annotations

import sys

from django.core.management.base import CommandError

HANDFUL = 5  # rows that may be changed without a question


def confirm(what: str, count: int, *, yes: bool) -> None:
    """Return if ``what`` may be done to so many rows: a handful, with ``--yes``, or because a person said so.

    :raises CommandError: it may not; nothing was changed
    """
    if yes or count <= HANDFUL:
        return
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise CommandError(
            f"{what}: that is more than {HANDFUL}, and nobody is here to be asked; look at it with "
            "--dry-run, then add --yes"
        )
    try:
        answer = input(f"{what}? [y/N] ")
    except EOFError:
        answer = ""
    if answer.strip().lower() not in ("y", "yes"):
        raise CommandError("not done; nothing was changed")
