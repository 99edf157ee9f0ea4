"""What the example shows about jobs, and how it fails."""

import json
import re
import signal
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from tests.example.conftest import MANAGE

pytestmark = pytest.mark.slow

PRODUCT = """
from shop.models import Order, Product
from shop.orders import place_order

product, _ = Product.objects.get_or_create(sku=sku, name=sku, price=1, from_supplier=sku == "lamp")
"""
ADMIN = (
    PRODUCT
    + """
from django.contrib.auth import get_user_model
from django.test import Client

boss, _ = get_user_model().objects.get_or_create(username="boss", is_staff=True, is_superuser=True)
client = Client(SERVER_NAME="localhost")
client.force_login(boss)
"""
)
COUNT = """
from shop.models import Order
from soniq_django.models import Job

answer = [Order.objects.count(), Job.objects.count()]
"""


@pytest.fixture(scope="module", autouse=True)
def _migrated(shop):
    shop.manage("migrate")


def test_order_that_rolls_back_leaves_no_job_and_no_mail(shop):
    before, mails = shop.ask(COUNT), shop.mails
    inside = shop.ask(
        PRODUCT
        + """
from django.db import transaction
from soniq_django.models import Job

with transaction.atomic():
    place_order(product, customer="Ada", email="rolled-back@example.com")
    answer = Job.objects.filter(queue="emails", args__order_id=Order.objects.latest("pk").pk).count()
    transaction.set_rollback(True)
""",
        sku="mug",
    )
    shop.manage("soniq_worker", "--run-once")
    assert inside == 2, "the transaction was to see its own jobs"
    assert shop.ask(COUNT) == before
    assert shop.mails == mails


def test_order_that_commits_is_followed_by_its_mail(shop):
    shop.ask(
        PRODUCT + "answer = place_order(product, customer='Ada', email='kept@example.com').pk", sku="mug"
    )
    shop.manage("soniq_worker", "--run-once")
    assert shop.mails.count("To: kept@example.com") == 1


@pytest.fixture
def supplier():
    """A supplier that answers: its address, and the requests it got."""
    received = []

    class Webhook(BaseHTTPRequestHandler):
        def do_POST(self):
            received.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *args):
            pass

    with HTTPServer(("127.0.0.1", 0), Webhook) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/orders", received
        server.shutdown()
        thread.join()


def test_replayed_dead_letter_reaches_the_supplier_that_is_up_again(shop, supplier):
    url, received = supplier
    order = shop.ask(
        PRODUCT
        + """
order = place_order(product, customer="Ada", email="ada@example.com", quantity=3)
answer = {"id": order.pk, "number": order.number}
""",
        sku="lamp",
    )
    for _ in range(3):
        shop.manage("soniq_worker", "--run-once", "--queues", "suppliers")
    letter = shop.ask(
        """
from soniq_django.models import DeadLetterJob
answer = [str(pk) for pk in DeadLetterJob.objects.filter(args__order_id=order).values_list("pk", flat=True)]
""",
        order=order["id"],
    )
    assert len(letter) == 1
    shop.ask(
        """
from asgiref.sync import async_to_sync
from soniq_django import soniq
answer = async_to_sync(soniq.dead_letter.replay)(letter, new_args={"order_id": order, "url": url})
""",
        letter=letter[0],
        order=order["id"],
        url=url,
    )
    shop.manage("soniq_worker", "--run-once", "--queues", "suppliers")
    assert received == [{"order": order["number"], "sku": "lamp", "quantity": 3}]
    after = """
from shop.models import Order
from soniq_django.models import DeadLetterJob
answer = [
    Order.objects.get(pk=order).supplier_told_at is not None,
    DeadLetterJob.objects.get(pk=letter).resurrection_count,
]
"""
    assert shop.ask(after, order=order["id"], letter=letter[0]) == [True, 1]


def test_visitor_can_place_an_order(shop):
    answer = shop.ask(
        PRODUCT
        + """
from django.test import Client

client = Client(SERVER_NAME="localhost")
before = Order.objects.count()
posted = client.post("/orders/", {"sku": sku})
page = client.get("/")
answer = [posted.status_code, page.status_code, Order.objects.count() - before, "Visitor" in page.text]
""",
        sku="mug",
    )
    assert answer == [302, 200, 1, True]


