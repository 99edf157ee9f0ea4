"""Several worker processes under one: started anew when one dies or is recycled, stopped together.

Each child is a program of its own (``exec``, not a bare ``fork``), so nothing is shared: no connection,
no lock, no thread. A child whose supervisor is gone notices, as its standard input ends, and stops.
"""

from __future__ import annotations

import os
import queue
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

from soniq.steady import get_logger

logger = get_logger("soniq.supervisor")

SUPERVISED = "SONIQ_SUPERVISED"  # set in the environment of a child
PATIENCE = "SONIQ_PATIENCE"  # ... seconds that its jobs have once the supervisor is gone; unset = as ever
LONGEST_BACKOFF = 15.0
HEALTHY_AFTER = 10.0  # seconds that a child must have lived to be started anew without a pause
STOPPED_BY = (signal.SIGTERM, signal.SIGINT)
KILL_AFTER = 5.0  # seconds beyond the shutdown timeout
RELOAD_PATIENCE = 2.0  # seconds that running jobs have to finish before their worker is replaced


@dataclass(slots=True)
class _Child:
    """One place for a worker process, and the process that fills it at present."""

    number: int
    process: subprocess.Popen[bytes] | None = None
    started: float = 0.0
    backoff: float = 0.5
    due: float = field(default=0.0)  # when to start it (again)
    hurry_at: float = float("inf")  # when to tell it, while it is replaced, that its time is up
    reloading: bool = False  # whether it was told to make room for a successor
    hurried: bool = False  # ... and then, that its time is up


class _Reload:
    """An event: replace all children."""


