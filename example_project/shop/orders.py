"""Placing orders: the place where jobs are enqueued in the transaction of the data they are about."""

import uuid
from datetime import timedelta

from django.conf import settings
from django.db import transaction

from shop.jobs import ask_for_review, notify_supplier, send_receipt
from shop.models import Order, Product


def place_order(
    product: Product,
    *,
    customer: str,
    email: str,
    quantity: int = 1,
    number: str | None = None,
    imported: bool = False,
) -> Order:
    """Store an order and everything that has to happen because of it, or nothing at all.

    The jobs are rows of the same database. If this transaction, or one around it, rolls back, there is
    neither an order nor a job. Workers see both only once it has committed.
    """
    with transaction.atomic():
        order = Order.objects.create(
            number=number or f"W-{uuid.uuid4().hex[:8].upper()}",
            product=product,
            quantity=quantity,
            customer=customer,
            email=email,
            imported=imported,
        )
        send_receipt.enqueue(order_id=order.pk)
        ask_for_review.using(scheduled_at=timedelta(days=7)).enqueue(order_id=order.pk)
        if product.from_supplier:
            notify_supplier.enqueue(order_id=order.pk, url=settings.SUPPLIER_WEBHOOK)
    return order
