"""The table of dead letters."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from soniq.backends.memory.rows import JobRow
from soniq.backends.stored import decoded, failed_attempts
from soniq.jobs import DeadLetterReason
from soniq.records import DeadLetter, DeadLetterFilter, DeadLetterStats


@dataclass(slots=True)
class _DeadRow:
    """A dead letter; its arguments and context are filled from the texts whenever it is read."""

    letter: DeadLetter
    args_json: str
    context_json: str | None

    def read(self) -> DeadLetter:
        return replace(self.letter, args=decoded(self.args_json), context=decoded(self.context_json))


class DeadLetterTable:
    """Dead letters by their ids. Whoever calls holds the lock of the store."""

    def __init__(self) -> None:
        self._rows: dict[str, _DeadRow] = {}

    def __len__(self) -> int:
        return len(self._rows)

    def __contains__(self, dead_letter_id: str) -> bool:
        return dead_letter_id in self._rows

    def bury(self, row: JobRow, reason: DeadLetterReason, now: datetime) -> None:
        """Keep what was a job until now."""
        letter = DeadLetter(
            id=row.new.id,
            job_name=row.new.job_name,
            args={},
            queue=row.new.queue,
            priority=row.new.priority,
            max_attempts=row.new.max_attempts,
            attempts=row.attempts,
            last_error=row.last_error,
            dead_letter_reason=reason,
            original_created_at=row.created_at,
            moved_to_dead_letter_at=now,
            resurrection_count=0,
            last_resurrection_at=None,
            tags=(),
            failures=failed_attempts(decoded(row.failures_json)),
        )
        self._rows[row.new.id] = _DeadRow(letter, row.new.args_json, row.new.context_json)

    def find(self, where: DeadLetterFilter) -> list[DeadLetter]:
        """Those that are meant, newest first."""
        return [dead.read() for dead in self._meant(where)]

    def delete(self, where: DeadLetterFilter) -> int:
        """Delete what :meth:`find` would find; how many went."""
        meant = self._meant(where)
        for dead in meant:
            del self._rows[dead.letter.id]
        return len(meant)

    def purge(self, oldest: datetime, limit: int) -> int:
        """Delete up to ``limit`` of those that have been here since ``oldest`` or longer; how many went."""
        letters = (dead.letter for dead in self._rows.values())
        old = [letter.id for letter in letters if letter.moved_to_dead_letter_at <= oldest][:limit]
        for dead_letter_id in old:
            del self._rows[dead_letter_id]
        return len(old)

    def count_resurrection(self, dead_letter_id: str, now: datetime) -> None:
        """One more job came of this one."""
        dead = self._rows[dead_letter_id]
        dead.letter = replace(
            dead.letter, resurrection_count=dead.letter.resurrection_count + 1, last_resurrection_at=now
        )

    def tag(self, dead_letter_id: str, tags: Sequence[str]) -> bool:
        """Add tags after those it has, each once. False when there is no such dead letter."""
        dead = self._rows.get(dead_letter_id)
        if dead is None:
            return False
        dead.letter = replace(dead.letter, tags=tuple(dict.fromkeys([*dead.letter.tags, *tags])))
        return True

    def stats(self, since: datetime | None) -> DeadLetterStats:
        """Counts of those that came at ``since`` or later; None = of all."""
        letters = [dead.letter for dead in self._rows.values()]
        if since is not None:
            letters = [one for one in letters if one.moved_to_dead_letter_at >= since]
        return DeadLetterStats(
            total=len(letters),
            by_reason=dict(Counter(one.dead_letter_reason.value for one in letters)),
            by_job_name=dict(Counter(one.job_name for one in letters)),
            by_queue=dict(Counter(one.queue for one in letters)),
        )

    def _meant(self, where: DeadLetterFilter) -> list[_DeadRow]:
        found = [dead for dead in self._rows.values() if _matches(dead.letter, where)]
        found.sort(key=lambda d: (d.letter.moved_to_dead_letter_at, d.letter.id), reverse=True)
        return found[where.offset : where.offset + where.limit]


def _matches(letter: DeadLetter, where: DeadLetterFilter) -> bool:
    def among(value: str, wanted: Sequence[str] | None) -> bool:
        return wanted is None or value in wanted

    moved_at = letter.moved_to_dead_letter_at
    return (
        among(letter.id, where.ids)
        and among(letter.job_name, where.job_names)
        and among(letter.queue, where.queues)
        and among(letter.dead_letter_reason, where.reasons)
        and (where.date_from is None or moved_at >= where.date_from)
        and (where.date_to is None or moved_at < where.date_to)
        and (where.tags is None or not set(where.tags).isdisjoint(letter.tags))
        and where.has_been_resurrected in (None, letter.resurrection_count > 0)
    )
