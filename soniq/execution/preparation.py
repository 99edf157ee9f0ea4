"""From a claim to an attempt that can be made, or to what becomes of a job that cannot even be called."""

from __future__ import annotations

from soniq import transitions
from soniq.arguments import clean_text
from soniq.atomic import Atomically, Decided
from soniq.codec import Unloaded, load
from soniq.errors import ReferenceGone
from soniq.execution.attempt import Attempt, context_of
from soniq.failures import class_path, summarize
from soniq.jobs import Claim, DeadLetterReason
from soniq.registry import Registry
from soniq.settings import Settings


class Preparation:
    """Finds the code of jobs and reads their arguments.

    :param atomically: says whether atomic jobs can run
    """

    def __init__(self, registry: Registry, settings: Settings, atomically: Atomically) -> None:
        self._registry = registry
        self._settings = settings
        self._atomically = atomically

    def attempt(self, claim: Claim, started: float) -> Attempt | Decided:
        """The attempt, ready to be made; or what becomes of a job that cannot even be called."""
        task = self._registry.find(claim.job_name)
        if task is None:
            text = f"no job named {claim.job_name!r} is registered in this worker"
            return transitions.bury(claim, reason=DeadLetterReason.JOB_NOT_FOUND, error=text), text, None
        task = task.for_claim(claim)
        if task.options.atomic and (why := self._atomically.refusal) is not None:
            text = f"{task.name} is atomic=True: {why}"
            return transitions.bury(claim, reason=DeadLetterReason.PERMANENT_FAILURE, error=text), text, None
        attempt = Attempt(task, claim, started, task.options.timeout_seconds(self._settings))
        try:
            return self.fill(attempt) or attempt
        except Unloaded as error:
            attempt.references = error.references
            return attempt  # they are loaded where the job's sync code runs

    def fill(self, attempt: Attempt) -> Decided | None:
        """Give the attempt its arguments; or what becomes of a job that cannot be called with them.

        What it refers to is loaded on the calling thread. That the database is away is raised: the attempt
        failed, and the next one may go better.

        :raises Unloaded: references were found among the arguments
        """
        task, claim = attempt.task, attempt.claim
        loaded = load(attempt.references, task.types) if attempt.references else None
        try:
            attempt.positional, attempt.named = task.call_arguments(
                claim.args, lambda: context_of(claim), loaded
            )
        except Unloaded:
            raise
        except BaseException as error:  # noqa: BLE001  # a model's validators are user code
            return self._unfit(attempt, error)
        return None

    def _unfit(self, attempt: Attempt, error: BaseException) -> Decided:
        """What becomes of a job whose function cannot be called with what is stored."""
        task, claim = attempt.task, attempt.claim
        if isinstance(error, ReferenceGone) and task.options.missing == "discard":
            note = clean_text(f"discarded without being run: {error}")
            ttl = task.options.result_seconds(self._settings)
            return transitions.succeed(claim, result_json=None, ttl=ttl, error=note), note, None
        text = summarize(error)
        if error.__cause__ is not None:
            text = f"{text} ({summarize(error.__cause__)})"
        text = clean_text(text)
        reason = DeadLetterReason.INVALID_ARGUMENTS
        buried = transitions.bury(claim, reason=reason, error=text, error_class=class_path(error))
        return buried, text, None
