"""``manage.py demo``: the whole shop once, from an empty database to a summary."""

import csv
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from django.conf import settings
from django.contrib.auth import get_user_model
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError
from django.db import DatabaseError, connection
from django.utils import timezone

from shop.actor import acting_as
from shop.jobs import OrderRow, import_order, resize_picture
from shop.models import Product
from shop.orders import cancel_order, place_order
from shop.summary import Summary, manage, stats
from shop.tasks import publish_price_list
from soniq_django import soniq

DATA = Path(__file__).parents[2] / "data"
CUSTOMERS = ("Alice", "Bruno", "Chloe", "Dmitri", "Elif", "Femi")
PATIENCE = 10.0  # seconds to wait for jobs that another worker has claimed


class Command(BaseCommand):
    help = (
        "Set the shop up, enqueue jobs of every kind, work through them, and say what is there "
        "afterwards. Doing it again does no harm."
    )

    def handle(self, *_args: Any, **_options: Any) -> None:
        self._prepare()
        summary = Summary.begin()
        with acting_as("demo"):  # whoever caused these jobs: the admin shows it, and orders keep it
            price_list = self._enqueue()
        self._work()
        self.stdout.write(summary.told(price_list))

    def _prepare(self) -> None:
        where = f"{connection.display_name}, {connection.settings_dict['NAME']}"
        self.stdout.write(f"Database: {where}")
        try:
            for alias in settings.DATABASES:
                call_command("migrate", database=alias, verbosity=0)
        except DatabaseError as error:
            reason = " ".join(str(error).split())
            raise CommandError(f"cannot set up the database ({where}): {reason}") from None
        users = get_user_model()
        if users.objects.filter(username="admin").exists():
            self.stdout.write("Admin user: admin, which was there before and is left as it is")
        else:
            users.objects.create_superuser("admin", "admin@example.com", "admin")
            self.stdout.write("Admin user: created admin with the password admin")
        for row in rows("products.csv"):
            Product.objects.update_or_create(
                sku=row.pop("sku"),
                defaults={**row, "from_supplier": row["from_supplier"] == "yes"},
            )

    def _enqueue(self) -> Any:
        """Jobs of every kind; the result of the task among them, to be asked for later."""
        products = list(Product.objects.all())
        pictures = resize_picture.enqueue_many([{"product_id": product.pk} for product in products])
        imports = import_order.enqueue_many([{"row": OrderRow(**row)} for row in rows("orders.csv")])
        orders = [
            place_order(product, customer=customer, email=f"{customer.lower()}@example.com")
            for customer, product in zip(CUSTOMERS, products, strict=False)
        ]
        withdrawn = cancel_order(orders[-1])
        price_list = publish_price_list.enqueue(
            [product.sku for product in products], valid_from=timezone.localdate()
        )
        self.stdout.write(
            f"Enqueued: {len(pictures)} pictures to resize, {len(imports)} rows of orders.csv to import, "
            f"a price list to publish,\n  and what follows {len(orders)} orders: receipts, loyalty points, "
            f"questions for a review; one order is cancelled, with {withdrawn} jobs"
        )
        return price_list

    def _work(self) -> None:
        """Run workers until nothing is due. A drain attempts a job once, so retries take another one."""
        names = tuple(soniq.registry)
        deadline = time.monotonic() + PATIENCE
        while True:
            due = soniq.backend.count_due(names=names)
            if due:
                self.stdout.write(f"\n$ {manage('soniq_worker --run-once')}    # due: {due}")
                self._run_worker()
                deadline = time.monotonic() + PATIENCE
            elif not stats()["processing"] or time.monotonic() > deadline:
                return
            else:
                time.sleep(0.1)

    def _run_worker(self) -> None:
        self.stdout.flush()
        command = [sys.executable, str(settings.BASE_DIR / "manage.py"), "soniq_worker", "--run-once"]
        # What succeeds is in the summary; on the way only retries and dead letters are worth a line.
        environment = {"SHOP_LOG_LEVEL": "WARNING", **os.environ}
        with subprocess.Popen(command, env=environment) as worker:  # noqa: S603  # our own command
            try:
                code = worker.wait()
            except KeyboardInterrupt:
                worker.wait()  # Ctrl-C reached it, too; it finishes what it runs
                raise CommandError(f"stopped; what is left stays queued: {manage('soniq_worker')}") from None
        if code:
            raise CommandError(f"the worker ended with exit code {code}; its last lines say why")


def rows(name: str) -> Iterator[dict[str, str]]:
    with (DATA / name).open(encoding="utf-8", newline="") as file:
        yield from csv.DictReader(file)
