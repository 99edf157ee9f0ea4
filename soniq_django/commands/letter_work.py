"""Replaying and deleting dead letters, many at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from soniq.errors import BackendError, SoniqError
from soniq.records import DeadLetterFilter
from soniq_django.commands.places import Place

BATCH = 100


@dataclass(slots=True)
class Replayed:
    """What came of replays."""

    new_ids: dict[str, str] = field(default_factory=dict)  # of the new jobs, by dead letter
    refused: dict[str, str] = field(default_factory=dict)  # why, by dead letter


def replay_each(
    where: Place, ids: Sequence[str], changes: Mapping[str, Any], done: Callable[[int], object]
) -> Iterator[Replayed]:
    """Replay one after the other, in a transaction each; give what has come of it so far after each.

    One that is refused is noted, and the others go on: a replay of many is seldom all or nothing.

    :param changes: keywords of :meth:`soniq.dead_letter.DeadLetterService.replay_now`
    :raises BackendError: the database failed; what was replayed before is replayed
    """
    service = where.app.dead_letter
    result = Replayed()
    for letter_id in ids:
        try:
            replay = service.replay_now(letter_id, **changes)
        except BackendError:
            raise
        except SoniqError as error:
            result.refused[letter_id] = str(error)
        else:
            if replay.enqueued:
                result.new_ids[letter_id] = replay.job_id
            else:
                result.refused[letter_id] = f"the live job {replay.job_id} holds its unique key"
        done(1)
        yield result


def delete_all(where: Place, ids: Sequence[str], done: Callable[[int], object]) -> Iterator[int]:
    """Delete them in batches, in a transaction each; give how many have gone so far after each."""
    gone = 0
    for start in range(0, len(ids), BATCH):
        batch = ids[start : start + BATCH]
        gone += where.backend.delete_dead_letters(DeadLetterFilter(ids=batch, limit=len(batch)))
        done(len(batch))
        yield gone
