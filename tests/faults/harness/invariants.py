"""What must be true after every scenario, whatever was broken in it.

I1  every enqueue that committed has ended, in exactly one of the two tables
I2  a job is run once per claim, within the claim; a claim is taken away only from a worker that was
    killed, frozen or cut off, so two runs overlap only where the first owner had lost its claim
I3  each job has exactly one recorded outcome, and it belongs to the last owner
I4  no more starts than max_attempts, interruptions not counted
I5  nothing is left: no claims, no workers' rows but those of workers that could not leave, no sessions in
    a transaction, no connections, no processes

Facts come from three sources that know nothing of each other: the ledger (what the jobs did), the history
(what the database saw), and the tables.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from tests.faults.harness.history import Claim
from tests.faults.harness.ledger import Event

GRAIN = 0.0011  # seconds; SQLite's clock counts milliseconds, and what a job takes may be less


@dataclass(kw_only=True)
class Facts:
    """What is known about one scenario once its workers have stopped."""

    enqueued: list[str]
    done: dict[str, tuple[str, int]]  # job -> (worker, attempts) of its row
    cancelled: set[str]
    dead: dict[str, str]  # job -> reason
    unfinished: dict[str, str]  # job -> status, of rows that are neither done nor cancelled
    claims: dict[str, list[Claim]]
    events: list[Event]
    max_attempts: dict[str, int]
    unable: set[str]  # ids of workers that were killed, frozen or cut off
    outages: list[tuple[float, float]]  # when no worker could beat; padded with dead_after
    workers_left: set[str]  # ids of rows in the workers table
    sessions: list[str]  # of the program under test, in the database
    processes: list[int]  # that are still there
    expected_dead: set[str] | None = None  # None = any
    gone: set[str] = field(default_factory=set)  # jobs whose row was deleted or edited on purpose


def check(facts: Facts) -> None:
    """Raise one AssertionError that names all violations; long lists are cut."""
    problems = [
        *_all_ended(facts),
        *_runs_within_claims(facts),
        *_one_outcome(facts),
        *_bounded_starts(facts),
        *_nothing_left(facts),
    ]
    shown = "\n".join(problems[:20])
    more = f"\n... and {len(problems) - 20} more" if len(problems) > 20 else ""
    assert not problems, f"{len(problems)} violations:\n{shown}{more}"


def _all_ended(facts: Facts) -> Iterable[str]:
    for job in facts.enqueued:
        places = (job in facts.done) + (job in facts.cancelled) + (job in facts.dead)
        if job in facts.gone:
            continue
        if job in facts.unfinished:
            yield f"I1: job {job} has not ended: {facts.unfinished[job]}"
        elif places != 1:
            yield f"I1: job {job} is in {places} tables"
    if facts.expected_dead is not None and set(facts.dead) != facts.expected_dead:
        wrong = set(facts.dead) ^ facts.expected_dead
        yield f"I1: {len(wrong)} jobs ended otherwise than they should: {sorted(wrong)[:5]} {facts.dead}"


def _runs_within_claims(facts: Facts) -> Iterable[str]:
    begun = Counter(
        (event.job, event.worker, event.attempt) for event in facts.events if event.what == "started"
    )
    for (job, worker, attempt), runs in begun.items():
        claims = [c for c in facts.claims.get(job, []) if (c.worker, c.attempt) == (worker, attempt)]
        if runs > len(claims):
            yield f"I2: job {job} ran {runs} times as {attempt} of {worker}, claimed {len(claims)} times"
    for event in facts.events:
        if event.what != "started" or event.worker in facts.unable:
            continue
        claims = [
            c
            for c in facts.claims.get(event.job, [])
            if (c.worker, c.attempt) == (event.worker, event.attempt)
        ]
        if not any(
            c.begun <= event.at + GRAIN and (c.ended is None or event.at <= c.ended + GRAIN) for c in claims
        ):
            yield f"I2: job {event.job} was started outside of its claim: {event} {claims}"
    for job, claims in facts.claims.items():
        for claim in claims:
            if claim.how == "rescue" and not _justified(claim, facts):
                yield f"I2: job {job} was taken from {claim.worker}, which was able to work: {claims}"


def _justified(claim: Claim, facts: Facts) -> bool:
    ended = claim.ended or 0.0
    return claim.worker in facts.unable or any(since <= ended <= until for since, until in facts.outages)


def _one_outcome(facts: Facts) -> Iterable[str]:
    finished = {(e.job, e.worker, e.attempt) for e in facts.events if e.what == "finished"}
    known = {event.job for event in facts.events}
    enqueued = set(facts.enqueued)
    for job, claims in facts.claims.items():
        outcomes = [claim for claim in claims if claim.how in ("done", "deleted")]
        expected = 0 if job in facts.cancelled else 1
        if len(outcomes) != expected and job in enqueued - facts.gone:
            yield f"I3: job {job} has {len(outcomes)} recorded outcomes: {claims}"
        elif outcomes and outcomes[0] is not claims[-1]:
            yield f"I3: job {job} was claimed after its outcome: {claims}"
        if job in facts.done and claims and facts.done[job] != (claims[-1].worker, claims[-1].attempt):
            yield f"I3: the outcome of job {job} belongs to {facts.done[job]}, not the last owner: {claims}"
        if job in facts.done and job in known and (job, *facts.done[job]) not in finished:
            yield f"I3: job {job} is done, but the run that is recorded never finished: {claims}"


def _bounded_starts(facts: Facts) -> Iterable[str]:
    for job, claims in facts.claims.items():
        counted = sum(claim.how != "interrupt" for claim in claims)
        if counted > facts.max_attempts.get(job, counted) and job not in facts.gone:
            yield f"I4: job {job} was started {counted} times, allowed are {facts.max_attempts[job]}"


def _nothing_left(facts: Facts) -> Iterable[str]:
    for job, status in facts.unfinished.items():
        if status == "processing":
            yield f"I5: job {job} is still claimed"
    for worker in facts.workers_left - facts.unable:
        yield f"I5: worker {worker} left without a word"
    for session in facts.sessions:
        yield f"I5: a session is left: {session}"
    for pid in facts.processes:
        yield f"I5: process {pid} is left"
