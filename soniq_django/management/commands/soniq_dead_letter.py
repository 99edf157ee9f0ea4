"""``manage.py soniq_dead_letter``: look at jobs that gave up, run them again, clear them away."""

from __future__ import annotations

import json
import sys
from argparse import ArgumentParser
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from django.core.management.base import CommandError

from soniq.errors import DeadLetterNotFound
from soniq.export import as_csv, as_json, shown
from soniq.records import DeadLetter, DeadLetterFilter
from soniq.redaction import Redactor, redactor
from soniq.settings import MAX_COUNT
from soniq_django.commands.base import SoniqCommand
from soniq_django.commands.letter_actions import add_actions
from soniq_django.commands.letter_options import filter_of, require_choice
from soniq_django.commands.letter_text import details_of, list_of
from soniq_django.commands.letter_work import Replayed, delete_all, replay_each
from soniq_django.commands.options import json_object
from soniq_django.commands.places import Place, place
from soniq_django.commands.questions import HANDFUL, confirm
from soniq_django.commands.removing import old_letters
from soniq_django.commands.tables import counted, terminal_width
from soniq_django.progress import progress_bar
from soniq_django.store.errors import translated

REFUSED = 1
PREVIEWED = 10  # that --dry-run shows
REFUSALS = 10  # that are told one by one


