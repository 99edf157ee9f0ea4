"""Tasks that begin at once."""

from __future__ import annotations

import asyncio
import sys

import pytest

from soniq.eager import eager_task


@pytest.mark.skipif(sys.version_info < (3, 12), reason="tasks begin at once from Python 3.12 on")
async def test_a_task_has_run_to_its_first_wait_on_return() -> None:
    """What comes before that, such as handing a call to a thread, waits for no other callback of the loop."""
    order = []

    async def steps() -> str:
        order.append("begun")
        await asyncio.sleep(0)
        return "ended"

    task = eager_task(steps())
    order.append("returned")

    assert await task == "ended"
    assert order == ["begun", "returned"]
