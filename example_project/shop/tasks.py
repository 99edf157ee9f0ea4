"""A task of Django's Tasks API, which runs as a job: stored, retried and shown like those of shop/jobs.py."""

import asyncio
import csv
from datetime import date
from decimal import Decimal
from pathlib import Path

from django.conf import settings

from shop.models import Product
from shop.pictures import whole_file
from soniq_django.tasks import task


@task(
    queue_name="prices",
    max_retries=5,
    retry_backoff=True,
    retry_max_delay=600,
    unique=True,  # a second click changes nothing
)
async def publish_price_list(skus: list[str], valid_from: date) -> dict[str, str | int]:
    """Async, as any job may be. Its result can be looked up from any process, by the id of the enqueue."""
    prices = [
        (product.sku, product.name, product.price) async for product in Product.objects.filter(sku__in=skus)
    ]
    name = f"prices/{valid_from.isoformat()}.csv"
    await asyncio.to_thread(_write, Path(settings.MEDIA_ROOT) / name, prices)
    return {"file": name, "prices": len(prices)}


def _write(target: Path, prices: list[tuple[str, str, Decimal]]) -> None:
    with whole_file(target) as unfinished, unfinished.open("w", encoding="utf-8", newline="") as file:
        lines = csv.writer(file)
        lines.writerow(("sku", "name", "price"))
        lines.writerows(prices)
