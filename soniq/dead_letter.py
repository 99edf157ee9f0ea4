"""The dead-letter service: look at jobs that gave up, run them again, or clear them away."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, Protocol
from uuid import UUID

from soniq.arguments import encode
from soniq.backend import Run, StorageBackend
from soniq.errors import ConfigurationError, DeadLetterNotFound, InvalidEnqueue
from soniq.export import as_csv, as_json, shown
from soniq.ids import canonical
from soniq.jobs import DeadLetterReason, NewJob
from soniq.records import DeadLetter, DeadLetterFilter, DeadLetterStats
from soniq.redaction import Redactor
from soniq.settings import MAX_ATTEMPTS, MAX_SECONDS, check_page

MAX_TAG = 255
MAX_TAGS_BYTES = 65_536


@dataclass(frozen=True, slots=True)
class Replay:
    """What a replay came to."""

    job_id: str
    enqueued: bool  # False: nothing was written, the job of this id is live and holds the unique key


class ReplayProducer(Protocol):
    """Makes the new jobs of dead letters, and tells of them; the producer of the app is one."""

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

    def announce(self, jobs: list[NewJob], ids: list[str]) -> None:
        """Tell of these, now that they are stored under these ids."""


class DeadLetterService:
    """``app.dead_letter``. Every async method works on the store of its app.

    :param ready: called before each sync use: sets the store up, or refuses because the app is closed
    :param run: makes a blocking call for async code, once the store is ready
    :param redactor: masks secrets in exports
    """

    def __init__(
        self,
        backend: StorageBackend,
        producer: ReplayProducer,
        *,
        ready: Callable[[], None],
        run: Run,
        redactor: Redactor,
    ) -> None:
        self._redactor = redactor
        self._backend = backend
        self._producer = producer
        self._ready = ready
        self._run = run

    def on(self, backend: StorageBackend) -> DeadLetterService:
        """The same service, for the dead letters of another store."""
        return DeadLetterService(
            backend,
            self._producer,
            ready=self._ready,
            run=backend.run,
            redactor=self._redactor,
        )

    async def list_dead_letter_jobs(self, filter: DeadLetterFilter | None = None) -> list[DeadLetter]:
        """Dead letters, newest first; at most ``filter.limit`` (1000) of them."""
        return await self._run(self._backend.list_dead_letters, checked(filter or DeadLetterFilter()))

    async def get_dead_letter_job(self, job_id: str | UUID) -> DeadLetter | None:
        """The dead letter of this job, or None."""
        return await self._run(self._get, canonical(job_id))

    async def replay(
        self,
        job_id: str | UUID,
        *,
        reset_attempts: bool = True,
        new_max_attempts: int | None = None,
        new_queue: str | None = None,
        new_priority: int | None = None,
        new_args: Mapping[str, Any] | None = None,
    ) -> str:
        """Enqueue the job anew and return the new job's id. The dead letter stays, as the audit trail.

        While a live job holds the new one's unique key, nothing is enqueued: the id is the holder's, as
        that of an enqueue would be. :meth:`replay_now` tells the two apart.

        :param reset_attempts: all its attempts again; False: one more attempt only
        :param new_args: instead of the ones it died with; checked against the job's signature. Values, and
            what :attr:`DeadLetter.args` holds: marks such as ``{"$uuid": "..."}`` stay what they are
        :raises DeadLetterNotFound: there is no such dead letter
        :raises InvalidArguments: the arguments do not fit or cannot be stored; nothing was written
        """
        replay = await self._run(
            self.replay_now,
            job_id,
            reset_attempts=reset_attempts,
            new_max_attempts=new_max_attempts,
            new_queue=new_queue,
            new_priority=new_priority,
            new_args=new_args,
        )
        return replay.job_id

    def replay_now(
        self,
        job_id: str | UUID,
        *,
        reset_attempts: bool = True,
        new_max_attempts: int | None = None,
        new_queue: str | None = None,
        new_priority: int | None = None,
        new_args: Mapping[str, Any] | None = None,
    ) -> Replay:
        """:meth:`replay` on the calling thread, within its transaction; says whether a job was enqueued."""
        job_id = canonical(job_id)
        self._ready()
        letter = self._get(job_id)
        if letter is None:
            raise DeadLetterNotFound(job_id)
        attempts = _attempts(letter, reset_attempts, new_max_attempts)
        job = self._producer.replay_of(
            letter, args=new_args, queue=new_queue, priority=new_priority, max_attempts=attempts
        )
        new_id = self._backend.replay_dead_letter(job_id, job)
        if new_id is None:
            raise DeadLetterNotFound(job_id)
        self._producer.announce([job], [new_id])
        return Replay(new_id, enqueued=new_id == job.id)

    async def bulk_replay(
        self,
        filter: DeadLetterFilter,
        *,
        reset_attempts: bool = True,
        new_max_attempts: int | None = None,
        new_queue: str | None = None,
        new_priority: int | None = None,
    ) -> list[str]:
        """Replay what the filter means, oldest first; return the new ids.

        All of it is checked before anything is written. A letter that is deleted meanwhile is left out.
        """
        where = checked(filter)

        def replay_all() -> list[str]:
            letters = self._backend.list_dead_letters(where)
            jobs = {
                letter.id: self._producer.replay_of(
                    letter,
                    args=None,
                    queue=new_queue,
                    priority=new_priority,
                    max_attempts=_attempts(letter, reset_attempts, new_max_attempts),
                )
                for letter in reversed(letters)
            }
            made, ids = [], []
            for letter_id, job in jobs.items():
                new_id = self._backend.replay_dead_letter(letter_id, job)
                if new_id is not None:
                    made.append(job)
                    ids.append(new_id)
            self._producer.announce(made, ids)
            return ids

        return await self._run(replay_all)

    async def delete_dead_letter_job(self, job_id: str | UUID) -> bool:
        """Delete one. False: there was none."""
        where = DeadLetterFilter(ids=[canonical(job_id)])
        return await self._run(self._backend.delete_dead_letters, where) > 0

    async def bulk_delete(self, filter: DeadLetterFilter) -> int:
        """Delete what the filter means (at most ``filter.limit``); return how many."""
        return await self._run(self._backend.delete_dead_letters, checked(filter))

    async def cleanup_old_dead_letter_jobs(self, days: float = 30) -> int:
        """Delete dead letters that are older than ``days``; return how many."""
        _check_number("days", days, most=MAX_SECONDS / 86400)
        before = datetime.now(UTC) - timedelta(days=days)

        def delete_all() -> int:
            deleted = 0
            while some := self._backend.delete_dead_letters(DeadLetterFilter(date_to=before)):
                deleted += some
            return deleted

        return await self._run(delete_all)

    async def get_dead_letter_stats(self, hours: float | None = None) -> DeadLetterStats:
        """Counts by reason, job and queue; of all, or of those of the last ``hours``."""
        if hours is not None:
            _check_number("hours", hours, most=MAX_SECONDS / 3600)
        return await self._run(self._backend.dead_letter_stats, hours=hours)

    async def export_dead_letter_jobs(
        self,
        filter: DeadLetterFilter | None = None,
        format: Literal["json", "csv"] = "json",
    ) -> str:
        """What the filter means, as JSON (a list of objects) or CSV (a header line and rows).

        For people, tickets and mail: secrets are masked as the setting ``redact`` says, and control
        characters are spelled out. :meth:`list_dead_letter_jobs` gives what is stored.
        """
        if format not in ("json", "csv"):
            raise ConfigurationError(f"format is {format!r}: give 'json' or 'csv'")
        letters = await self.list_dead_letter_jobs(filter)
        rows = [shown(letter, self._redactor) for letter in letters]
        return as_json(rows) if format == "json" else as_csv(rows)

    async def add_tags_to_job(self, job_id: str | UUID, tags: Sequence[str]) -> bool:
        """Add tags, keeping those it has. False: there is no such dead letter.

        :raises PayloadTooLarge: all its tags together would take more than 64 KiB
        """
        if not _is_texts(tags) or not all(0 < len(tag) <= MAX_TAG for tag in tags):
            raise InvalidEnqueue(f"tags is {tags!r}: give a list of texts of 1 to {MAX_TAG} characters")
        encode(list(tags), limit=MAX_TAGS_BYTES, path="tags")
        return await self._run(self._tag, canonical(job_id), tags)

    def _tag(self, job_id: str, tags: Sequence[str]) -> bool:
        letter = self._get(job_id)
        if letter is None:
            return False
        encode(list({*letter.tags, *tags}), limit=MAX_TAGS_BYTES, path="tags")
        return self._backend.tag_dead_letter(job_id, tags)

    def _get(self, job_id: str) -> DeadLetter | None:
        found = self._backend.list_dead_letters(DeadLetterFilter(ids=[job_id], limit=1))
        return found[0] if found else None


def checked(where: object) -> DeadLetterFilter:
    """The filter, if it makes sense.

    :raises ConfigurationError: it does not, or is none
    """
    if not isinstance(where, DeadLetterFilter):
        raise ConfigurationError(
            f"filter is {where!r}: give a DeadLetterFilter; an empty one means everything"
        )
    check_page(where.limit, where.offset)
    if isinstance(where.ids, (list, tuple, set, frozenset)):
        where = replace(where, ids=[canonical(job_id) for job_id in where.ids])
    for name in ("ids", "job_names", "queues", "reasons", "tags"):
        value = getattr(where, name)
        if value is not None and not _is_texts(value):
            raise ConfigurationError(f"{name} is {value!r}: give a list of texts")
    for name in ("date_from", "date_to"):
        value = getattr(where, name)
        if value is not None and not isinstance(value, datetime):
            raise ConfigurationError(f"{name} is {value!r}: give an aware datetime")
        if value is not None and value.utcoffset() is None:
            raise ConfigurationError(f"{name} is the naive {value.isoformat()}: give it a time zone")
    if where.has_been_resurrected not in (None, True, False):
        raise ConfigurationError(
            f"has_been_resurrected is {where.has_been_resurrected!r}: give True, False or None"
        )
    known = [reason.value for reason in DeadLetterReason]
    for reason in where.reasons or ():
        if reason not in known:
            raise ConfigurationError(f"{reason!r} is no dead-letter reason; known: {', '.join(known)}")
    return where


def _is_texts(value: object) -> bool:
    """Whether this is a list of texts; a text alone would be a list of its letters."""
    return isinstance(value, (list, tuple, set, frozenset)) and all(isinstance(item, str) for item in value)


def _check_number(name: str, value: object, *, most: float) -> None:
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not number or not 0 <= value <= most:  # type: ignore[operator]  # number guards it
        raise ConfigurationError(f"{name} is {value!r}: give a number from 0 to {most:,.0f}")


def _attempts(letter: DeadLetter, reset: bool, given: int | None) -> int:
    if given is None:
        return letter.max_attempts if reset else 1
    if isinstance(given, bool) or not isinstance(given, int) or not 1 <= given <= MAX_ATTEMPTS:
        raise InvalidEnqueue(f"new_max_attempts is {given!r}: give a whole number from 1 to {MAX_ATTEMPTS}")
    return given
