"""A slot: room for one job at a time, with a thread of its own for the job's sync code.

The thread starts with the first call and is a daemon: a thread cannot be stopped, so one that a job
never gives back is abandoned, and neither the slot nor the end of the process waits for it.
"""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Callable
from concurrent.futures import Executor, Future
from typing import Any, TypeVar

from soniq.answers import Answers
from soniq.environment import Surroundings

T = TypeVar("T")


class SlotThread(Executor):
    """One daemon thread that runs one call at a time.

    :param name: of the thread, for people
    :param at_exit: called on the thread before it ends
    :param answers: brings what :meth:`answer` gives to the event loop; threads may share it
    """

    def __init__(self, name: str, at_exit: Callable[[], None], answers: Answers | None = None) -> None:
        self._name = name
        self._at_exit = at_exit
        self._answers = answers or Answers()
        self._calls: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._pending = 0
        self._lock = threading.Lock()

    @property
    def busy(self) -> bool:
        """Whether a call was submitted that did not end yet."""
        return self._pending > 0

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        """Run ``fn`` on the thread, after what was submitted before."""
        future: Future[T] = Future()

        def call() -> None:
            if not future.set_running_or_notify_cancel():
                self._ended()
                return
            try:
                result = fn(*args, **kwargs)
            except BaseException as error:  # noqa: BLE001  # it belongs to the caller
                self._ended()
                future.set_exception(error)
            else:
                self._ended()
                future.set_result(result)

        self._add(call)
        return future

    def answer(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> asyncio.Future[T]:
        """:meth:`submit`, called in the event loop: a future of the loop, which costs a third as much."""
        answers = self._answers
        future = answers.future()

        def call() -> None:
            if future.cancelled():
                self._ended()
                return
            try:
                result = fn(*args, **kwargs)
            except BaseException as error:  # noqa: BLE001  # it belongs to the caller
                self._ended()
                answers.put(future, error=error)
            else:
                self._ended()
                answers.put(future, result)

        self._add(call)
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """End the thread after its last call. Calls after this are never run."""
        thread = self._thread
        if thread is not None:
            self._calls.put(None)
            if wait and thread is not threading.current_thread():
                thread.join()

    def _add(self, call: Callable[[], None]) -> None:
        with self._lock:
            self._pending += 1
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
                self._thread.start()
        self._calls.put(call)

    def _ended(self) -> None:
        """Before the caller hears of it: to it the thread is idle again."""
        with self._lock:
            self._pending -= 1

    def _run(self) -> None:
        while (call := self._calls.get()) is not None:
            call()
        self._at_exit()


class GivenUp(BaseException):
    """Ends what is left of an attempt that was given up: nothing of it may run, be told or be recorded."""


class Slot:
    """Room for one job at a time. Its thread is replaced when a job does not give it back.

    A slot whose job cannot be ended at all is left to it, and a :meth:`successor` takes its place.
    """

    def __init__(
        self, number: int, at_thread_exit: Callable[[], None], answers: Answers | None = None
    ) -> None:
        self.number = number
        self._answers = answers
        self._at_thread_exit = at_thread_exit
        self.abandoned = 0
        self.interrupted = False  # whether the worker has cancelled the job in it
        self.stuck: Callable[[], None] | None = None  # called when the job in it outlasts its cancellation
        self.given_up = False  # whether it is left to the job in it
        self.started = 0.0  # when the present job began, by the clock of the execution
        self.decided: Any = None  # what the present job has come to, while hooks that hear of it are on
        self.thread = self._new_thread()
        self.surroundings: Surroundings | None = None  # of its async jobs; made for the first one

    def abandon_if_busy(self) -> bool:
        """Leave the thread to the call that it is stuck in. False: it was not busy."""
        if not self.thread.busy:
            return False
        self._leave()
        return True

    def _leave(self) -> None:
        self.thread.shutdown(wait=False)
        self.abandoned += 1
        self.thread = self._new_thread()
        self._leave_surroundings()

    def successor(self) -> Slot:
        """Leave this slot to the job in it, with the thread and its connections; the slot to use instead."""
        self.given_up = True
        self.stuck = None
        self._leave()
        return Slot(self.number, self._at_thread_exit, self._answers)

    def check(self) -> None:
        """Called by an attempt before it goes on.

        :raises GivenUp: nobody waits for it any more
        """
        if self.given_up:
            raise GivenUp

    def close(self) -> None:
        """End the thread; wait for it, as it has nothing left to do."""
        self._leave_surroundings()
        self.thread.shutdown(wait=not self.thread.busy)

    def _leave_surroundings(self) -> None:
        if self.surroundings is not None:
            self.surroundings.close()
            self.surroundings = None

    def _new_thread(self) -> SlotThread:
        return SlotThread(f"soniq-slot-{self.number}", self._at_thread_exit, self._answers)
