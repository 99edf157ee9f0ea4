"""``manage.py refund NUMBER AMOUNT REASON``: what a person types becomes the argument of a job, checked."""

from importlib.util import find_spec
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from shop.models import Order


class Command(BaseCommand):
    help = "Tell a customer of a refund."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("number", help="of the order")
        parser.add_argument("amount", help="in EUR")
        parser.add_argument("reason", help="broken, late or lost")

    def handle(self, *_args: Any, number: str, amount: str, reason: str, **_options: Any) -> None:
        if not find_spec("pydantic"):
            raise CommandError("refunds need pydantic: python -m pip install pydantic")
        from shop.refunds import Refund, tell_of_refund  # noqa: PLC0415  # only now known to be possible

        try:
            order = Order.objects.get(number=number)
            refund = Refund.model_validate({"amount": amount, "reason": reason})
        except Order.DoesNotExist:
            raise CommandError(f"there is no order {number}") from None
        except ValueError as error:  # pydantic's ValidationError is one
            raise CommandError(str(error)) from None
        self.stdout.write(f"A worker tells the customer: job {tell_of_refund(order, refund)}")
