"""The dead-letter table."""

from __future__ import annotations

from collections.abc import Sequence

from django.db.models import Count

from soniq.jobs import NewJob
from soniq.records import DeadLetter, DeadLetterFilter, DeadLetterStats
from soniq_django.functions import DatabaseNow, from_now
from soniq_django.models import DeadLetterJob
from soniq_django.store import rows
from soniq_django.store.errors import translated
from soniq_django.store.hot import HotPath


class DeadLetterTable(HotPath):
    """See the section "dead letters" of :class:`soniq.backend.StorageBackend`."""

    def list_dead_letters(self, where: DeadLetterFilter) -> list[DeadLetter]:
        """See :class:`soniq.backend.StorageBackend`."""
        with translated(self.alias):
            return [rows.dead_letter_record(row) for row in self._meant(where)]

    def dead_letter_ids(self, where: DeadLetterFilter) -> list[str]:
        """The ids of what :meth:`list_dead_letters` would list; nothing else of the rows is read."""
        with translated(self.alias):
            return [str(row.pk) for row in self._meant(where, only=("pk",))]

    def delete_dead_letters(self, where: DeadLetterFilter) -> int:
        """See :class:`soniq.backend.StorageBackend`."""
        with self.transaction():
            ids = [row.pk for row in self._meant(where)]
            return self.dead_letters.filter(pk__in=ids).delete()[0]

    def replay_dead_letter(self, dead_letter_id: str, job: NewJob) -> str | None:
        """See :class:`soniq.backend.StorageBackend`."""
        if not rows.is_uuid(dead_letter_id):
            return None
        with self.transaction():
            self.lock_database()
            letter = self.locked(self.dead_letters.filter(pk=dead_letter_id)).first()
            if letter is None:
                return None
            [new_id] = self.enqueue([job])
            if new_id == job.id:
                self.dead_letters.filter(pk=letter.pk).update(
                    resurrection_count=letter.resurrection_count + 1,
                    last_resurrection_at=DatabaseNow(),
                )
            return new_id

    def tag_dead_letter(self, dead_letter_id: str, tags: Sequence[str]) -> bool:
        """See :class:`soniq.backend.StorageBackend`."""
        if not rows.is_uuid(dead_letter_id):
            return False
        with self.transaction():
            self.lock_database()
            letter = self.locked(self.dead_letters.filter(pk=dead_letter_id)).first()
            if letter is None:
                return False
            letter.tags = list(dict.fromkeys([*letter.tags, *tags]))
            letter.save(using=self.alias, update_fields=["tags"])
            return True

    def dead_letter_stats(self, *, hours: float | None = None) -> DeadLetterStats:
        """See :class:`soniq.backend.StorageBackend`."""
        letters = self.dead_letters.order_by()
        if hours is not None:
            letters = letters.filter(moved_to_dead_letter_at__gte=from_now(-hours * 3600))
        counted: dict[str, dict[str, int]] = {}
        with translated(self.alias):
            for column in ("dead_letter_reason", "job_name", "queue"):
                counted[column] = dict(letters.values_list(column).annotate(Count("pk")))
        return DeadLetterStats(
            total=sum(counted["queue"].values()),
            by_reason=counted["dead_letter_reason"],
            by_job_name=counted["job_name"],
            by_queue=counted["queue"],
        )

    def _meant(self, where: DeadLetterFilter, only: Sequence[str] = ()) -> list[DeadLetterJob]:
        """The rows that a filter means, newest first.

        :param only: the columns that are read; none given = all
        """
        found = self.dead_letters.order_by("-moved_to_dead_letter_at", "-pk")
        found = found.filter(rows.dead_letter_conditions(where))
        wanted = where.tags
        if only:
            found = found.only(*only, *(() if wanted is None else ("tags",)))
        if wanted is None:
            return list(found[where.offset : where.offset + where.limit])
        # Tags are a JSON list, and not every database can look into one.
        tagged = [row for row in found.iterator() if set(wanted) & set(row.tags)]
        return tagged[where.offset : where.offset + where.limit]
