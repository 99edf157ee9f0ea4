"""Subscriptions: each is a schedule of its own, made at run time, that orders the product again and again."""

from datetime import timedelta

import soniq
from shop.models import Product
from shop.orders import place_order
from soniq_django import soniq as queue


@soniq.job
def order_again(product_id: int, customer: str, email: str) -> str:
    product = Product.objects.get(pk=product_id)
    return place_order(product, customer=customer, email=email).number


def subscribe(product: Product, *, customer: str, email: str, every: timedelta) -> None:
    """In the transaction of the caller, as an enqueue is. Subscribing again changes how often."""
    queue.scheduler.add_now(
        order_again,
        name=_name(product, email),
        every=every,
        args={"product_id": product.pk, "customer": customer, "email": email},
    )


def unsubscribe(product: Product, *, email: str) -> bool:
    """False: there was no subscription."""
    return queue.scheduler.remove_now(_name(product, email))


def _name(product: Product, email: str) -> str:
    return f"subscription {product.sku} {email}"
