"""`manage.py demo`, twice. What it says is held against what is found in its database and its folder."""

import re
from dataclasses import dataclass

import pytest
from PIL import Image

from tests.example.conftest import Shop

pytestmark = pytest.mark.slow

LOOK = """
from django.contrib.auth import authenticate
from django.db.models import Count
from shop.models import Order, Product
from soniq_django.models import DeadLetterJob, Job

answer = {
    "jobs": dict(Job.objects.values_list("status").annotate(Count("pk"))),
    "waiting": sorted(set(Job.objects.filter(status="queued").values_list("job_name", flat=True))),
    "dead": sorted(
        DeadLetterJob.objects.values_list("job_name", "dead_letter_reason", "attempts", "args__number")
    ),
    "orders": Order.objects.count(),
    "imported": Order.objects.filter(imported=True).count(),
    "without_receipt": Order.objects.filter(receipt_sent_at=None).count(),
    "thumbnails": sorted(Product.objects.values_list("thumbnail", flat=True)),
    "admin": authenticate(username="admin", password="admin") is not None,
}
"""


@dataclass
class Run:
    output: str
    found: dict
    mails: str

    def said(self, what):
        return re.search(rf"^  {what} +(.*)$", self.output, re.MULTILINE)[1]


def run_demo(shop: Shop) -> Run:
    output = shop.manage("demo").stdout
    return Run(output, shop.ask(LOOK), shop.mails)


@pytest.fixture(scope="module")
def runs(shop):
    return [run_demo(shop), run_demo(shop)]


def test_orders_are_imported_except_for_the_broken_row(runs):
    first, _ = runs
    assert (first.found["orders"], first.found["imported"]) == (25, 19)
    assert first.said("orders") == "25 (25 new), 19 of them imported"


def test_every_order_has_its_receipt_on_disk(runs):
    first, _ = runs
    assert first.found["without_receipt"] == 0
    assert first.mails.count("Subject: Your order") == 25
    assert first.said("e-mails").startswith("25 in ")


def test_pictures_have_their_new_size(shop, runs):
    first, _ = runs
    sizes = []
    for name in first.found["thumbnails"]:
        with Image.open(shop.var / "media" / name) as picture:
            sizes.append(picture.size)
    assert sizes == [(160, 120)] * 6
    assert first.said("pictures").startswith("6 of 6 ")


def test_what_cannot_succeed_ends_in_dead_letters(runs):
    first, _ = runs
    gave_up = ["shop.jobs.notify_supplier", "max_retries_exceeded", 3, None]
    assert first.found["dead"] == [
        ["shop.jobs.import_order", "permanent_failure", 1, "M-1013"],
        gave_up,
        gave_up,
        gave_up,
    ]
    assert first.said("dead letters") == "4"
    assert first.output.count("max_retries_exceeded after 3 attempts: urllib.error.URLError:") == 3
    assert "permanent_failure after 1 attempt: ValueError: " in first.output


def test_nothing_that_is_due_is_left(runs):
    first, _ = runs
    assert first.found["jobs"] == {"done": 50, "queued": 25}
    assert first.found["waiting"] == ["shop.jobs.ask_for_review"]
    assert first.said("jobs").startswith("50 done, 0 processing, 0 cancelled, 25 queued for later")


def test_admin_user_can_log_in_where_the_demo_says(runs):
    first, second = runs
    assert first.found["admin"]
    assert "created admin with the password admin" in first.output
    assert "was there before" in second.output
    assert "manage.py runserver" in first.output
    assert "http://127.0.0.1:8000/admin/" in first.output


def test_second_run_imports_nothing_twice_and_counts_truthfully(runs):
    _, second = runs
    assert (second.found["orders"], second.found["imported"]) == (31, 19)
    assert second.said("orders") == "31 (6 new), 19 of them imported"
    assert second.mails.count("Subject: Your order") == 31
    assert second.said("e-mails").endswith("(6 new)")
    assert second.found["jobs"] == {"done": 81, "queued": 31}
    assert second.said("dead letters") == str(len(second.found["dead"])) == "6"