class Command(SoniqCommand):
    """See the help text."""

    help = (
        "Look at dead letters, the jobs that gave up; replay, delete and export them. Each action has a help "
        "of its own: soniq_dead_letter replay --help. Secrets are masked as SONIQ['REDACT'] says. Exit code "
        "0: done; 1: refused, or some were; 2: the database could not be asked, or the command line cannot "
        "be read."
    )
    examples = """
        soniq_dead_letter list --reason timeout --since 7d
        soniq_dead_letter show 0198c5f2-6d1c-7a4e-b1d0-5a52f6d1a111
        soniq_dead_letter replay --job shop.jobs.notify_supplier --dry-run
        soniq_dead_letter delete --queue emails --until 2026-01-01
        soniq_dead_letter export --format csv --output letters.csv
        soniq_dead_letter prune --older-than 90 --yes
    """

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the actions and their options."""
        add_actions(parser)

    def perform(self, options: dict[str, Any]) -> None:
        """Do what the action says."""
        where = place(options["database"])
        where.backend.check_ready()
        actions: dict[str, Callable[[Place, dict[str, Any]], None]] = {
            "list": self._list,
            "show": self._show,
            "replay": self._replay,
            "delete": self._delete,
            "export": self._export,
            "prune": self._prune,
        }
        actions[options["action"]](where, options)

    # -- looking

    def _list(self, where: Place, options: dict[str, Any]) -> None:
        wanted = filter_of(options)
        limit, wanted.limit = wanted.limit, min(wanted.limit + 1, MAX_COUNT)
        letters = where.backend.list_dead_letters(wanted)
        self._write_list(where, letters[:limit], options)
        if len(letters) > limit and not options["json"] and options["verbosity"] > 0:
            self.stdout.write(f"There are more; these are the {limit:,} newest. See --limit and the filters.")

    def _write_list(self, where: Place, letters: list[DeadLetter], options: dict[str, Any]) -> None:
        hide = _redactor(where)
        if options.get("json"):
            self.stdout.write(as_json([shown(letter, hide) for letter in letters]))
        elif letters:
            width = terminal_width(is_terminal=self.stdout.isatty())
            lines = list_of(letters, hide, self.paint, now=datetime.now(UTC), width=width)
            self.stdout.write("\n".join(lines))
        elif options["verbosity"] > 0:
            self.stdout.write("No dead letters.")

    def _show(self, where: Place, options: dict[str, Any]) -> None:
        wanted = filter_of({**dict.fromkeys(("job", "queue", "reason", "since", "until", "tag")), **options})
        found = where.backend.list_dead_letters(wanted)
        missing = set(wanted.ids or ()) - {letter.id for letter in found}
        if missing:
            raise DeadLetterNotFound(min(missing))
        if options["json"]:
            self.stdout.write(as_json([shown(letter, _redactor(where)) for letter in found]))
            return
        now = datetime.now(UTC)
        blocks = [details_of(letter, _redactor(where), self.paint, now=now) for letter in found]
        self.stdout.write("\n\n".join("\n".join(lines) for lines in blocks))

    def _export(self, where: Place, options: dict[str, Any]) -> None:
        letters = where.backend.list_dead_letters(filter_of(options))
        rows = [shown(letter, _redactor(where)) for letter in letters]
        text = as_json(rows) + "\n" if options["format"] == "json" else as_csv(rows)
        if options["output"] is None:
            self.stdout.write(text, ending="")
            return
        try:
            Path(options["output"]).write_text(text, encoding="utf-8", newline="")
        except OSError as error:
            raise CommandError(f"--output {options['output']}: {error.strerror or error}") from None
        if options["verbosity"] > 0:
            self.stderr.write(
                f"wrote {counted(len(rows), 'dead letter')} to {options['output']}", self.paint.SUCCESS
            )

    # -- changing

    def _replay(self, where: Place, options: dict[str, Any]) -> None:
        require_choice(options)
        changes = _changes(options)
        ids = where.backend.dead_letter_ids(filter_of(options))
        if changes.get("new_args") is not None and len(ids) > 1:
            raise CommandError(f"--new-args is for one dead letter, these are {len(ids):,}; give one id")
        if not self._may("replay", where, len(ids), ids[:PREVIEWED], options):
            return
        result = Replayed()
        with progress_bar(unit="job", total=len(ids), shown=options["verbosity"] > 0) as bar:
            for result in replay_each(where, ids[::-1], changes, bar.update):  # the oldest first
                self.so_far = f"replayed {counted(len(result.new_ids), 'dead letter')} so far"
        self._tell_replayed(result, options)
        self.stdout.flush()
        if result.refused:
            sys.exit(REFUSED)

    def _tell_replayed(self, result: Replayed, options: dict[str, Any]) -> None:
        if options["json"]:
            self.stdout.write(json.dumps({"replayed": result.new_ids, "refused": result.refused}, indent=2))
            return
        if options["verbosity"] > 0:
            if len(result.new_ids) <= HANDFUL or options["verbosity"] > 1:
                for old, new in result.new_ids.items():
                    self.stdout.write(f"{old} is replayed as job {new}")
            self.stdout.write(f"Replayed {counted(len(result.new_ids), 'dead letter')}.")
        for letter_id, why in list(result.refused.items())[:REFUSALS]:
            self.stderr.write(f"{letter_id} was not replayed: {why}")
        if (more := len(result.refused) - REFUSALS) > 0:
            self.stderr.write(f"{more:,} more were not replayed; --json names them all")

    def _delete(self, where: Place, options: dict[str, Any]) -> None:
        require_choice(options)
        self._delete_all(where, where.backend.dead_letter_ids(filter_of(options)), options)

    def _prune(self, where: Place, options: dict[str, Any]) -> None:
        letters = old_letters(where, options["older_than"])
        if letters is None:
            raise CommandError("how old? give --older-than DAYS, or set SONIQ['DEAD_LETTER_TTL']")
        with translated(where.alias):
            newest = letters.rows.order_by("-moved_to_dead_letter_at", "-pk").values_list("pk", flat=True)
            count, first = letters.rows.count(), [str(pk) for pk in newest[:PREVIEWED]]
            if not self._may("delete", where, count, first, options):
                return
            gone = letters.empty(where, self._deleted_so_far, shown=options["verbosity"] > 0)
        self._tell_deleted(gone, options)

    def _delete_all(self, where: Place, ids: list[str], options: dict[str, Any]) -> None:
        if not self._may("delete", where, len(ids), ids[:PREVIEWED], options):
            return
        gone = 0
        with progress_bar(unit="row", total=len(ids), shown=options["verbosity"] > 0) as bar:
            for gone in delete_all(where, ids, bar.update):
                self._deleted_so_far(gone)
        self._tell_deleted(gone, options)

    def _deleted_so_far(self, gone: int) -> None:
        self.so_far = f"deleted {counted(gone, 'dead letter')} so far"

    def _tell_deleted(self, gone: int, options: dict[str, Any]) -> None:
        if options["verbosity"] > 0:
            self.stdout.write(f"Deleted {counted(gone, 'dead letter')}.")

    def _may(self, verb: str, where: Place, count: int, first: list[str], options: dict[str, Any]) -> bool:
        """Whether to go on: not if there is nothing to do, and with --dry-run after a look at the first.

        :raises CommandError: these are many, and nobody agreed
        """
        what = counted(count, "dead letter")
        if options["dry_run"]:
            self.stdout.write(f"Would {verb} {what}.")
            some = DeadLetterFilter(ids=first, limit=PREVIEWED)
            if first:
                self._write_list(where, where.backend.list_dead_letters(some), options | {"json": False})
            if count > PREVIEWED:
                self.stdout.write(f"and {count - PREVIEWED:,} more")
            return False
        if not count:
            if options["verbosity"] > 0:
                self.stdout.write("No dead letters meet this.")
            return False
        confirm(f"{verb} {what}", count, yes=options["yes"])
        return True


def _redactor(where: Place) -> Redactor:
    return redactor(where.app.settings.redact)


def _changes(options: dict[str, Any]) -> dict[str, Any]:
    """What the new jobs have that the dead ones had not."""
    given = options["new_args"]
    return {
        "reset_attempts": not options["one_attempt"],
        "new_max_attempts": options["new_max_attempts"],
        "new_queue": options["new_queue"],
        "new_priority": options["new_priority"],
        "new_args": None if given is None else json_object("--new-args", given),
    }
