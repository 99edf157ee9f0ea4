"""What jobs leave behind: one byte per job in a file that the jobs' processes map into memory.

The same for every peer, and cheap enough (about 0.2 µs per job) to stay on: it says when the first job
ran, how many ran, and which ran twice, without asking the database under test.
"""

import mmap
import os
import struct
import threading
import time
from pathlib import Path

DIRECTORY = "SONIQ_BENCH_TALLY"
SIZE = "SONIQ_BENCH_TALLY_SIZE"
FULL = 255  # what a byte can hold
HEADER = 8  # when the process ran its first job, as a double


class _Page:
    """The calling process's own file."""

    def __init__(self, kind: str, width: int) -> None:
        path = Path(os.environ[DIRECTORY], f"{os.getpid()}.{kind}")
        with path.open("w+b") as file:
            file.truncate(HEADER + int(os.environ[SIZE]) * width)
            self.bytes = mmap.mmap(file.fileno(), 0)
        struct.pack_into("d", self.bytes, 0, time.time())


_pages: dict[str, _Page] = {}
_lock = threading.Lock()  # a second thread that opened the file anew would pull it from under the first


def _page(kind: str, width: int) -> mmap.mmap:
    with _lock:
        if kind not in _pages:
            _pages[kind] = _Page(kind, width)
        return _pages[kind].bytes


def count(number: int) -> None:
    """Job ``number`` ran."""
    known = _pages.get("runs")
    page = known.bytes if known else _page("runs", 1)
    if page[HEADER + number] < FULL:
        page[HEADER + number] += 1


def stamp(number: int) -> None:
    """Job ``number`` runs now."""
    now = time.time()
    struct.pack_into("d", _page("stamps", 8), HEADER + 8 * number, now)
    count(number)


def _forget() -> None:
    global _lock  # noqa: PLW0603  # the parent's may be held by a thread that the child does not have
    _lock = threading.Lock()
    _pages.clear()


os.register_at_fork(after_in_child=_forget)


class Tally:
    """The reader: what all processes together left in ``directory`` about jobs ``0 … size - 1``."""

    def __init__(self, directory: Path, size: int) -> None:
        self.directory = directory
        self.size = size
        directory.mkdir(parents=True, exist_ok=True)

    @property
    def environment(self) -> dict[str, str]:
        """For the processes that run the jobs."""
        return {DIRECTORY: str(self.directory), SIZE: str(self.size)}

    def ran(self) -> int:
        """How many jobs ran, roughly while workers run: a job that two processes ran counts twice."""
        return sum(self.size - page.count(0) for page in self._pages("runs"))

    def started(self, nth: int = 1) -> float | None:
        """When the ``nth`` process to do so ran its first job."""
        firsts = [struct.unpack_from("d", path.read_bytes()[:HEADER])[0] for path in self._files("runs")]
        return sorted(firsts)[nth - 1] if len(firsts) >= nth else None

    def repeated(self) -> int:
        """How many runs were one too many."""
        pages = self._pages("runs")
        if len(pages) == 1:
            extra = len(pages[0]) - pages[0].count(0) - pages[0].count(1)
            return extra and sum(n - 1 for n in pages[0] if n > 1)
        return sum(n - 1 for n in map(sum, zip(*pages, strict=True)) if n > 1)

    def stamped(self, number: int) -> float | None:
        """When job ``number`` ran; None if it has not."""
        for path in self._files("stamps"):
            with path.open("rb") as file:
                file.seek(HEADER + 8 * number)
                (when,) = struct.unpack("d", file.read(8))
            if when:
                return when
        return None

    def _files(self, kind: str) -> list[Path]:
        full = HEADER + self.size * (8 if kind == "stamps" else 1)
        return [path for path in self.directory.glob(f"*.{kind}") if path.stat().st_size == full]

    def _pages(self, kind: str) -> list[bytes]:
        return [path.read_bytes()[HEADER:] for path in self._files(kind)]
