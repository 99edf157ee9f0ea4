"""What takes long to make, and is the same for all scenarios of a run."""

import fcntl
import os
from collections.abc import Callable
from pathlib import Path


def made_once(name: str, make: Callable[[Path], None]) -> Path:
    """The run's directory of this name, as ``make`` made it in whichever process needed it first."""
    run = Path(os.environ["SONIQ_TEST_RUN"])
    directory = run / name
    with (run / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (directory / "made").exists():
            directory.mkdir(mode=0o755, exist_ok=True)
            make(directory)
            (directory / "made").touch()
    return directory
