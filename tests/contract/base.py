"""What all steps share: stores that are asked side by side, the model beside them, and the time."""

from __future__ import annotations

import json
import random
import time
import uuid
from collections.abc import Callable
from dataclasses import replace
from typing import Any, ClassVar, TypeVar

from hypothesis.stateful import RuleBasedStateMachine, invariant

from soniq.jobs import Claim, NewJob
from tests.contract.choices import FAR
from tests.contract.compared import check_claim, check_state, same
from tests.contract.model import Model, ModelClaim, ModelJob, Moment
from tests.contract.stores import Store

T = TypeVar("T")

# Steps are so far apart that stores which tell time in milliseconds tell them apart.
APART = 0.006


def uuid7_of(seed: str) -> str:
    """An id in the layout of UUIDv7, the same for each seed. MariaDB sorts other layouts in other ways."""
    bits = random.Random(seed).getrandbits(128)
    bits = bits & ~(0xF << 76) & ~(0b11 << 62) | 7 << 76 | 0b10 << 62
    return str(uuid.UUID(int=bits))


WORKERS = [uuid7_of(f"worker {n}") for n in range(3)]


class Steps(RuleBasedStateMachine):
    """The test's own state. Each step asks all stores, then the model, then compares."""

    stores: ClassVar[list[Store]]

    def __init__(self) -> None:
        super().__init__()
        for store in self.stores:
            store.empty()
        self.model = Model()
        self.start = float(int(time.time()))  # whole seconds: sums with it are exact
        self.passed = 0.0
        self.now = Moment(self.start, self.start)
        self.between: list[float] = []  # instants between the steps
        self.given: list[tuple[ModelClaim, dict[str, Claim]]] = []  # all claims ever, each as each store told
        self._made = 0

    @invariant()
    def stores_hold_what_the_model_holds(self) -> None:
        for store in self.stores:
            check_state(store, self.model)

    def ask(self, question: Callable[[Store], T]) -> dict[str, T]:
        """The answers by store; `self.now` is then when that was."""
        time.sleep(APART / 2)
        self.between.append(time.time() + self.passed)
        time.sleep(APART / 2)
        low = time.time() + self.passed
        answers = {store.name: question(store) for store in self.stores}
        self.now = Moment(low, time.time() + self.passed)
        return answers

    def agree(self, about: str, answers: dict[str, Any], expected: Any) -> None:
        for store in self.stores:
            same(store, about, answers[store.name], expected)

    def new_id(self) -> str:
        """An id that nothing has yet; ids do not sort by age, so that an order by them is seen."""
        self._made += 1
        return uuid7_of(f"job {self._made}")

    # -- jobs

    def plan(self, options: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Options of one batch, with ids, and so that the order in which they are claimed is known.

        What is due "now" has the time of its own statement, of which a store may make several.
        """
        taken: set[int] = set()
        planned = []
        for place, one in enumerate(options):
            kind, seconds = one["when"]
            if kind == "now" and one["priority"] in taken:
                kind, seconds = "delay", FAR
            if kind == "now":
                taken.add(one["priority"])
            if kind == "delay":
                seconds += place
            planned.append({**one, "id": self.new_id(), "when": (kind, seconds)})
        return planned

    def new_job(self, store: Store, planned: dict[str, Any]) -> NewJob:
        kind, seconds = planned["when"]
        return NewJob(
            id=planned["id"],
            job_name=planned["name"],
            args_json=json.dumps(planned["args"], ensure_ascii=False),
            queue=planned["queue"],
            priority=planned["priority"],
            max_attempts=planned["max_attempts"],
            scheduled_at=store.instant(self.start + seconds) if kind == "instant" else None,
            delay=seconds if kind == "delay" else 0.0,
            args_hash=planned["args_hash"],
            dedup_key=planned["dedup_key"],
            unique_key=planned["unique_key"],
            producer_id=planned["producer"],
            context_json=_encoded(planned["context"]),
        )

    def model_job(self, planned: dict[str, Any]) -> ModelJob:
        kind, seconds = planned["when"]
        at = self.start + seconds
        facts = {name: value for name, value in planned.items() if name != "when"}
        due = Moment(at, at) if kind == "instant" else self.now.plus(seconds)
        return ModelJob(**facts, due=due, created=self.now, updated=self.now)

    # -- claims

    def check_claims(self, answers: dict[str, list[Claim]], asked: dict[str, Any]) -> None:
        """What was claimed is what had to be; it is then claimed in the model."""
        not_of = asked["worker_id"] if asked["skip_own"] else None
        due = self.model.due(self.now, asked["queues"], asked["names"], not_of, asked["crashed"])
        expected = [job.id for job in due][: max(0, asked["limit"])]
        for store in self.stores:
            ids = [claim.job_id for claim in answers[store.name]]
            if store.long_lived and len(self.stores) == 1:
                # It may go on where its last claim ended, but gives no less than there is.
                assert {*ids} <= {job.id for job in due}, (store.name, ids, expected)
                same(store, "number of claims", len({*ids}), len(expected))
                expected = ids
            else:
                same(store, f"claims with {asked}", ids, expected)
        for place, job_id in enumerate(expected):
            claim = self.model.claim(self.model.jobs[job_id], asked["worker_id"], self.now)
            told = {store.name: answers[store.name][place] for store in self.stores}
            for store in self.stores:
                check_claim(store, told[store.name], claim)
            self.given.append((claim, told))


def _encoded(context: Any) -> str | None:
    return None if context is None else json.dumps(context, ensure_ascii=False)


def orphan_of(job: ModelJob) -> ModelClaim:
    """The claim under which a job runs."""
    return ModelClaim(replace(job), str(job.worker), job.attempts)