class Supervisor:
    """Keeps ``count`` processes of one command running.

    :param command: the program and its arguments
    :param environment: added to that of this process
    :param restart: start a child anew when it ends; without it, a child that ends has done its work
    :param shutdown_timeout: seconds that children need to stop; a few more and they are killed
    """

    def __init__(
        self,
        command: Sequence[str],
        count: int,
        *,
        environment: Mapping[str, str],
        restart: bool,
        shutdown_timeout: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._command = list(command)
        self._children = [_Child(number) for number in range(1, count + 1)]
        self._environment = environment
        self._restart = restart
        self._shutdown_timeout = shutdown_timeout
        self._clock = clock
        self._events: queue.SimpleQueue[_Child | _Reload | int] = queue.SimpleQueue()
        self._stopping = False
        self._kill_at = float("inf")

    def run(self) -> int:
        """Run until SIGTERM or SIGINT, or until all children have done their work.

        :returns: 0, or the exit code of a child that failed at its end
        """
        status = 0
        with self._signals():
            while True:
                self._start_due()
                if not any(child.process or child.due < float("inf") for child in self._children):
                    return status
                event = self._next_event()
                if isinstance(event, _Child):
                    status = self._ended(event) or status
                elif isinstance(event, _Reload):
                    self._replace_all()
                elif event is not None:
                    self._stop()

    def reload(self) -> None:
        """Replace all children, for instance because their code has changed. Any thread may call this.

        Jobs that do not finish within :data:`RELOAD_PATIENCE` are given back. Children that wait to be
        started anew, because they died, are started at once.
        """
        self._events.put(_Reload())

    def _start_due(self) -> None:
        if self._stopping:
            return
        now = self._clock()
        for child in self._children:
            if child.process is None and child.due <= now:
                child.started = now
                child.process = subprocess.Popen(  # noqa: S603  # our own command line
                    self._command,
                    stdin=subprocess.PIPE,
                    env={**os.environ, **self._environment, SUPERVISED: str(child.number)},
                    start_new_session=True,  # Ctrl-C reaches the children through us, once
                )
                threading.Thread(target=self._wait_for, args=(child, child.process), daemon=True).start()
                logger.info("started worker process %d of %d", child.number, len(self._children))

    def _wait_for(self, child: _Child, process: subprocess.Popen[bytes]) -> None:
        process.wait()
        self._events.put(child)

    def _next_event(self) -> _Child | _Reload | int | None:
        """A child that ended, or a signal; None when it is time to look at the clock."""
        now = self._clock()
        waits = [child.due - now for child in self._children if child.process is None]
        waits += [child.hurry_at - now for child in self._children]
        waits.append(self._kill_at - now)
        timeout = max(0.0, min(waits))
        try:
            return self._events.get(timeout=None if timeout == float("inf") else timeout)
        except queue.Empty:
            if self._clock() >= self._kill_at:
                self._kill()
            self._hurry()
            return None

    def _ended(self, child: _Child) -> int:
        """Decide about a child that ended; its exit code, if that is final and not 0."""
        process, child.process = child.process, None
        assert process is not None  # noqa: S101  # it is the one whose end is reported
        if process.stdin is not None:
            process.stdin.close()
        code = process.returncode
        reloaded, child.reloading, child.hurried = child.reloading, False, False
        child.hurry_at = float("inf")
        if (self._stopping or reloaded) and -code == signal.SIGTERM:
            code = 0  # our signal met it before it listened to signals, so before it claimed anything
        if self._stopping or not self._restart:
            child.due = float("inf")
            return code if code >= 0 else 128 - code
        if reloaded or self._clock() - child.started >= HEALTHY_AFTER or code == 0:
            child.backoff = 0.5
            child.due = self._clock()
        else:
            child.due = self._clock() + child.backoff
            child.backoff = min(child.backoff * 2, LONGEST_BACKOFF)
        if code == 0:  # it was recycled
            logger.info("worker process %d has left; starting its successor", child.number)
        else:
            logger.warning(
                "worker process %d ended with %s; starting it anew in %.1f s",
                child.number,
                f"signal {-code}" if code < 0 else f"code {code}",
                max(0.0, child.due - self._clock()),
            )
        return 0

    def _replace_all(self) -> None:
        """Tell all children to make room for their successors, which :meth:`_ended` starts."""
        if self._stopping:
            return
        now = self._clock()
        for child in self._children:
            child.backoff = 0.5
            if child.process is None:
                child.due = now
            elif not child.reloading:
                child.reloading = True
                child.hurry_at = now + RELOAD_PATIENCE
                child.process.send_signal(signal.SIGTERM)

    def _hurry(self) -> None:
        """Tell children that are to be replaced to give back what still runs; at last, kill them."""
        now = self._clock()
        for child in self._children:
            if child.process is None or child.hurry_at > now:
                continue
            if child.hurried:
                child.process.kill()
                child.hurry_at = float("inf")
            else:
                child.process.send_signal(signal.SIGTERM)
                child.hurried, child.hurry_at = True, now + KILL_AFTER

    def _stop(self) -> None:
        """Tell the children; the first signal also starts the time that they have.

        By SIGTERM, whichever came. Python makes of a SIGINT an exception, and while a program is being loaded
        its imports may swallow that; the child would go on, and have to be killed.
        """
        if not self._stopping:
            self._stopping = True
            self._kill_at = self._clock() + self._shutdown_timeout + KILL_AFTER
        for child in self._children:
            if child.process is None:
                child.due = float("inf")
            else:
                child.process.send_signal(signal.SIGTERM)

    def _kill(self) -> None:
        self._kill_at = float("inf")
        for child in self._children:
            if child.process is not None:
                logger.warning("worker process %d did not stop in time; killed", child.number)
                child.process.kill()

    @contextmanager
    def _signals(self) -> Iterator[None]:
        """SIGTERM and SIGINT become events of the loop."""
        previous = {number: signal.getsignal(number) for number in STOPPED_BY}
        for number in STOPPED_BY:
            signal.signal(number, lambda received, _frame: self._events.put(received))
        try:
            yield
        finally:
            for number, handler in previous.items():
                signal.signal(number, handler)


def stop_with_supervisor(stop: Callable[[], object], environment: Mapping[str, str] = os.environ) -> None:
    """In a supervised child: call ``stop`` when the supervisor is gone. Elsewhere: nothing.

    With :data:`PATIENCE` in the environment, ``stop`` is called again after so many seconds.
    """
    if SUPERVISED not in environment:
        return

    def watch() -> None:
        # Not sys.stdin: a thread inside its lock would keep the interpreter from ending.
        while os.read(0, 1024):
            pass
        stop()
        if PATIENCE in environment:
            time.sleep(float(environment[PATIENCE]))
            with suppress(RuntimeError):  # it has stopped already
                stop()

    threading.Thread(target=watch, name="soniq-supervised", daemon=True).start()
