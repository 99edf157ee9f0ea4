"""Calling commands in this process."""

from __future__ import annotations

from dataclasses import dataclass
from io import StringIO

from django.core.management import BaseCommand, CommandError, call_command


@dataclass(frozen=True)
class Told:
    """What a command wrote, and its exit code."""

    out: str
    err: str
    code: int

    @property
    def lines(self) -> list[str]:
        return self.out.splitlines()


class Terminal(StringIO):
    """Takes part as a terminal."""

    def isatty(self) -> bool:
        return True


def run(name: str | BaseCommand, *arguments: str, out: StringIO | None = None) -> Told:
    """Call a command as its program would: an error is its message on the error stream, and its code."""
    out, err = out or StringIO(), StringIO()
    code = 0
    try:
        call_command(name, *arguments, stdout=out, stderr=err)
    except SystemExit as end:
        code = int(end.code or 0)
    except CommandError as error:
        err.write(f"{error}\n")
        code = error.returncode
    return Told(out.getvalue(), err.getvalue(), code)
