"""The figures, one module each, in the order of the report."""

from benchmarks.figures import (
    backlog,
    concurrent,
    drain,
    enqueue,
    idle,
    latency,
    memory,
    orm,
    slow_disk,
    snapshot,
)
from benchmarks.figures.base import QUICK, Figure, Scale

FIGURES: dict[str, Figure] = {
    module.FIGURE.name: module.FIGURE
    for module in (enqueue, concurrent, drain, orm, latency, backlog, snapshot, slow_disk, idle, memory)
}

__all__ = ["FIGURES", "QUICK", "Figure", "Scale"]