def test_probe_says_that_no_worker_is_there(shop):
    answer = shop.ask(
        """
from django.test import Client
probe = Client(SERVER_NAME="localhost").get("/soniq/health/")
answer = [probe.status_code, "no_worker" in probe.json()["problems"]]
"""
    )
    assert answer == [503, True]


def test_admin_publishes_prices_and_cancels_orders(shop):
    answer = shop.ask(
        ADMIN
        + """
from shop.models import Order
from soniq_django.models import Job

order = place_order(product, customer="Ada", email="ada@example.com")
prices = client.post(
    "/admin/shop/product/", {"action": "publish_prices", "_selected_action": [product.pk]}, follow=True
)
cancelled = client.post(
    "/admin/shop/order/", {"action": "cancel_orders", "_selected_action": [order.pk]}, follow=True
)
task = Job.objects.get(job_name="shop.tasks.publish_price_list")
answer = {
    "told": f"task {task.pk}" in prices.text,
    "queue": task.queue,
    "actor": task.context["actor"],
    "cancelled": "Orders cancelled: 1; jobs withdrawn with them: 3" in cancelled.text,
    "order": Order.objects.get(pk=order.pk).cancelled_at is not None,
}
""",
        sku="mug",
    )
    assert answer == {"told": True, "queue": "prices", "actor": "boss", "cancelled": True, "order": True}


def test_product_saved_in_the_admin_gets_its_picture(shop):
    answer = shop.ask(
        ADMIN
        + """
from soniq_django.models import Job

fields = {"sku": sku, "name": sku, "price": "1.00", "picture": "mug.jpg"}
saved = client.post(f"/admin/shop/product/{product.pk}/change/", fields)
waiting = Job.objects.queued().filter(job_name="shop.jobs.resize_picture", args__product_id=product.pk)
answer = [saved.status_code, waiting.count(), waiting.get().context]
""",
        sku="mug",
    )
    assert answer == [302, 1, {"actor": "boss"}]


def test_admin_masks_who_the_customer_is(shop):
    answer = shop.ask(
        ADMIN
        + """
from shop.jobs import OrderRow, import_order

row = OrderRow("M-1", "mug", "1", "Ada Palmer", "ada.palmer@example.com")
page = client.get(f"/admin/soniq_django/job/{import_order.enqueue(row)}/change/").text
answer = ["M-1" in page, "Palmer" in page, "palmer" in page]
""",
        sku="mug",
    )
    assert answer == [True, False, False]


def test_failed_attempt_is_logged_with_who_caused_it(shop):
    shop.ask(
        PRODUCT
        + """
from shop.actor import acting_as
from shop.jobs import OrderRow, import_order

with acting_as("grace"):
    answer = import_order.enqueue(OrderRow("M-2", "mug", "two", "Ada", "ada@example.com"))
""",
        sku="mug",
    )
    said = shop.manage("soniq_worker", "--run-once", "--queues", "imports").stderr
    assert re.search(r"ValueError in attempt 1 of shop\.jobs\.import_order [\w-]+, which grace caused", said)


def test_metrics_are_there_when_they_are_asked_for(shop):
    code = """
from django.conf import settings
from django.test import Client

page = Client(SERVER_NAME="localhost").get("/metrics")
answer = [page.status_code, "soniq_database_up 1" in page.text, settings.SONIQ.get("METRICS_PORT")]
"""
    assert shop.ask(code, {"SHOP_METRICS": "prometheus"}) == [200, True, 9100]
    assert shop.ask(code) == [404, False, None]


def test_order_of_a_visitor_and_its_jobs_are_one_trace(shop):
    pytest.importorskip("opentelemetry.sdk")
    traced = {"SHOP_METRICS": "opentelemetry"}
    shop.ask(
        PRODUCT
        + """
from django.test import Client

answer = Client(SERVER_NAME="localhost").post("/orders/", {"sku": sku}).status_code
""",
        traced,
        sku="mug",
    )
    shop.manage("soniq_worker", "--run-once", "--queues", "emails", **traced)

    lines = (shop.var / "traces.jsonl").read_text().splitlines()
    spans = [json.loads(line) for line in lines]
    [request] = [span for span in spans if span["name"] == "POST /orders/"]
    [job] = [span for span in spans if span["parent_id"] == request["context"]["span_id"]]
    assert job["context"]["trace_id"] == request["context"]["trace_id"]
    assert (job["name"], job["attributes"]["soniq.job.name"]) == ("process emails", "shop.jobs.send_receipt")


