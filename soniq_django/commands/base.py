"""How every command of ours meets the command line: help with examples, errors in one line, Ctrl-C."""

from __future__ import annotations

import os
import sys
from argparse import ArgumentParser
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import BaseCommand, CommandError, DjangoHelpFormatter
from django.core.management.color import Style, no_style

from soniq.errors import BackendError, SoniqError

IMPOSSIBLE = 2  # exit code: it could not be done or found out at all
INTERRUPTED = 130  # exit code after Ctrl-C, as shells have it
EXAMPLES = "Examples:"


class ExamplesFormatter(DjangoHelpFormatter):
    """Keeps the lines of examples as they are; any other text is filled."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        if text.startswith(EXAMPLES):
            return text
        return super()._fill_text(text, width, indent)


def as_epilog(examples: str) -> str:
    """Lines of ``soniq_…`` as the help shows them."""
    lines = [f"  python manage.py {line.strip()}" for line in examples.strip().splitlines()]
    return "\n".join([EXAMPLES, *lines])


class WithExamples(BaseCommand):
    """A command whose ``--help`` ends with examples."""

    examples = ""  # command lines without "python manage.py", one per line

    def create_parser(self, prog_name: str, subcommand: str, **kwargs: Any) -> Any:
        """See :class:`django.core.management.base.BaseCommand`."""
        kwargs.setdefault("formatter_class", ExamplesFormatter)
        if self.examples:
            kwargs.setdefault("epilog", as_epilog(self.examples))
        return super().create_parser(prog_name, subcommand, **kwargs)


class SoniqCommand(WithExamples):
    """A command that does its work in :meth:`perform`.

    What the library refuses becomes a CommandError, so one line and no traceback: exit code 2 if the
    database is the reason, else 1. Ctrl-C leaves with 130, after a line that says how far it got.
    """

    # Django's own checks open the database, too, and what they meet there would be a traceback.
    requires_system_checks: list[str] = []

    so_far = ""  # how far it got, for whoever interrupts it

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the options."""

    def handle(self, *args: Any, **options: Any) -> None:
        """Perform, and tell what went wrong."""
        try:
            self.perform(options)
            self.stdout.flush()
        except (
            BrokenPipeError
        ):  # whoever reads has seen enough, as head does; nor is the rest flushed at exit
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        except BackendError as error:
            raise CommandError(str(error), returncode=IMPOSSIBLE) from None
        except (SoniqError, ImproperlyConfigured) as error:
            raise CommandError(str(error)) from None
        except KeyboardInterrupt:
            told = f"; {self.so_far}" if self.so_far else ""
            raise CommandError(f"interrupted{told}", returncode=INTERRUPTED) from None

    def perform(self, options: dict[str, Any]) -> None:
        """What the command is for."""
        raise NotImplementedError

    @property
    def paint(self) -> Style:
        """Colours; on a terminal only, or with --force-color."""
        return self.style if self.stdout.isatty() else no_style()
