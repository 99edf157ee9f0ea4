"""The shop's jobs. soniq_django imports this module from every installed app.

Jobs are delivered at least once: when a worker dies, another one runs its jobs again. So each job here
looks at what has been done already before it does it. That is not exactly once: a worker that dies between
sending an e-mail and noting so sends it twice.
"""

import json
import urllib.request
from pathlib import Path

from django.conf import settings
from django.core.mail import send_mail
from django.utils import timezone
from PIL import Image

import soniq
from shop.models import Order, Product

PICTURES = Path(__file__).parent / "data" / "pictures"
THUMBNAIL_SIZE = (160, 160)  # at most, in pixels

# The supplier is on this machine, so no proxy may stand between.
_opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))


@soniq.job(queue="emails", max_retries=5, retry_delay=[1, 10, 60])
def send_receipt(order_id: int) -> str:
    order = Order.objects.select_related("product").get(pk=order_id)
    if order.receipt_sent_at:
        return f"{order.number}: sent before"
    send_mail(
        subject=f"Your order {order.number}",
        message=f"Dear {order.customer},\n\nthank you for ordering {order.quantity} x {order.product}. "
        f"The total is {order.total} EUR.\n\nYour shop\n",
        from_email=None,
        recipient_list=[order.email],
    )
    Order.objects.filter(pk=order_id).update(receipt_sent_at=timezone.now())
    return f"{order.number}: sent to {order.email}"


@soniq.job(queue="emails", priority=500)  # after everything else
def ask_for_review(order_id: int) -> None:
    order = Order.objects.select_related("product").get(pk=order_id)
    send_mail(
        subject=f"How do you like your {order.product}?",
        message=f"Dear {order.customer},\n\nplease tell us.\n\nYour shop\n",
        from_email=None,
        recipient_list=[order.email],
    )


@soniq.job(queue="imports", discard_on=(ValueError, Product.DoesNotExist))
def import_order(number: str, sku: str, quantity: str, customer: str, email: str) -> str:
    """One row of the CSV file. A row that is wrong stays wrong: no retry, straight to the dead letters."""
    from shop.orders import place_order  # noqa: PLC0415  # that module enqueues the jobs of this one

    if Order.objects.filter(number=number).exists():
        return f"{number}: imported before"
    place_order(
        Product.objects.get(sku=sku),
        customer=customer,
        email=email,
        quantity=int(quantity),
        number=number,
        imported=True,
    )
    return f"{number}: imported"


@soniq.job(queue="pictures", timeout=60)
def resize_picture(product_id: int, ctx: soniq.JobContext) -> dict[str, int]:
    product = Product.objects.get(pk=product_id)
    name = f"thumbnails/{product.sku}.jpg"
    target = Path(settings.MEDIA_ROOT) / name
    target.parent.mkdir(parents=True, exist_ok=True)
    with Image.open(PICTURES / product.picture) as picture:
        small = picture.convert("RGB")
    small.thumbnail(THUMBNAIL_SIZE)
    # Never half a picture, however often this runs: each attempt has a file of its own until it is whole.
    unfinished = target.with_suffix(f".{ctx.job_id}-{ctx.attempt}")
    small.save(unfinished, "JPEG", quality=85)
    unfinished.replace(target)
    Product.objects.filter(pk=product_id).update(thumbnail=name)
    return {"width": small.width, "height": small.height}


@soniq.job(
    queue="suppliers", max_retries=2, retry_delay=0, timeout=10
)  # in earnest: retry_delay=[30, 300, 3600]
def notify_supplier(order_id: int, url: str) -> str:
    order = Order.objects.select_related("product").get(pk=order_id)
    if order.supplier_told_at:
        return f"{order.number}: told before"
    body = {"order": order.number, "sku": order.product.sku, "quantity": order.quantity}
    request = urllib.request.Request(  # noqa: S310  # the address is a setting, not a user's
        url, data=json.dumps(body).encode(), headers={"Content-Type": "application/json"}, method="POST"
    )
    with _opener.open(request, timeout=2) as answer:
        status: int = answer.status
    Order.objects.filter(pk=order_id).update(supplier_told_at=timezone.now())
    return f"{order.number}: the supplier answered {status}"
