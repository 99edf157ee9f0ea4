"""What is there after the demo: everything here asks the database and the disk."""

import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from asgiref.sync import async_to_sync
from django.conf import settings
from django.db.models import Count, Q, Sum
from PIL import Image

from shop.models import LoyaltyAccount, Order, Product
from shop.pictures import THUMBNAIL_SIZE
from soniq import DeadLetter
from soniq_django import soniq

SHOWN_DEAD_LETTERS = 5  # kinds of them

LOOK_AROUND = """

Look around:
  {runserver}
    http://127.0.0.1:8000/admin/  jobs and dead letters
    http://127.0.0.1:8000/        the shop, to place an order; a worker runs beside the server
  {status}
    what waits, what runs, and what gave up
  {supplier}
    the supplier is up again; replay its dead letters, here or in the admin, and a worker delivers them
  {replay}"""


@dataclass(frozen=True)
class Summary:
    """Counts what has come since it began."""

    mails: int
    orders: int

    @classmethod
    def begin(cls) -> Self:
        return cls(mails=len(subjects()), orders=Order.objects.count())

    def told(self, price_list: Any) -> str:
        return "\n".join(
            ["\nRead back from the database and the disk:", *self._counts(price_list), *dead_letters()]
        ) + LOOK_AROUND.format(
            runserver=manage("runserver"),
            status=manage("soniq_status --watch"),
            supplier=manage("supplier"),
            replay=manage("soniq_dead_letter replay --job shop.jobs.notify_supplier"),
        )

    def _counts(self, price_list: Any) -> Iterator[str]:
        mails = subjects()
        alarms = sum(subject.startswith(settings.EMAIL_SUBJECT_PREFIX) for subject in mails)
        yield (
            f"  e-mails       {len(mails)} in {shown(settings.MAIL_DIR)} ({len(mails) - self.mails} new), "
            f"{alarms} of them to the managers about dead letters"
        )
        width, height = THUMBNAIL_SIZE
        yield (
            f"  pictures      {count_thumbnails()} of {Product.objects.count()} resized to at most "
            f"{width} x {height} in {shown(settings.MEDIA_ROOT)}"
        )
        yield f"  price list    {describe_result(price_list)}"
        orders = Order.objects.aggregate(
            all=Count("pk"),
            imported=Count("pk", filter=Q(imported=True)),
            cancelled=Count("pk", filter=Q(cancelled_at__isnull=False)),
        )
        yield (
            f"  orders        {orders['all']} ({orders['all'] - self.orders} new), "
            f"{orders['imported']} of them imported, {orders['cancelled']} cancelled"
        )
        points = LoyaltyAccount.objects.aggregate(booked=Sum("points"), accounts=Count("pk"))
        yield f"  loyalty       {points['booked'] or 0} points in {points['accounts']} accounts"
        jobs = stats()
        yield (
            f"  jobs          {jobs['done']} done, {jobs['processing']} processing, "
            f"{jobs['cancelled']} cancelled, {jobs['queued']} queued for later "
            "(asking for a review after a week)"
        )


def stats() -> dict[str, int]:
    return async_to_sync(soniq.get_queue_stats)()


def subjects() -> list[str]:
    """One of each message; two that are sent in the same second may share a file."""
    files = Path(settings.MAIL_DIR).glob("*.log")
    lines = (line for file in files for line in file.read_text(encoding="utf-8").splitlines())
    return [line.removeprefix("Subject: ") for line in lines if line.startswith("Subject: ")]


def count_thumbnails() -> int:
    return sum(is_small(Path(product.thumbnail.path)) for product in Product.objects.exclude(thumbnail=""))


def is_small(path: Path) -> bool:
    try:
        with Image.open(path) as picture:
            return all(is_ <= most for is_, most in zip(picture.size, THUMBNAIL_SIZE, strict=True))
    except OSError:
        return False


def describe_result(result: Any) -> str:
    """What a task of Django's Tasks came to; any process can ask, by its id."""
    result.refresh()
    if not result.is_finished or result.errors:
        return str(result.status)
    file = Path(settings.MEDIA_ROOT) / result.return_value["file"]
    return f"{result.status}: {result.return_value['prices']} prices in {shown(file)}"


def dead_letters() -> Iterator[str]:
    yield f"  dead letters  {stats()['dead_letter']}"
    alike = Counter(map(describe, async_to_sync(soniq.dead_letter.list_dead_letter_jobs)()))
    for description, number in alike.most_common(SHOWN_DEAD_LETTERS):
        yield f"    {number} x {description}"


def describe(letter: DeadLetter) -> str:
    attempts = "1 attempt" if letter.attempts == 1 else f"{letter.attempts} attempts"
    error = (letter.last_error or "").splitlines()[-1:] or [""]
    return f"{letter.job_name}, {letter.dead_letter_reason} after {attempts}: {error[0]}"


def manage(command: str) -> str:
    """A command line that works from where the demo was started."""
    return f"python {shown(settings.BASE_DIR / 'manage.py')} {command}"


def shown(path: Path) -> str:
    relative = os.path.relpath(path)
    return str(path) if relative.startswith("..") else relative
