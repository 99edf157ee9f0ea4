"""Refunds and complaints, checked by pydantic models. shop/apps.py leaves them out where that is missing."""

from decimal import Decimal
from typing import Literal

from pydantic import BaseModel, Field

import soniq
from shop.jobs import write_to_customer
from shop.models import Order


class Refund(BaseModel):
    amount: Decimal = Field(gt=0, decimal_places=2)
    reason: Literal["broken", "late", "lost"]


@soniq.job(queue="emails")
def announce_refund(order: Order, refund: Refund) -> str:
    """The model arrives as one: what is stored is checked again before the job begins."""
    write_to_customer(
        order,
        subject=f"Refund for your order {order.number}",
        text=f"it came {refund.reason}, we are sorry. You get {refund.amount} EUR back.",
    )
    return f"{order.number}: {refund.amount} EUR"


def tell_of_refund(order: Order, refund: Refund) -> str:
    """Have the customer told: the id of the job. While one waits, no second one is stored for the order."""
    return announce_refund.using(dedup_key=f"refund {order.number}").enqueue(order, refund)


class Complaint(BaseModel):
    order_id: int = Field(gt=0)
    stars: int = Field(ge=1, le=2)


@soniq.job(queue="emails", validate=Complaint)
def answer_complaint(order_id: int, stars: int) -> None:
    """The model checks the arguments, at the enqueue and again here, and the job takes them as they are."""
    order = Order.objects.get(pk=order_id)
    write_to_customer(order, subject=f"Your {stars} of five stars", text="We are sorry. What went wrong?")
