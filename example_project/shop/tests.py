"""What the shop's jobs do, tested with soniq_django.testing: python example_project/manage.py test shop"""

import tempfile
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

from django.core import mail
from django.db import transaction
from django.test import SimpleTestCase, TestCase, override_settings

from shop.jobs import ask_for_review, import_order, notify_supplier, resize_picture, send_receipt
from shop.models import Order, Product
from shop.orders import place_order
from soniq_django.models import DeadLetterJob
from soniq_django.testing import JobTestMixin, simulate_crash, simulate_timeout, testing_mode


class ShopTestCase(JobTestMixin, TestCase):
    mug: Product
    lamp: Product

    @classmethod
    def setUpTestData(cls) -> None:
        picture = next((Path(__file__).parent / "data" / "pictures").iterdir()).name
        cls.mug = Product.objects.create(sku="mug", name="Mug", price=Decimal(9), picture=picture)
        cls.lamp = Product.objects.create(sku="lamp", name="Lamp", price=Decimal(50), from_supplier=True)

    def order(self, product: Product) -> Order:
        return place_order(product, customer="Ada", email="ada@example.com")


class OrderTests(ShopTestCase):
    def test_order_enqueues_what_has_to_follow(self) -> None:
        with self.captureJobs() as jobs:
            order = self.order(self.mug)

        jobs.assert_enqueued(send_receipt, order_id=order.pk, queue="emails", count=1)
        jobs.assert_enqueued(ask_for_review, order_id=order.pk, at=timedelta(days=7))
        jobs.assert_enqueued(notify_supplier, count=0)

    def test_order_that_is_rolled_back_leaves_no_job(self) -> None:
        with self.captureJobs() as jobs, transaction.atomic():
            self.order(self.lamp)
            transaction.set_rollback(True)

        jobs.assert_none()
        self.assertEqual(len(jobs.rolled_back), 3)

    def test_customer_gets_a_receipt_at_once_and_a_question_after_a_week(self) -> None:
        self.order(self.mug)

        summary = self.drainJobs()
        self.assertEqual((summary.succeeded, summary.waiting), (1, 1))
        self.assertEqual(len(mail.outbox), 1)

        self.assertFalse(self.drainJobs(until=timedelta(days=6)))
        self.assertEqual(self.drainJobs(until=timedelta(days=8)).succeeded, 1)
        self.assertEqual(mail.outbox[1].subject, "How do you like your Mug?")

    def test_receipt_goes_out_once_though_its_worker_is_lost(self) -> None:
        self.order(self.mug)

        with simulate_crash(send_receipt, ran=True):
            summary = self.drainJobs()

        self.assertEqual((summary.crashed, summary.succeeded), (1, 1))
        self.assertEqual(len(mail.outbox), 1)


class SupplierTests(ShopTestCase):
    def test_silent_supplier_ends_in_a_dead_letter(self) -> None:
        order = self.order(self.lamp)

        with simulate_timeout(notify_supplier, attempts=None):
            summary = self.drainJobs(jobs=[notify_supplier])

        self.assertEqual((summary.failed, summary.dead_lettered), (3, 1))
        letter = DeadLetterJob.objects.get()
        self.assertEqual((letter.dead_letter_reason, letter.args["order_id"]), ("timeout", order.pk))
        order.refresh_from_db()
        self.assertIsNone(order.supplier_told_at)


class ImportTests(ShopTestCase):
    def row(self, **changes: str) -> dict[str, str]:
        row = {"number": "M-1", "sku": "mug", "quantity": "2", "customer": "Ada", "email": "ada@example.com"}
        return row | changes

    def test_rows_become_orders_and_their_receipts_are_sent(self) -> None:
        import_order.enqueue_many([self.row(), self.row(number="M-2"), self.row()])

        self.assertEqual(self.drainJobs(raising=True).succeeded, 5)
        self.assertEqual(Order.objects.count(), len(mail.outbox))

    def test_broken_row_is_not_tried_again(self) -> None:
        import_order.enqueue(**self.row(quantity="many"))

        [attempt] = self.drainJobs().attempts

        self.assertEqual((attempt.ending, attempt.reason), ("dead_lettered", "permanent_failure"))
        self.assertIsInstance(attempt.error, ValueError)

    @testing_mode("inline")
    def test_inline_the_error_is_the_callers(self) -> None:
        import_order.enqueue(**self.row())
        self.assertEqual(len(mail.outbox), 1)
        with self.assertRaises(Product.DoesNotExist):
            import_order.enqueue(**self.row(number="M-2", sku="unknown"))


class PictureTests(ShopTestCase):
    async def test_picture_has_its_size(self) -> None:
        with tempfile.TemporaryDirectory() as folder, override_settings(MEDIA_ROOT=folder):
            job_id = await resize_picture.aenqueue(product_id=self.mug.pk)
            summary = await self.adrainJobs(raising=True)
            self.assertTrue((Path(folder) / "thumbnails" / "mug.jpg").exists())

        self.assertEqual([attempt.job_id for attempt in summary.attempts], [job_id])


class WithoutDatabaseTests(JobTestMixin, SimpleTestCase):
    job_mode = "memory"

    def test_receipts_go_to_their_queue(self) -> None:
        send_receipt.enqueue(order_id=1)
        self.assertEnqueued(send_receipt, order_id=1, queue="emails")
