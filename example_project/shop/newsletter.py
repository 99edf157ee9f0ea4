"""Tasks that were Celery's: of this module, the import has changed, and nothing else."""

from typing import Any

from django.core.mail import send_mail

from shop.models import Order, Product
from soniq_django.celery import shared_task


@shared_task
def send_newsletter(product_id: int) -> int:
    customers = (
        Order.objects.filter(cancelled_at=None).order_by("email").values_list("email", flat=True).distinct()
    )
    for email in customers:
        recommend.delay(product_id, email)
    return len(customers)


@shared_task(bind=True, max_retries=3, default_retry_delay=60, queue="emails")
def recommend(self: Any, product_id: int, email: str) -> None:
    product = Product.objects.get(pk=product_id)
    try:
        send_mail(f"New: {product}", f"For {product.price} EUR.\n\nYour shop\n", None, [email])
    except OSError as error:  # the mail server is away
        raise self.retry(exc=error)  # noqa: B904  # the way of Celery; it says what it comes from by exc
