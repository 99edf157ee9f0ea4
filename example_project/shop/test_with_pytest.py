"""The same with pytest-django: the fixtures are there as soon as soniq-django is installed.

In example_project/: python -m pytest --ds config.settings shop/test_with_pytest.py
"""

from decimal import Decimal
from typing import Any

from shop.jobs import book_points, send_receipt
from shop.models import LoyaltyAccount, Order, Product
from shop.orders import place_order


def test_order_earns_points(db: None, captured_jobs: Any, drain_jobs: Any) -> None:
    mug = Product.objects.create(sku="mug", name="Mug", price=Decimal(9))

    order = place_order(mug, customer="Ada", email="ada@example.com", quantity=10)

    captured_jobs.assert_enqueued(book_points, order=order)
    assert drain_jobs(jobs=[book_points]).succeeded == 1
    assert LoyaltyAccount.objects.get(email="ada@example.com").points == 135


def test_order_is_followed_at_once_where_jobs_run_inline(db: None, inline_jobs: Any, mailoutbox: Any) -> None:
    mug = Product.objects.create(sku="mug", name="Mug", price=Decimal(9))

    place_order(mug, customer="Ada", email="ada@example.com")

    assert Order.objects.get().receipt_sent_at
    assert [message.to for message in mailoutbox] == [["ada@example.com"]]


def test_retry_waits_for_its_time(db: None, soniq_app: Any, run_jobs: Any) -> None:
    send_receipt.enqueue(order_id=0)  # there is no such order

    assert run_jobs()  # the first attempt
    assert not run_jobs()  # the second one is due in a second
