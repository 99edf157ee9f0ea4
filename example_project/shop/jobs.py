"""The shop's jobs. soniq_django imports this module from every installed app.

Jobs are delivered at least once: when a worker dies, another one runs its jobs again. So each job here
looks at what has been done already before it does it. That is not exactly once: a worker that dies between
sending an e-mail and noting so sends it twice. What is written to the database only can be: see book_points.
"""

from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

from django.conf import settings
from django.core.mail import mail_managers, send_mail
from django.db.models import F
from django.utils import timezone

import soniq
from shop import pictures, supplier
from shop.models import LoyaltyAccount, Order, Product


@soniq.job(queue="emails", max_retries=5, retry_delay=[1, 10, 60])
def send_receipt(order_id: int) -> str:
    order = Order.objects.select_related("product").get(pk=order_id)
    if order.receipt_sent_at:
        return f"{order.number}: sent before"
    write_to_customer(
        order,
        subject=f"Your order {order.number}",
        text=f"thank you for ordering {order.quantity} x {order.product}. The total is {order.total} EUR.",
    )
    Order.objects.filter(pk=order_id).update(receipt_sent_at=timezone.now())
    return f"{order.number}: sent"


@soniq.job(queue="emails", priority=500)  # after everything else
def ask_for_review(order_id: int) -> soniq.Snooze | None:
    order = Order.objects.select_related("product").get(pk=order_id)
    if order.receipt_sent_at is None:
        return soniq.Snooze(timedelta(days=1).total_seconds(), reason=f"{order.number}: no receipt yet")
    write_to_customer(order, subject=f"How do you like your {order.product}?", text="please tell us.")
    return None


@soniq.job(atomic=True, missing="discard")
def book_points(order: Order, per_euro: Decimal) -> int:
    """Adds to what is there, so a second time would be wrong, and nothing shows whether there was a first.

    `atomic`: the points and the end of the job commit in one transaction, so they are booked exactly once.
    `missing`: an order that has been deleted meanwhile earns nothing. The rate is that of the enqueue.
    """
    points = int(order.total * per_euro)
    LoyaltyAccount.objects.get_or_create(email=order.email)
    LoyaltyAccount.objects.filter(email=order.email).update(points=F("points") + points)
    return points


@dataclass(frozen=True)
class OrderRow:
    """One row of the CSV file, as it stands there."""

    number: str
    sku: str
    quantity: str
    customer: str
    email: str


@soniq.job(queue="imports", discard_on=(ValueError, Product.DoesNotExist))
def import_order(row: OrderRow) -> str:
    """A row that is wrong stays wrong: no retry, straight to the dead letters."""
    from shop.orders import place_order  # noqa: PLC0415  # that module enqueues the jobs of this one

    if Order.objects.filter(number=row.number).exists():
        return f"{row.number}: imported before"
    place_order(
        Product.objects.get(sku=row.sku),
        customer=row.customer,
        email=row.email,
        quantity=int(row.quantity),
        number=row.number,
        imported=True,
    )
    return f"{row.number}: imported"


@soniq.job(queue="pictures", timeout=60, unique=True)  # however often a product is saved meanwhile
def resize_picture(product_id: int) -> tuple[int, int]:
    product = Product.objects.get(pk=product_id)
    name = f"thumbnails/{product.sku}.jpg"
    size = pictures.make_thumbnail(product.picture, Path(settings.MEDIA_ROOT) / name)
    Product.objects.filter(pk=product_id).update(thumbnail=name)
    return size


@soniq.job(
    queue="suppliers",
    max_retries=2,
    retry_delay=0,  # in earnest: [30, 300, 3600]
    retry_on=(OSError, soniq.JobTimeout),  # of the network; any other error is ours, and stays
    timeout=10,
    result_ttl=timedelta(days=7).total_seconds(),
)
def notify_supplier(order_id: int, url: str, ctx: soniq.JobContext) -> str:
    order = Order.objects.select_related("product").get(pk=order_id)
    if order.supplier_told_at:
        return f"{order.number}: told before"
    # The job's id is the same in each attempt, so the supplier can tell a second request from a second order.
    status = supplier.post(
        url,
        {"order": order.number, "sku": order.product.sku, "quantity": order.quantity},
        idempotency_key=ctx.job_id,
    )
    Order.objects.filter(pk=order_id).update(supplier_told_at=timezone.now())
    return f"{order.number}: the supplier answered {status}"


@soniq.periodic(cron=soniq.daily().at("20:00"), timezone="Europe/Berlin", queue="emails", misfire="all")
def report_sales(ctx: soniq.JobContext) -> str:
    """What was sold in the day before eight in the evening, whenever the job gets to run.

    The day is that of the fire time, so a report that is late, or tried again, is about the same orders.
    `misfire`: after an outage, the managers want the reports of all days that they missed.
    """
    until = ctx.scheduled_for or timezone.now()  # somebody may run it out of turn, from the admin
    orders = Order.objects.filter(created_at__lte=until, created_at__gt=until - timedelta(days=1))
    sold = sum((order.total for order in orders.select_related("product")), Decimal(0))
    text = f"orders: {orders.count()}, {sold} EUR"
    mail_managers(f"Sales until {until:%Y-%m-%d %H:%M} UTC", text)
    return text


def write_to_customer(order: Order, *, subject: str, text: str) -> None:
    send_mail(
        subject=subject,
        message=f"Dear {order.customer},\n\n{text}\n\nYour shop\n",
        from_email=None,
        recipient_list=[order.email],
    )
