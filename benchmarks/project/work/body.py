"""What every job does, whoever runs it. ``n`` is its number."""

from benchmarks import tally
from benchmarks.project.work.models import ITEMS, Effect, Item


def noop(n: int) -> None:
    """Nothing, but that it ran."""
    tally.count(n)


async def noop_async(n: int) -> None:
    """Nothing, but that it ran."""
    tally.count(n)


def stamp(n: int) -> None:
    """Say when it ran."""
    tally.stamp(n)


async def stamp_async(n: int) -> None:
    """Say when it ran."""
    tally.stamp(n)


def orm(n: int) -> None:
    """Read one row, write one row."""
    tally.count(n)
    item = Item.objects.get(pk=n % ITEMS + 1)
    Effect.objects.create(number=n, name=item.name)


async def orm_async(n: int) -> None:
    """Read one row, write one row."""
    tally.count(n)
    item = await Item.objects.aget(pk=n % ITEMS + 1)
    await Effect.objects.acreate(number=n, name=item.name)


JOBS = {job.__name__: job for job in (noop, noop_async, stamp, stamp_async, orm, orm_async)}