def test_jobs_may_be_in_a_database_of_their_own(shop):
    apart = {"DJANGO_SETTINGS_MODULE": "config.two_databases"}
    shop.manage("migrate", "soniq_django", "--database", "jobs", **apart)
    answer = shop.ask(
        PRODUCT
        + """
from django.db import transaction
from soniq_django.models import Job

before = Job.objects.using("default").count()
with transaction.atomic():
    place_order(product, customer="Ada", email="rolled-back@example.com")
    transaction.set_rollback(True)
with transaction.atomic():
    place_order(product, customer="Ada", email="apart@example.com")
    unwritten = Job.objects.count()
answer = [Job.objects.all().db, unwritten, Job.objects.count(), Job.objects.using("default").count() - before]
""",
        apart,
        sku="mug",
    )
    assert answer == ["jobs", 0, 3, 0]

    shop.manage("soniq_worker", "--run-once", **apart)

    assert "To: apart@example.com" in shop.mails
    assert "rolled-back" not in shop.mails


def test_refund_of_a_terminal_is_checked_before_it_is_a_job(shop):
    pytest.importorskip("pydantic")
    number = shop.ask(
        PRODUCT + "answer = place_order(product, customer='Ada', email='ada@example.com').number", sku="mug"
    )
    refused = shop.manage("refund", number, "0", "late", check=False)
    assert (refused.returncode, "greater than 0" in refused.stderr) == (1, True)

    told = shop.manage("refund", number, "4.50", "late").stdout

    job_id = told.split()[-1]
    stored = shop.ask(
        "from soniq_django.models import Job; answer = Job.objects.get(pk=job_id).args", job_id=job_id
    )
    assert stored["refund"] == {
        "$pydantic": "shop.refunds.Refund",
        "value": {"amount": {"$decimal": "4.50"}, "reason": "late"},
    }


def test_admin_sends_a_newsletter_by_what_was_celerys(shop):
    answer = shop.ask(
        ADMIN
        + """
from soniq_django.models import Job

posted = client.post(
    "/admin/shop/product/", {"action": "recommend_products", "_selected_action": [product.pk]}, follow=True
)
job = Job.objects.delayed().get(job_name="shop.newsletter.send_newsletter")
answer = ["Newsletters: 1" in posted.text, job.args]
""",
        sku="mug",
    )
    assert answer[0]
    assert list(answer[1]) == ["product_id"]


def test_runserver_brings_a_worker_along(shop):
    order = "answer = place_order(product, customer='Ada', email='beside@example.com').pk"
    with shop.serve() as server:
        shop.ask(PRODUCT + order, sku="mug")
        server.says("done      shop.jobs.send_receipt")
        server.signal(signal.SIGINT)
        server.ends()
    assert "To: beside@example.com" in shop.mails


def test_migrations_are_complete(shop):
    shop.manage("makemigrations", "--check", "--dry-run")


# How it fails: with one line that says what to do.


def test_missing_packages_are_named_with_the_command_that_installs_them(tmp_path):
    # -I and -S: a Python without any installed package.
    result = subprocess.run(
        [sys.executable, "-I", "-S", str(MANAGE), "demo"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert result.returncode == 1
    assert "Pillow" in result.stderr
    assert result.stderr.rstrip().endswith('python -m pip install -e ".[demo]"')
    assert len(result.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("teletype://somewhere", "Error: DATABASE_URL cannot be read: "),
        ("postgresql://user:secret@127.0.0.1:{port}/shop", "CommandError: cannot set up the database "),
    ],
)
def test_unusable_database_url_is_one_line(shop, closed_port, url, message):
    result = shop.manage("demo", check=False, DATABASE_URL=url.format(port=closed_port))
    assert result.returncode == 1
    assert result.stderr.startswith(message)
    assert len(result.stderr.splitlines()) == 1
    assert "secret" not in result.stderr
