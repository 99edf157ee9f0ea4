"""What a process that is a worker and nothing else sets in its interpreter. Other programs are left alone."""

from __future__ import annotations

import gc
import sys

# Seconds for which a job's Python code goes on while another thread wants the interpreter. Each step of the
# thread that talks to the database would wait so long for its turn, and of the heart's.
PYTHONS_SWITCH_INTERVAL = 0.005
SWITCH_INTERVAL = 0.0005


def change_hands_often() -> None:
    """Let threads wait for the interpreter no longer than need be, unless the project has said how long."""
    if sys.getswitchinterval() == PYTHONS_SWITCH_INTERVAL:
        sys.setswitchinterval(SWITCH_INTERVAL)


def keep_what_is_loaded() -> None:
    """Call it when all code is loaded: the garbage collector never goes through all of that again.

    A full collection takes tens of milliseconds in a Django project, and meanwhile no thread goes on.
    """
    gc.collect()
    gc.freeze()
