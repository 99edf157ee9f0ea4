"""Removing what is past its time, for people: the one way in which commands do it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from django.db.models import QuerySet

from soniq_django.commands.places import Place
from soniq_django.models import DeadLetterJob
from soniq_django.progress import progress_bar
from soniq_django.store import pruning


@dataclass(frozen=True, slots=True, kw_only=True)
class Heap:
    """Rows of one kind that go."""

    noun: str
    rows: QuerySet[Any]
    remove: Callable[..., Iterable[int]]

    def empty(self, where: Place, gone_so_far: Callable[[int], object], *, shown: bool) -> int:
        """Remove the rows, batch by batch; how many went.

        :param gone_so_far: called before the first batch and after each
        :param shown: whether a person may want to see a progress bar
        """
        gone = 0
        gone_so_far(gone)
        with progress_bar(unit="row", shown=shown) as bar:
            if not bar.disable:
                bar.reset(total=self.rows.count())
            for some in self.remove(where.backend, self.rows):
                gone += some
                bar.update(some)
                gone_so_far(gone)
        return gone


def old_letters(where: Place, seconds: float | None) -> Heap | None:
    """Dead letters that are so old, or as old as SONIQ["DEAD_LETTER_TTL"] says; None if neither is given."""
    age = where.app.settings.dead_letter_ttl if seconds is None else seconds
    if age is None:
        return None
    rows: QuerySet[DeadLetterJob] = pruning.letters_before(where.backend, age)
    return Heap(noun="dead letter", rows=rows, remove=pruning.remove)


def old_jobs(where: Place, seconds: float | None, statuses: list[str]) -> Heap:
    """Jobs that finished so many seconds ago, or that are past their own time."""
    if seconds is None:
        rows = pruning.expired(where.backend, statuses)
        return Heap(noun="finished job", rows=rows, remove=pruning.remove)
    rows = pruning.finished_before(where.backend, seconds, statuses)
    return Heap(noun="finished job", rows=rows, remove=pruning.remove_by_id)
