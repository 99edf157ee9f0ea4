"""Run one claimed job and decide what becomes of it.

Whatever a job raises or returns ends in a :class:`~soniq.transitions.Change`; nothing escapes.

===============  ====================================================================================
``attempt``      one job, ready to be called
``preparation``  from a claim to an attempt: the task is found, the arguments are read
``runner``       what both ways of running have in common: the start, the end, and who is told of them
``on_thread``    a sync job, from its start to its outcome on the thread of its slot
``in_loop``      any other job, in the event loop; its sync parts cross over to that thread (``crossing``)
``judgement``    what an attempt comes to, by what it returned or raised
``outcome``      what is handed on
===============  ====================================================================================
"""

from __future__ import annotations

from soniq.execution.in_loop import InLoop, Running
from soniq.execution.on_thread import OnThread
from soniq.execution.outcome import Outcome

__all__ = ["Execution", "Outcome", "Running"]


class Execution(OnThread, InLoop):
    """Runs attempts for one worker, on the threads of its slots or in its event loop."""
