"""Child processes: started in a session of their own, watched, and ended with everything they started."""

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import psutil

LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None
ROOT = Path(__file__).resolve().parent.parent


def die_with_parent() -> None:
    """For ``preexec_fn``: where Linux can, end this process when ours is killed before it could do so."""
    if LIBC is not None:
        LIBC.prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


class Program:
    """A running command. Its output goes to ``log``."""

    def __init__(self, command: Sequence[str], log: Path, environment: Mapping[str, str]) -> None:
        self.command = " ".join(command)
        self._log = log
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                [sys.executable, *command],
                cwd=ROOT,
                env=os.environ | environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
                preexec_fn=die_with_parent,  # noqa: PLW1509  # it calls one C function, and no Python lock
            )

    @property
    def died(self) -> str | None:
        """How it ended on its own, with the last lines that it wrote; None while it runs."""
        code = self._process.poll()
        return None if code is None else f"`{self.command}` ended with {code}: {self.tail()}"

    def tail(self, lines: int = 3) -> str:
        """The last lines that it wrote."""
        return " | ".join(self._log.read_text(errors="replace").strip().splitlines()[-lines:])

    def stop(self, patience: float = 20) -> None:
        """SIGTERM, and SIGKILL to the whole session for what is still there after ``patience``."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(patience)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def rss(self) -> float:
        """Resident memory of the process and its children, in MiB."""
        return sum(self._each(lambda process: process.memory_info().rss)) / 2**20

    def cpu_seconds(self) -> float:
        """Processor time used so far, by the process and its children."""
        return sum(self._each(lambda process: sum(process.cpu_times()[:2])))

    def _each(self, measure):  # noqa: ANN001, ANN202  # a generator of numbers
        family = psutil.Process(self._process.pid)
        for process in [family, *family.children(recursive=True)]:
            with contextlib.suppress(psutil.NoSuchProcess):
                yield measure(process)


def run(command: Sequence[str], environment: Mapping[str, str], given: str | None = None) -> str:
    """Run a command to its end; return what it printed.

    :raises RuntimeError: it failed; with the last lines that it wrote
    """
    done = subprocess.run(
        [sys.executable, *command],
        cwd=ROOT,
        env=os.environ | environment,
        input=given,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        last = " | ".join((done.stderr or done.stdout).strip().splitlines()[-3:])
        raise RuntimeError(f"`{' '.join(command)}` ended with {done.returncode}: {last}")
    return done.stdout
