"""Placing orders: the place where jobs are enqueued in the transaction of the data they are about."""

import uuid
from collections.abc import Iterable
from datetime import timedelta

from django.conf import settings
from django.db import transaction
from django.db.models import Q
from django.utils import timezone

from shop.actor import current_actor
from shop.jobs import ask_for_review, book_points, notify_supplier, send_receipt
from shop.models import Order, Product
from soniq_django.models import Job


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
            placed_by=current_actor() or "",
        )
        send_receipt.enqueue(order_id=order.pk)
        book_points.enqueue(order, per_euro=settings.POINTS_PER_EURO)
        ask_for_review.using(scheduled_at=timedelta(days=7)).enqueue(order_id=order.pk)
        if product.from_supplier:
            notify_supplier.enqueue(order_id=order.pk, url=settings.SUPPLIER_WEBHOOK)
    return order


def cancel_order(order: Order) -> int:
    """Cancel an order, and those of its jobs that no worker has begun: how many."""
    with transaction.atomic():
        Order.objects.filter(pk=order.pk).update(cancelled_at=timezone.now())
        its_own = Q(args__order_id=order.pk) | Q(args__order__pk=order.pk)
        return len(Job.objects.queued().filter(its_own).cancel())


def ask_for_reviews_now(orders: Iterable[Order]) -> int:
    """Ask at once, not when the week is over: how many customers are asked."""
    waiting = Job.objects.queued().filter(job_name=ask_for_review.name)
    return len(waiting.filter(args__order_id__in=[order.pk for order in orders]).retry_now())
