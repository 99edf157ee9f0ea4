"""The dead-letter service: look at jobs that gave up, run them again, or clear them away."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, Protocol

from soniq.backend import StorageBackend
from soniq.errors import ConfigurationError, DeadLetterNotFound, InvalidEnqueue
from soniq.jobs import DeadLetterReason, NewJob
from soniq.records import DeadLetter, DeadLetterFilter, DeadLetterStats
from soniq.task import MAX_ATTEMPTS


class ReplayMaker(Protocol):
    """Makes the new job of a dead letter; the producer does."""

    def replay_of(
        self,
        letter: DeadLetter,
        *,
        args: Mapping[str, Any] | None,
        queue: str | None,
        priority: int | None,
        max_attempts: int | None,
    ) -> NewJob:
        """The job to enqueue; raises what an enqueue raises."""
        ...


class DeadLetterService:
    """``app.dead_letter``. Every method is async and works on the store of its app."""

    def __init__(self, backend: StorageBackend, producer: ReplayMaker) -> None:
        self._backend = backend
        self._producer = producer

    async def list_dead_letter_jobs(self, filter: DeadLetterFilter | None = None) -> list[DeadLetter]:
        """Dead letters, newest first; at most ``filter.limit`` (1000) of them."""
        return await self._backend.run(self._backend.list_dead_letters, checked(filter))

    async def get_dead_letter_job(self, job_id: str) -> DeadLetter | None:
        """The dead letter of this job, or None."""
        return await self._backend.run(self._get, job_id)

    async def replay(
        self,
        job_id: str,
        *,
        reset_attempts: bool = True,
        new_max_attempts: int | None = None,
        new_queue: str | None = None,
        new_priority: int | None = None,
        new_args: Mapping[str, Any] | None = None,
    ) -> str:
        """Enqueue the job anew and return the new job's id. The dead letter stays, as the audit trail.

        :param reset_attempts: all its attempts again; False: one more attempt only
        :param new_args: instead of the ones it died with; checked against the job's signature
        :raises DeadLetterNotFound: there is no such dead letter
        :raises InvalidArguments: the arguments do not fit or cannot be stored; nothing was written
        """
        return await self._backend.run(
            self.replay_now,
            job_id,
            reset_attempts=reset_attempts,
            new_max_attempts=new_max_attempts,
            new_queue=new_queue,
            new_priority=new_priority,
            new_args=new_args,
        )

    def replay_now(
        self,
        job_id: str,
        *,
        reset_attempts: bool = True,
        new_max_attempts: int | None = None,
        new_queue: str | None = None,
        new_priority: int | None = None,
        new_args: Mapping[str, Any] | None = None,
    ) -> str:
        """:meth:`replay` on the calling thread, within its transaction."""
        letter = self._get(job_id)
        if letter is None:
            raise DeadLetterNotFound(job_id)
        job = self._producer.replay_of(
            letter,
            args=new_args,
            queue=new_queue,
            priority=new_priority,
            max_attempts=_attempts(letter, reset_attempts, new_max_attempts),
        )
        new_id = self._backend.replay_dead_letter(job_id, job)
        if new_id is None:
            raise DeadLetterNotFound(job_id)
        return new_id

    async def bulk_replay(
        self,
        filter: DeadLetterFilter,
        *,
        reset_attempts: bool = True,
        new_max_attempts: int | None = None,
        new_queue: str | None = None,
        new_priority: int | None = None,
    ) -> list[str]:
        """Replay what the filter means, oldest first; return the new ids."""

        def replay_all() -> list[str]:
            letters = self._backend.list_dead_letters(checked(filter))
            return [
                self.replay_now(
                    letter.id,
                    reset_attempts=reset_attempts,
                    new_max_attempts=new_max_attempts,
                    new_queue=new_queue,
                    new_priority=new_priority,
                )
                for letter in reversed(letters)
            ]

        return await self._backend.run(replay_all)

    async def delete_dead_letter_job(self, job_id: str) -> bool:
        """Delete one. False: there was none."""
        where = DeadLetterFilter(ids=[job_id])
        return await self._backend.run(self._backend.delete_dead_letters, where) > 0

    async def bulk_delete(self, filter: DeadLetterFilter) -> int:
        """Delete what the filter means (at most ``filter.limit``); return how many."""
        return await self._backend.run(self._backend.delete_dead_letters, checked(filter))

    async def cleanup_old_dead_letter_jobs(self, days: float = 30) -> int:
        """Delete dead letters that are older than ``days``; return how many."""
        if not 0 <= days < float("inf"):
            raise ConfigurationError(f"days is {days!r}: give 0 or more")
        before = datetime.now(UTC) - timedelta(days=days)

        def delete_all() -> int:
            deleted = 0
            while some := self._backend.delete_dead_letters(DeadLetterFilter(date_to=before)):
                deleted += some
            return deleted

        return await self._backend.run(delete_all)

    async def get_dead_letter_stats(self, hours: float | None = None) -> DeadLetterStats:
        """Counts by reason, job and queue; of all, or of those of the last ``hours``."""
        return await self._backend.run(self._backend.dead_letter_stats, hours=hours)

    async def export_dead_letter_jobs(
        self,
        filter: DeadLetterFilter | None = None,
        format: Literal["json", "csv"] = "json",
    ) -> str:
        """What the filter means, as JSON (a list of objects) or CSV (a header line and rows)."""
        if format not in ("json", "csv"):
            raise ConfigurationError(f"format is {format!r}: give 'json' or 'csv'")
        letters = await self.list_dead_letter_jobs(filter)
        rows = [letter.to_dict() for letter in letters]
        return _as_json(rows) if format == "json" else _as_csv(rows)

    async def add_tags_to_job(self, job_id: str, tags: Sequence[str]) -> bool:
        """Add tags, keeping those it has. False: there is no such dead letter."""
        if isinstance(tags, str) or not all(isinstance(tag, str) and tag for tag in tags):
            raise InvalidEnqueue(f"tags is {tags!r}: give a list of words")
        return await self._backend.run(self._backend.tag_dead_letter, job_id, tags)

    def _get(self, job_id: str) -> DeadLetter | None:
        found = self._backend.list_dead_letters(DeadLetterFilter(ids=[job_id], limit=1))
        return found[0] if found else None


def checked(where: DeadLetterFilter | None) -> DeadLetterFilter:
    """The filter, if it makes sense; without one, everything (up to its limit)."""
    where = where or DeadLetterFilter()
    if where.limit < 0 or where.offset < 0:
        raise ConfigurationError(f"limit is {where.limit} and offset {where.offset}: give 0 or more")
    for name in ("date_from", "date_to"):
        value = getattr(where, name)
        if value is not None and value.tzinfo is None:
            raise ConfigurationError(f"{name} is the naive {value.isoformat()}: give it a time zone")
    known = [reason.value for reason in DeadLetterReason]
    for reason in where.reasons or ():
        if reason not in known:
            raise ConfigurationError(f"{reason!r} is no dead-letter reason; known: {', '.join(known)}")
    return where


def _attempts(letter: DeadLetter, reset: bool, given: int | None) -> int:
    if given is None:
        return letter.max_attempts if reset else 1
    if isinstance(given, bool) or not isinstance(given, int) or not 1 <= given <= MAX_ATTEMPTS:
        raise InvalidEnqueue(f"new_max_attempts is {given!r}: give a whole number from 1 to {MAX_ATTEMPTS}")
    return given


def _as_json(rows: list[dict[str, Any]]) -> str:
    return json.dumps(rows, ensure_ascii=False, indent=2, default=_plain)


def _as_csv(rows: list[dict[str, Any]]) -> str:
    names = list(DeadLetter.__dataclass_fields__)
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(names)
    for row in rows:
        writer.writerow([_cell(row[name]) for name in names])
    return out.getvalue()


def _cell(value: Any) -> Any:
    """A value as a spreadsheet should show it: never as a formula."""
    if isinstance(value, (dict, list)):
        return json.dumps(value, ensure_ascii=False)
    value = "" if value is None else _plain(value)
    if isinstance(value, str) and value.startswith(("=", "+", "-", "@", "\t", "\r")):
        return "'" + value
    return value


def _plain(value: Any) -> Any:
    return value.isoformat() if isinstance(value, datetime) else value
