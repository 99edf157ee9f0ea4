# ruff: noqa: S101, PLR2004  (these are tests)
"""Dead letters: the move, the filter, replay, tags and counts."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta

import pytest

from soniq.backend import StorageBackend
from soniq.jobs import ClaimRequest, DeadLetterReason, JobStatus
from soniq.records import DeadLetter, DeadLetterFilter
from soniq.testing.conformance.support import (
    PAYLOADS,
    Conformance,
    buried,
    claimed,
    enqueue_one,
    exactly,
    new_id,
    new_job,
    new_worker,
    seconds_between,
    stored,
    take,
    wait_until,
)
from soniq.transitions import bury, bury_waiting, fail, rescue

EVERYTHING = DeadLetterFilter()

# Each names the dead letters of ``collection`` that it means.
FILTERS: dict[str, tuple[DeadLetterFilter, str]] = {
    "nothing set": (DeadLetterFilter(), "abcd"),
    "job_names": (DeadLetterFilter(job_names=["mail"]), "ab"),
    "job_names of several": (DeadLetterFilter(job_names=["mail", "bill", "none"]), "abc"),
    "queues": (DeadLetterFilter(queues=["fast"]), "ac"),
    "reasons": (DeadLetterFilter(reasons=[DeadLetterReason.TIMEOUT]), "b"),
    "reasons as text": (DeadLetterFilter(reasons=["timeout", "worker_lost"]), "bc"),
    "tags": (DeadLetterFilter(tags=["seen"]), "ab"),
    "tags, one is enough": (DeadLetterFilter(tags=["late ⏰", "none"]), "bd"),
    "tags are whole words": (DeadLetterFilter(tags=["see", "late"]), ""),
    "resurrected": (DeadLetterFilter(has_been_resurrected=True), "d"),
    "never resurrected": (DeadLetterFilter(has_been_resurrected=False), "abc"),
    "all must hold": (DeadLetterFilter(job_names=["mail"], queues=["fast"]), "a"),
    "that contradict": (DeadLetterFilter(job_names=["bill"], queues=["slow"]), ""),
    "empty ids": (DeadLetterFilter(ids=[]), ""),
    "empty names": (DeadLetterFilter(job_names=[]), ""),
    "empty tags": (DeadLetterFilter(tags=[]), ""),
    "limit": (DeadLetterFilter(limit=2), "cd"),
    "offset": (DeadLetterFilter(offset=3), "a"),
    "limit and offset": (DeadLetterFilter(limit=2, offset=1), "bc"),
    "limit within a filter": (DeadLetterFilter(job_names=["mail"], limit=1), "b"),
    "limit of zero": (DeadLetterFilter(limit=0), ""),
}
each_filter = pytest.mark.parametrize(
    ("where", "meant"), FILTERS.values(), ids=[name.replace(" ", "-") for name in FILTERS]
)


def collection(backend: StorageBackend) -> dict[str, str]:
    """Four dead letters, ``a`` the oldest; their ids by letter."""
    kinds = {
        "a": ("mail", "fast", DeadLetterReason.PERMANENT_FAILURE),
        "b": ("mail", "slow", DeadLetterReason.TIMEOUT),
        "c": ("bill", "fast", DeadLetterReason.WORKER_LOST),
        "d": ("file", "slow", DeadLetterReason.MAX_RETRIES_EXCEEDED),
    }
    ids = {letter: new_id() for letter in kinds}
    backend.enqueue(
        new_job(id=ids[letter], job_name=name, queue=queue) for letter, (name, queue, _) in kinds.items()
    )
    claims = backend.claim(ClaimRequest(worker_id=new_worker(backend), limit=len(kinds)))
    claim_of = {claim.job_id: claim for claim in claims}
    for letter, (_, _, reason) in kinds.items():
        change = bury(claim_of[ids[letter]], reason=reason, error="broken")
        assert backend.apply([change]) == [True]
    backend.tag_dead_letter(ids["a"], ["seen"])
    backend.tag_dead_letter(ids["b"], ["seen", "late ⏰"])
    backend.tag_dead_letter(ids["d"], ["late ⏰"])
    backend.replay_dead_letter(ids["d"], new_job(delay=3600))
    return ids


def letter_of(backend: StorageBackend, dead_letter_id: str) -> DeadLetter:
    """The dead letter with this id."""
    [letter] = backend.list_dead_letters(DeadLetterFilter(ids=[dead_letter_id]))
    return letter


def listed(backend: StorageBackend, where: DeadLetterFilter) -> list[str]:
    """The ids that a filter lists, in order."""
    return [letter.id for letter in backend.list_dead_letters(where)]


class DeadLetterConformance(Conformance):
    """What the dead-letter methods promise, and what ``apply`` promises of the move."""

    # -- the move

    def test_a_dead_letter_keeps_the_job(self, backend: StorageBackend) -> None:
        """It has the id, the arguments and the history that the job had."""
        claim = claimed(
            backend,
            job_name="mail",
            args_json='{"to": "ä"}',
            queue="q",
            priority=7,
            max_attempts=2,
        )
        created_at = stored(backend, claim.job_id).created_at
        backend.apply([fail(claim, error="first", delay=0)])
        backend.apply([fail(take(backend), error="second ✗", delay=0)])
        [letter] = backend.list_dead_letters(EVERYTHING)

        assert (letter.id, letter.job_name, letter.args) == (claim.job_id, "mail", {"to": "ä"})
        assert (letter.queue, letter.priority) == ("q", 7)
        assert (letter.attempts, letter.max_attempts) == (2, 2)
        assert letter.last_error == "second ✗"
        assert letter.dead_letter_reason is DeadLetterReason.MAX_RETRIES_EXCEEDED
        assert letter.original_created_at == created_at
        assert seconds_between(created_at, letter.moved_to_dead_letter_at) >= 0
        assert letter.moved_to_dead_letter_at.utcoffset() == timedelta(0)
        assert (letter.resurrection_count, letter.last_resurrection_at) == (0, None)
        assert letter.tags == ()

    def test_a_dead_letter_keeps_the_context_and_the_history(self, backend: StorageBackend) -> None:
        """The last failure included; a waiting job that is buried has none."""
        claim = claimed(backend, context_json='{"tenant": "ä"}')
        backend.apply([fail(claim, error="first", delay=0, error_class="a.B")])
        last = take(backend)
        backend.apply([bury(last, reason=DeadLetterReason.TIMEOUT, error="second")])
        waiting = enqueue_one(backend)
        reason = DeadLetterReason.JOB_NOT_FOUND
        backend.apply([bury_waiting(waiting, reason=reason, error="nobody", overdue=0.0)])
        letter = letter_of(backend, claim.job_id)

        assert letter.context == {"tenant": "ä"}
        assert [(f.attempt, f.worker_id, f.error_class, f.error) for f in letter.failures] == [
            (1, claim.worker_id, "a.B", "first"),
            (2, last.worker_id, None, "second"),
        ]
        assert seconds_between(letter.failures[1].at, letter.moved_to_dead_letter_at) == pytest.approx(
            0, abs=0.1
        )
        other = letter_of(backend, waiting)
        assert (other.context, other.failures) == (None, ())

    @pytest.mark.parametrize("reason", DeadLetterReason)
    def test_a_dead_letter_says_why(self, backend: StorageBackend, reason: DeadLetterReason) -> None:
        """Every reason comes back as it was given."""
        dead = buried(backend, reason=reason)

        assert letter_of(backend, dead).dead_letter_reason is reason

    @pytest.mark.parametrize("text", PAYLOADS.values(), ids=PAYLOADS.keys())
    def test_arguments_survive_the_move(self, backend: StorageBackend, text: str) -> None:
        """A replay needs them exactly."""
        dead = buried(backend, args_json=text)

        assert exactly(letter_of(backend, dead).args) == exactly(json.loads(text))

    def test_a_moved_job_is_in_one_table_only(self, backend: StorageBackend) -> None:
        """The move is one step: out of the jobs, into the dead letters."""
        dead = buried(backend)

        assert backend.get_job(dead) is None
        assert listed(backend, EVERYTHING) == [dead]
        assert backend.queue_stats()["total"] == 1

    def test_a_move_whose_guard_fails_leaves_no_letter(self, backend: StorageBackend) -> None:
        """A late burial neither removes the job nor writes a dead letter."""
        claim = claimed(backend)
        late = bury(claim._replace(attempt=2), reason=DeadLetterReason.TIMEOUT, error="late")

        assert backend.apply([late]) == [False]
        assert stored(backend, claim.job_id).status is JobStatus.PROCESSING
        assert listed(backend, EVERYTHING) == []

    def test_a_job_without_chances_left_is_buried_by_its_rescue(self, backend: StorageBackend) -> None:
        """A rescue may end in the dead letters, too."""
        claim = claimed(backend, max_attempts=1)
        assert backend.apply([rescue(claim, max_crashes=3)]) == [True]
        letter = letter_of(backend, claim.job_id)

        assert letter.dead_letter_reason is DeadLetterReason.WORKER_LOST
        assert claim.worker_id in (letter.last_error or "")

    # -- the filter

    def test_dead_letters_are_listed_newest_first(self, backend: StorageBackend) -> None:
        """By the time of the move, not by the age of the job."""
        old, young = claimed(backend), claimed(backend)
        for claim in (young, old):
            backend.apply([bury(claim, reason=DeadLetterReason.TIMEOUT, error="late")])
            moved_at = letter_of(backend, claim.job_id).moved_to_dead_letter_at
            wait_until(lambda: _clock_is_past(backend, moved_at))  # noqa: B023  # called before the loop goes on

        assert listed(backend, EVERYTHING) == [old.job_id, young.job_id]

    def test_a_filter_lists_what_it_means(self, backend: StorageBackend) -> None:
        """Fields that are None do not filter; given ones must all hold."""
        ids = collection(backend)
        letters = {dead_letter_id: letter for letter, dead_letter_id in ids.items()}

        found = {
            name: "".join(letters[dead_letter_id] for dead_letter_id in listed(backend, where))
            for name, (where, _) in FILTERS.items()
        }

        assert found == {name: meant[::-1] for name, (_, meant) in FILTERS.items()}

    @each_filter
    def test_delete_removes_what_the_filter_lists(
        self, backend: StorageBackend, where: DeadLetterFilter, meant: str
    ) -> None:
        """Exactly these, counted; limit and offset included. Jobs are not touched."""
        ids = collection(backend)
        jobs = backend.list_jobs()

        assert backend.delete_dead_letters(where) == len(meant)
        rest = [ids[letter] for letter in "dcba" if letter not in meant]
        assert listed(backend, EVERYTHING) == rest
        assert backend.list_jobs() == jobs

    def test_a_filter_may_name_ids(self, backend: StorageBackend) -> None:
        """Unknown ids are ignored, and so are ids of jobs."""
        ids = collection(backend)
        job_id = enqueue_one(backend)
        where = DeadLetterFilter(ids=[ids["a"], new_id(), ids["c"], job_id])

        assert listed(backend, where) == [ids["c"], ids["a"]]
        assert backend.delete_dead_letters(where) == 2
        assert backend.get_job(job_id) is not None

    def test_a_filter_may_name_many_ids(self, backend: StorageBackend) -> None:
        """More than a statement has room for parameters."""
        dead = buried(backend)
        where = DeadLetterFilter(ids=[*(new_id() for _ in range(40_000)), dead])

        assert listed(backend, where) == [dead]

    def test_dates_mean_from_included_to_excluded(self, backend: StorageBackend) -> None:
        """A day's letters are those from its midnight to before the next."""
        moved_at = letter_of(backend, buried(backend)).moved_to_dead_letter_at
        moment = timedelta(microseconds=1)

        def count(**fields: object) -> int:
            return len(backend.list_dead_letters(DeadLetterFilter(**fields)))  # type: ignore[arg-type]  # any field

        assert count(date_from=moved_at) == 1
        assert count(date_from=moved_at + moment) == 0
        assert count(date_to=moved_at) == 0
        assert count(date_to=moved_at + moment) == 1
        assert count(date_from=moved_at, date_to=moved_at + moment) == 1

    # -- replay

    def test_a_replay_enqueues_a_job_and_is_counted(self, backend: StorageBackend) -> None:
        """The dead letter stays as the audit trail, and knows when and how often."""
        dead = buried(backend)
        before = letter_of(backend, dead)
        first, second = new_job(job_name="first"), new_job(job_name="second")

        assert backend.replay_dead_letter(dead, first) == first.id
        assert backend.replay_dead_letter(dead, second) == second.id
        assert stored(backend, first.id).job_name == "first"
        assert stored(backend, second.id).status is JobStatus.QUEUED
        letter = letter_of(backend, dead)
        assert letter.resurrection_count == 2
        assert seconds_between(letter.moved_to_dead_letter_at, letter.last_resurrection_at) >= 0
        untouched = {"resurrection_count": 0, "last_resurrection_at": None}
        assert replace(letter, **untouched) == before  # type: ignore[arg-type]  # both types at once

    def test_a_replay_of_an_unknown_letter_enqueues_nothing(self, backend: StorageBackend) -> None:
        """None is the answer; an id of a job is unknown here, too."""
        job_id = enqueue_one(backend)

        assert backend.replay_dead_letter(new_id(), new_job()) is None
        assert backend.replay_dead_letter(job_id, new_job()) is None
        assert backend.queue_stats()["total"] == 1

    def test_a_replay_into_a_held_key_is_not_counted(self, backend: StorageBackend) -> None:
        """Nothing was enqueued, so nothing was resurrected; the answer is the holder."""
        dead = buried(backend, unique_key="k")
        holder = enqueue_one(backend, unique_key="k")

        assert backend.replay_dead_letter(dead, new_job(unique_key="k")) == holder
        assert letter_of(backend, dead).resurrection_count == 0
        assert backend.queue_stats()["queued"] == 1

    def test_a_replay_that_fails_is_not_counted(self, backend: StorageBackend) -> None:
        """Both or neither."""
        dead = buried(backend)
        with pytest.raises(Exception):  # noqa: B017, PT011  # any error will do
            backend.replay_dead_letter(dead, self.broken_job())

        assert letter_of(backend, dead).resurrection_count == 0
        assert backend.queue_stats()["queued"] == 0

    # -- tags

    def test_tags_are_added_to_those_there_are(self, backend: StorageBackend) -> None:
        """In the order of adding, each once, and to this letter only."""
        dead, other = buried(backend), buried(backend)

        assert backend.tag_dead_letter(dead, ["b", "späť '\"%_"]) is True
        assert backend.tag_dead_letter(dead, ["a", "b", "a"]) is True
        assert backend.tag_dead_letter(dead, []) is True
        assert letter_of(backend, dead).tags == ("b", "späť '\"%_", "a")
        assert letter_of(backend, other).tags == ()
        assert listed(backend, DeadLetterFilter(tags=["späť '\"%_"])) == [dead]

    def test_an_unknown_letter_cannot_be_tagged(self, backend: StorageBackend) -> None:
        """False is the answer; a job is unknown here, too."""
        assert backend.tag_dead_letter(new_id(), ["a"]) is False
        assert backend.tag_dead_letter(enqueue_one(backend), ["a"]) is False

    # -- counts

    def test_counts_of_no_letters_are_empty(self, backend: StorageBackend) -> None:
        """Jobs do not count."""
        enqueue_one(backend)
        stats = backend.dead_letter_stats()

        assert (stats.total, stats.by_reason, stats.by_job_name, stats.by_queue) == (0, {}, {}, {})

    def test_counts_are_given_by_kind(self, backend: StorageBackend) -> None:
        """By reason, by name and by queue, each adding up to the total."""
        collection(backend)
        stats = backend.dead_letter_stats()

        assert stats.total == 4
        assert stats.by_job_name == {"mail": 2, "bill": 1, "file": 1}
        assert stats.by_queue == {"fast": 2, "slow": 2}
        assert stats.by_reason == {
            "permanent_failure": 1,
            "timeout": 1,
            "worker_lost": 1,
            "max_retries_exceeded": 1,
        }

    def test_counts_may_be_of_the_last_hours(self, backend: StorageBackend) -> None:
        """Letters moved before the window are left out."""
        collection(backend)

        assert backend.dead_letter_stats(hours=1) == backend.dead_letter_stats()
        wait_until(lambda: backend.dead_letter_stats(hours=1e-6).total == 0)


def _clock_is_past(backend: StorageBackend, moment: object) -> bool:
    """Whether something written now is later than ``moment``."""
    job_id = enqueue_one(backend, delay=3600)
    created_at = stored(backend, job_id).created_at
    backend.delete_job(job_id)
    return bool(created_at > moment)  # type: ignore[operator]  # a datetime
