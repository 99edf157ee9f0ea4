"""``manage.py demo``: the whole shop once, from an empty database to a summary."""

import csv
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from asgiref.sync import async_to_sync
from django.conf import settings
from django.contrib.auth import get_user_model
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError
from django.db import DatabaseError, connection
from PIL import Image

from shop.jobs import THUMBNAIL_SIZE, import_order, resize_picture
from shop.models import Order, Product
from shop.orders import place_order
from soniq import DeadLetter
from soniq_django import soniq

DATA = Path(__file__).parents[2] / "data"
CUSTOMERS = ("Alice", "Bruno", "Chloe", "Dmitri", "Elif", "Femi")
SHOWN_DEAD_LETTERS = 10
PATIENCE = 10.0  # seconds to wait for jobs that another worker has claimed


class Command(BaseCommand):
    help = (
        "Set the shop up, enqueue jobs of every kind, work through them, and say what is there "
        "afterwards. Doing it again does no harm."
    )

    def handle(self, *_args: Any, **_options: Any) -> None:
        self._prepare()
        before = (count_mails(), Order.objects.count())
        self._enqueue()
        self._work()
        self._report(*before)

    # -- what the demo does

    def _prepare(self) -> None:
        where = f"{connection.display_name}, {connection.settings_dict['NAME']}"
        self.stdout.write(f"Database: {where}")
        try:
            call_command("migrate", verbosity=0)
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

    def _enqueue(self) -> None:
        products = list(Product.objects.all())
        pictures = resize_picture.enqueue_many([{"product_id": product.pk} for product in products])
        imports = import_order.enqueue_many(list(rows("orders.csv")))
        for customer, product in zip(CUSTOMERS, products, strict=False):
            place_order(product, customer=customer, email=f"{customer.lower()}@example.com")
        self.stdout.write(
            f"Enqueued: {len(pictures)} pictures to resize, {len(imports)} rows of orders.csv to import, "
            f"{len(products)} orders placed with their receipts"
        )

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

    # -- what is there afterwards: everything below asks the database and the disk

    def _report(self, mails_before: int, orders_before: int) -> None:
        mails = count_mails()
        orders = Order.objects.count()
        imported = Order.objects.filter(imported=True).count()
        width, height = THUMBNAIL_SIZE
        jobs = stats()
        self.stdout.write(
            "\nRead back from the database and the disk:\n"
            f"  e-mails       {mails} in {shown(settings.MAIL_DIR)} ({mails - mails_before} new)\n"
            f"  pictures      {count_thumbnails()} of {Product.objects.count()} resized to at most "
            f"{width} x {height} in {shown(settings.MEDIA_ROOT)}\n"
            f"  orders        {orders} ({orders - orders_before} new), {imported} of them imported\n"
            f"  jobs          {jobs['done']} done, {jobs['processing']} processing, "
            f"{jobs['cancelled']} cancelled, {jobs['queued']} queued for later "
            "(asking for a review after a week)\n"
            f"  dead letters  {jobs['dead_letter']}"
        )
        letters = async_to_sync(soniq.dead_letter.list_dead_letter_jobs)()
        for letter in letters[:SHOWN_DEAD_LETTERS]:
            self.stdout.write(f"    {describe(letter)}")
        if len(letters) > SHOWN_DEAD_LETTERS:
            self.stdout.write(f"    and {len(letters) - SHOWN_DEAD_LETTERS} older ones")
        self.stdout.write(
            "\nLook around:\n"
            f"  {manage('runserver')}\n"
            "    http://127.0.0.1:8000/admin/  jobs and dead letters\n"
            "    http://127.0.0.1:8000/        the shop, to place an order; a worker runs beside the server\n"
            f"  {manage('soniq_status --watch')}\n"
            "    what waits, what runs, and what gave up\n"
            f"  {manage('supplier')}\n"
            "    the supplier is up again: replay its dead letters in the admin, and a worker delivers them"
        )


def rows(name: str) -> Iterator[dict[str, str]]:
    with (DATA / name).open(encoding="utf-8", newline="") as file:
        yield from csv.DictReader(file)


def stats() -> dict[str, int]:
    return async_to_sync(soniq.get_queue_stats)()


def count_mails() -> int:
    """Messages, not files: two that are sent in the same second may share one."""
    files = Path(settings.MAIL_DIR).glob("*.log")
    return sum(file.read_bytes().splitlines().count(b"-" * 79) for file in files)


def count_thumbnails() -> int:
    return sum(is_small(Path(product.thumbnail.path)) for product in Product.objects.exclude(thumbnail=""))


def is_small(path: Path) -> bool:
    try:
        with Image.open(path) as picture:
            return all(is_ <= most for is_, most in zip(picture.size, THUMBNAIL_SIZE, strict=True))
    except OSError:
        return False


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
