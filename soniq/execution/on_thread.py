"""A sync job, from its start to its outcome on the thread of its slot."""

from __future__ import annotations

from contextvars import copy_context

from soniq.atomic import Decided
from soniq.execution.attempt import Attempt
from soniq.execution.judgement import undecided
from soniq.execution.outcome import Outcome
from soniq.execution.runner import Runner
from soniq.hooks import call_hooks
from soniq.jobs import Claim


class OnThread(Runner):
    """Runs the jobs that nothing must be awaited for (:meth:`fits_thread`)."""

    def run_on_thread(self, claim: Claim) -> Outcome:
        """Run a sync job on the calling thread, hooks included. Its timeout is the caller's to watch.

        In a context of its own: a language or time zone that the job activates ends with it.
        """
        return copy_context().run(self._run_on_thread, claim)

    def _run_on_thread(self, claim: Claim) -> Outcome:
        started = self._clock()
        self._starts(claim)
        try:
            prepared = self._preparation.attempt(claim, started)
            decided = self._decide(prepared) if isinstance(prepared, Attempt) else prepared
        except BaseException as error:  # noqa: BLE001  # logged there
            decided = undecided(claim, error)
        return self._outcome(claim, decided, started)

    def _decide(self, attempt: Attempt) -> Decided:
        claim, hooks, judgement = attempt.claim, self._hooks, self._judgement
        about = (claim.job_name, claim.job_id)
        try:
            with self._environment.around_sync(), self._restored(attempt), self._audience.around(claim):
                if attempt.references and (unfit := self._preparation.fill(attempt)):
                    return unfit
                if self._audience.hears_starts:
                    self._audience.announce_start(claim)
                call_hooks(hooks.before, *about, claim.attempt)
                if attempt.task.options.atomic:
                    decided = self._atomically.run(lambda: judgement.succeeded(attempt, attempt.call()))
                    if decided[2] is not False:
                        call_hooks(hooks.after, *about, self._milliseconds(attempt))
                else:
                    value = attempt.call()
                    call_hooks(hooks.after, *about, self._milliseconds(attempt))
            if not attempt.task.options.atomic:
                decided = judgement.succeeded(attempt, value)
        except BaseException as error:  # noqa: BLE001  # SystemExit of a job must not stop the worker
            if hooks.error:
                with self._environment.around_sync(), self._restored(attempt, strict=False):
                    call_hooks(hooks.error, *about, error, claim.attempt)
            decided = judgement.failed(attempt, error)
            self._tell_on_thread(attempt, decided, error)
        else:
            self._tell_on_thread(attempt, decided)
        return decided

    def _tell_on_thread(self, attempt: Attempt, decided: Decided, error: BaseException | None = None) -> None:
        if attempt.task.observes and decided[2] is not False:
            with self._environment.around_sync():
                self._tell(attempt, decided, error)
