"""Real workers: ``manage.py soniq_worker`` in processes of their own."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.faults.harness.ledger import VARIABLE
from tests.faults.harness.waiting import PATIENCE, until
from tests.support.docs import ROOT


def environment_of(database: dict[str, Any], soniq: dict[str, Any]) -> dict[str, str]:
    """In which a program finds the scenario's project."""
    return {
        **os.environ,
        "DJANGO_SETTINGS_MODULE": "tests.faults.settings",
        "FAULTS_SETTINGS": json.dumps({"database": database, "soniq": soniq}),
        "PYTHONPATH": str(ROOT),
    }


def probe_is_content(database: dict[str, Any], soniq: dict[str, Any]) -> bool:
    """What ``manage.py soniq_health`` says."""
    command = [sys.executable, "-m", "django", "soniq_health"]
    environment = environment_of(database, soniq)
    return subprocess.run(command, env=environment, capture_output=True, check=False).returncode == 0


class WorkerProcess:
    """One worker process, from its start to its end.

    It ends with the test run as well, however that ends: its standard input closes, and it takes that for
    the end of its supervisor.

    :param supervisor: it is one itself, so ``within`` has to see to its end
    """

    def __init__(
        self,
        log: Path,
        *,
        database: dict[str, Any],
        soniq: dict[str, Any],
        ledger: Path,
        arguments: tuple[str, ...] = (),
        environment: dict[str, str] | None = None,
        within: tuple[str, ...] = (),
        supervisor: bool = False,
    ) -> None:
        self.log_path = log
        self.unable = False  # whether the scenario killed, froze or cut off this worker
        with log.open("wb") as output:
            self.process = subprocess.Popen(
                [*within, sys.executable, "-W", "error", "-m", "django", "soniq_worker", *arguments],
                env={
                    **environment_of(database, soniq),
                    **({} if supervisor else {"SONIQ_SUPERVISED": "1"}),
                    "PYTHONFAULTHANDLER": "1",
                    VARIABLE: str(ledger),
                    **(environment or {}),
                },
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        self.pid = self.process.pid

    # -- what it says

    @property
    def log(self) -> str:
        """All it has said so far."""
        return self.log_path.read_text(errors="replace")

    @property
    def id(self) -> str:
        """Its worker id."""
        found = re.search(r"^soniq worker (\S+)$", self.log, re.MULTILINE)
        assert found, f"it has not introduced itself: {self.log}"
        return found[1]

    @property
    def ids(self) -> set[str]:
        """All worker ids that it had: one that is taken for dead goes on under a new one.

        Those of all processes that it has started, if it is a supervisor.
        """
        found = re.findall(r"^soniq worker (\S+)$|it goes on as (\S+)$", self.log, re.MULTILINE)
        return {first or later for first, later in found}

    @property
    def introduced(self) -> bool:
        """Whether it has got as far as to say who it is."""
        return "Stop it with Ctrl-C." in self.log

    def wait_for_log(self, pattern: str, timeout: float = PATIENCE, times: int = 1) -> None:
        """Wait until it has said so, so many times."""
        until(
            lambda: len(re.findall(pattern, self.log)) >= times,
            lambda: f"worker {self.pid} saying {pattern!r}; it said:\n{self.log[-6000:]}",
            timeout,
        )

    # -- what is done to it

    @property
    def alive(self) -> bool:
        """Whether the process is there."""
        return self.process.poll() is None

    def signal(self, number: int) -> None:
        """Send a signal that a worker is meant to handle."""
        self.process.send_signal(number)

    def kill(self) -> None:
        """SIGKILL, and wait until it is gone."""
        self.unable = True
        self.process.kill()
        self.process.wait(PATIENCE)

    def freeze(self) -> None:
        """SIGSTOP."""
        self.unable = True
        self.process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """SIGCONT."""
        self.process.send_signal(signal.SIGCONT)

    def stop(self, timeout: float = PATIENCE, *, loading: bool = False) -> float:
        """SIGTERM, and wait for its end, which has to be a good one; how many seconds that took.

        :param loading: it may not have got as far as to handle signals, and then ends as any program does
        """
        begun = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        code = self.wait(timeout)
        good = (0, -signal.SIGTERM) if loading else (0,)
        assert code in good, f"worker {self.pid} ended with {code}:\n{self.log[-6000:]}"
        return time.monotonic() - begun

    def wait(self, timeout: float = PATIENCE) -> int:
        """Wait for its end; its exit code."""
        self.wait_until(lambda: not self.alive, timeout)
        return self.process.returncode

    def wait_until(self, condition: Callable[[], bool], timeout: float = PATIENCE) -> None:
        """Wait for its end, or whatever else will do. One that hangs says where."""
        until(condition, self._hung, timeout)

    def _hung(self) -> str:
        said = self.log
        self.process.send_signal(signal.SIGABRT)  # to Python's faulthandler, which dumps all stacks
        self.process.wait(PATIENCE)
        return f"worker {self.pid} ending; it said:\n{said[-3000:]}\nand did:\n{self.log[len(said) :][:6000]}"

    def close(self) -> None:
        """Whatever state it is in: gone."""
        if self.alive:
            self.process.kill()
        self.process.wait(PATIENCE)
        assert self.process.stdin is not None
        self.process.stdin.close()
