"""``manage.py soniq_prune``: remove finished jobs past their time."""

from __future__ import annotations

from argparse import ArgumentParser
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from django.db.models import QuerySet

from soniq_django.commands.base import SoniqCommand
from soniq_django.commands.options import add_database, add_dry_run, days
from soniq_django.commands.places import Place, place
from soniq_django.commands.tables import counted
from soniq_django.progress import progress_bar
from soniq_django.store import pruning
from soniq_django.store.errors import translated


@dataclass(frozen=True, slots=True, kw_only=True)
class Heap:
    """Rows of one kind that go."""

    noun: str
    rows: QuerySet[Any]
    remove: Callable[..., Iterable[int]]


class Command(SoniqCommand):
    """See the help text."""

    help = (
        "Remove finished jobs past their time (result_ttl) in batches of 1,000, and dead letters older "
        "than --dead-letters or SONIQ['DEAD_LETTER_TTL']. Workers do the same by themselves, a batch at each "
        "sweep; this is for tables that have grown, and for other limits. Jobs that wait or run are never "
        "touched. It can be interrupted and started again. Exit code 0; 2: the database could not be asked."
    )
    examples = """
        soniq_prune --dry-run
        soniq_prune --older-than 7d --status done
        soniq_prune --dead-letters 90
    """

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the options."""
        parser.add_argument(
            "--older-than",
            type=days,
            metavar="DAYS",
            help="remove jobs that finished so long ago, instead of those past their time; or 12h, 90min",
        )
        parser.add_argument(
            "--status",
            action="append",
            choices=[status.value for status in pruning.FINISHED],
            help="only jobs that ended so; may be repeated (default: both)",
        )
        parser.add_argument(
            "--dead-letters",
            type=days,
            metavar="DAYS",
            help="remove dead letters that are so old; days, or 12h (default: SONIQ['DEAD_LETTER_TTL'], "
            "or none)",
        )
        add_dry_run(parser)
        add_database(parser)

    def perform(self, options: dict[str, Any]) -> None:
        """Remove, or say what would be removed."""
        where = place(options["database"])
        where.backend.check_ready()
        heaps = _heaps(where, options)
        talks = options["verbosity"] > 0
        told = []
        with translated(where.alias):
            for heap in heaps:
                if options["dry_run"]:
                    told.append(counted(heap.rows.count(), heap.noun))
                    continue
                told.append(counted(self._emptied(where, heap, told, shown=talks), heap.noun))
        if talks or options["dry_run"]:
            verb = "Would remove" if options["dry_run"] else "Removed"
            self.stdout.write(f"{verb} {' and '.join(told)}.")

    def _emptied(self, where: Place, heap: Heap, before: list[str], *, shown: bool) -> int:
        """Remove the rows of one kind; how many went."""
        gone = 0
        self.so_far = f"removed {' and '.join([*before, counted(0, heap.noun)])} so far"
        with progress_bar(unit="row", shown=shown) as bar:
            if not bar.disable:
                bar.reset(total=heap.rows.count())
            for some in heap.remove(where.backend, heap.rows):
                gone += some
                bar.update(some)
                self.so_far = f"removed {' and '.join([*before, counted(gone, heap.noun)])} so far"
        return gone


def _heaps(where: Place, options: dict[str, Any]) -> list[Heap]:
    """What is to go."""
    statuses = options["status"] or list(pruning.FINISHED)
    if options["older_than"] is None:
        heaps = [
            Heap(noun="finished job", rows=pruning.expired(where.backend, statuses), remove=pruning.remove)
        ]
    else:
        old = pruning.finished_before(where.backend, options["older_than"], statuses)
        heaps = [Heap(noun="finished job", rows=old, remove=pruning.remove_by_id)]
    age = where.app.settings.dead_letter_ttl if options["dead_letters"] is None else options["dead_letters"]
    if age is not None:
        letters = pruning.letters_before(where.backend, age)
        heaps.append(Heap(noun="dead letter", rows=letters, remove=pruning.remove))
    return heaps
