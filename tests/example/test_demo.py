"""`manage.py demo`, twice. What it says is held against what is found in its database and its folder."""

import re
from dataclasses import dataclass
from decimal import Decimal

import pytest
from PIL import Image

from tests.example.conftest import Shop

pytestmark = pytest.mark.slow

LOOK = """
from django.contrib.auth import authenticate
from django.db.models import Count
from shop.models import LoyaltyAccount, Order, Product
from shop.tasks import publish_price_list
from soniq_django.models import DeadLetterJob, Job

answer = {
    "jobs": dict(Job.objects.values_list("status").annotate(Count("pk"))),
    "waiting": sorted(set(Job.objects.filter(status="queued").values_list("job_name", flat=True))),
    "dead": sorted(
        DeadLetterJob.objects.values_list(
            "job_name", "dead_letter_reason", "attempts", "args__row__value__number"
        )
    ),
    "orders": Order.objects.count(),
    "imported": Order.objects.filter(imported=True).count(),
    "caused_by": sorted(set(Order.objects.values_list("placed_by", flat=True))),
    "without_receipt": list(Order.objects.filter(receipt_sent_at=None).values_list("customer", flat=True)),
    "cancelled": list(Order.objects.exclude(cancelled_at=None).values_list("customer", flat=True)),
    "points": dict(LoyaltyAccount.objects.values_list("email", "points")),
    "worth": [(order.email, str(order.total)) for order in Order.objects.filter(cancelled_at=None)],
    "results": [
        publish_price_list.get_result(str(pk)).return_value
        for pk in Job.objects.filter(job_name="shop.tasks.publish_price_list").values_list("pk", flat=True)
    ],
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
    assert first.said("orders") == "25 (25 new), 19 of them imported, 1 cancelled"


def test_every_order_has_its_receipt_on_disk(runs):
    first, _ = runs
    assert first.found["without_receipt"] == first.found["cancelled"] == ["Femi"]
    assert first.mails.count("Subject: Your order") == 24
    assert first.said("e-mails").startswith("28 in ")


def test_managers_are_told_of_each_dead_letter(runs):
    first, _ = runs
    assert first.mails.count("To: managers@example.com") == len(first.found["dead"]) == 4
    assert first.mails.count("Subject: [Shop] shop.jobs.notify_supplier gave up") == 3
    assert first.said("e-mails").endswith("(28 new), 4 of them to the managers about dead letters")


def test_points_are_those_of_the_orders(runs):
    for run in runs:
        worth = {}
        for email, total in run.found["worth"]:
            worth[email] = worth.get(email, 0) + int(Decimal(total) * Decimal("1.5"))
        assert run.found["points"] == worth
        assert run.said("loyalty") == f"{sum(worth.values())} points in 24 accounts"


def test_price_list_is_where_the_result_of_its_task_says(shop, runs):
    first, _ = runs
    [result] = first.found["results"]
    assert result["prices"] == 6
    lines = (shop.var / "media" / result["file"]).read_text().splitlines()
    assert len(lines) == 7
    assert "plant,Aloe in a pot,14.00" in lines
    assert first.said("price list").startswith("SUCCESSFUL: 6 prices in ")


def test_orders_keep_who_caused_them_also_those_of_the_import(runs):
    first, _ = runs
    assert first.found["caused_by"] == ["demo"]


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
    assert (
        "3 x shop.jobs.notify_supplier, max_retries_exceeded after 3 attempts: urllib.error.URL"
        in first.output
    )
    assert "1 x shop.jobs.import_order, permanent_failure after 1 attempt: ValueError: " in first.output


def test_nothing_that_is_due_is_left(runs):
    first, _ = runs
    assert first.found["jobs"] == {"done": 74, "queued": 24, "cancelled": 3}
    assert first.found["waiting"] == ["shop.jobs.ask_for_review"]
    assert first.said("jobs").startswith("74 done, 0 processing, 3 cancelled, 24 queued for later")


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
    assert second.said("orders") == "31 (6 new), 19 of them imported, 2 cancelled"
    assert second.mails.count("Subject: Your order") == 29
    assert second.said("e-mails").startswith("35 in ")
    assert "(7 new), 6 of them to the managers" in second.said("e-mails")
    assert second.found["jobs"] == {"done": 110, "queued": 29, "cancelled": 6}
    assert second.said("dead letters") == str(len(second.found["dead"])) == "6"


def test_demo_runs_with_its_jobs_in_a_database_of_their_own(closed_port, tmp_path):
    shop = Shop(tmp_path, "", f"http://127.0.0.1:{closed_port}/orders")
    run = Run(shop.manage("demo", "--settings", "config.two_databases").stdout, {}, shop.mails)

    assert run.said("jobs").startswith("74 done, 0 processing, 3 cancelled, 24 queued for later")
    count = "from soniq_django.models import Job; answer = Job.objects.count()"
    assert shop.ask(count) == 0
    assert shop.ask(count, {"DJANGO_SETTINGS_MODULE": "config.two_databases"}) == 101
