"""A progress bar for work that ends; only on a terminal."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from types import TracebackType
from typing import Any, Self

from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from soniq.execution import Outcome


class Progress:
    """Counts outcomes. In a pipe, or when not ``shown``, it is silent."""

    def __init__(self, *, shown: bool) -> None:
        self._shown = shown and sys.stderr.isatty()
        self._bar: tqdm[Any] | None = None
        self._stack = ExitStack()
        self._dead = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Leave the bar as it is; what is written from now on stands below it."""
        self._stack.close()

    def expect(self, total: Callable[[], int]) -> None:
        """Show the bar, for so many jobs as ``total`` says; jobs that they enqueue are added."""
        if self._shown:
            bar: tqdm[Any] = tqdm(total=total(), unit="job", dynamic_ncols=True)
            self._stack.callback(bar.close)
            self._bar = bar
            self._stack.enter_context(logging_redirect_tqdm([logging.getLogger("soniq")]))

    def count(self, outcome: Outcome) -> None:
        """One more job was attempted."""
        bar = self._bar
        if bar is None:
            return
        if bar.total is not None and bar.n >= bar.total:
            bar.total = bar.n + 1
        bar.update()
        if outcome.change.verb == "bury":
            self._dead += 1
            bar.set_postfix(dead=self._dead)


@contextmanager
def progress_bar(*, unit: str, total: int | None = None, shown: bool = True) -> Iterator[tqdm[Any]]:
    """A bar that is gone when the block ends. In a pipe, or when not ``shown``, it is silent."""
    hidden = not (shown and sys.stderr.isatty())
    bar: tqdm[Any] = tqdm(total=total, unit=unit, dynamic_ncols=True, leave=False, disable=hidden)
    try:
        yield bar
    finally:
        bar.close()
