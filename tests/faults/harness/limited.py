"""Starts a program that may take so much address space and no more, and ends with whoever started it.

``python limited.py MEGABYTES PROGRAM ARGUMENT ...``; Linux only. Run by its path, so that the program's own
start is all that it costs.
"""

import ctypes
import os
import resource
import signal
import sys
from pathlib import Path

PR_SET_PDEATHSIG = 1


def missing_reason() -> str:
    """Why a program cannot be limited here; empty if it can."""
    return "" if sys.platform == "linux" else f"no limit of the address space on {sys.platform}"


def limited(megabytes: int) -> tuple[str, ...]:
    """What to start a command with."""
    return (sys.executable, str(Path(__file__)), str(megabytes))


if __name__ == "__main__":
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    most = int(sys.argv[1]) << 20
    resource.setrlimit(resource.RLIMIT_AS, (most, most))
    os.execv(sys.argv[2], sys.argv[2:])  # the program has its whole path
