"""What the shop's jobs do, each pattern of soniq_django.testing once.

Run them by: python example_project/manage.py test shop

Jobs run inside the test, on its connection and in its transaction, so an ordinary TestCase will do.
test_with_pytest.py has the same with pytest's fixtures.
"""

import tempfile
from datetime import date, timedelta
from decimal import Decimal
from importlib.util import find_spec
from pathlib import Path
from unittest import skipIf, skipUnless

from django.conf import settings
from django.core import mail
from django.db import transaction
from django.test import SimpleTestCase, TestCase, override_settings

from shop.actor import acting_as
from shop.jobs import (
    OrderRow,
    ask_for_review,
    book_points,
    import_order,
    notify_supplier,
    report_sales,
    resize_picture,
    send_receipt,
)
from shop.models import LoyaltyAccount, Order, Product
from shop.newsletter import recommend, send_newsletter
from shop.orders import ask_for_reviews_now, cancel_order, place_order
from shop.subscriptions import order_again, subscribe, unsubscribe
from shop.tasks import publish_price_list
from soniq import InvalidArguments
from soniq_django.models import DeadLetterJob, Job
from soniq_django.testing import JobTestMixin, simulate_crash, simulate_timeout, testing_mode

one_commit = skipIf("jobs" in settings.DATABASES, "takes orders and jobs in one database")


class ShopTestCase(JobTestMixin, TestCase):
    databases = "__all__"  # with config.two_databases, the jobs are in another one
    mug: Product
    lamp: Product

    @classmethod
    def setUpTestData(cls) -> None:
        cls.mug = Product.objects.create(sku="mug", name="Mug", price=Decimal(9), picture="mug.jpg")
        cls.lamp = Product.objects.create(sku="lamp", name="Lamp", price=Decimal(50), from_supplier=True)

    def order(self, product: Product) -> Order:
        return place_order(product, customer="Ada", email="ada@example.com")


class EnqueueTests(ShopTestCase):
    """What is enqueued: nothing runs here."""

    def test_order_enqueues_what_has_to_follow(self) -> None:
        with self.captureJobs() as jobs:
            order = self.order(self.mug)

        jobs.assert_enqueued(send_receipt, order_id=order.pk, queue="emails", count=1)
        jobs.assert_enqueued(book_points, order=order, per_euro=Decimal("1.5"))
        jobs.assert_enqueued(ask_for_review, order_id=order.pk, at=timedelta(days=7))
        jobs.assert_enqueued(notify_supplier, count=0)

    @one_commit
    def test_order_that_is_rolled_back_leaves_no_job(self) -> None:
        with self.captureJobs() as jobs, transaction.atomic():
            self.order(self.lamp)
            transaction.set_rollback(True)

        jobs.assert_none()
        self.assertEqual(len(jobs.rolled_back), 4)

    def test_picture_waits_once_however_often_it_is_asked_for(self) -> None:
        with self.captureJobs() as jobs:
            first, second = (resize_picture.enqueue(product_id=self.mug.pk) for _ in range(2))

        self.assertEqual(first, second)
        self.assertEqual((len(jobs), len(jobs.excluded)), (1, 1))

    def test_cancelled_order_takes_its_jobs_along(self) -> None:
        order = self.order(self.lamp)

        self.assertEqual(cancel_order(order), 4)

        self.assertFalse(self.drainJobs(until=timedelta(days=8)))
        self.assertEqual(Job.objects.cancelled().count(), 4)


class RunTests(ShopTestCase):
    """Jobs are run by a drain, as a worker runs them."""

    def test_job_is_still_its_function(self) -> None:
        order = self.order(self.mug)

        self.assertEqual(send_receipt(order_id=order.pk), f"{order.number}: sent")

    def test_customer_gets_a_receipt_at_once_and_a_question_after_a_week(self) -> None:
        self.order(self.mug)

        summary = self.drainJobs()
        self.assertEqual((summary.succeeded, summary.waiting), (2, 1))
        self.assertEqual(len(mail.outbox), 1)

        self.assertFalse(self.drainJobs(until=timedelta(days=6)))
        self.assertEqual(self.drainJobs(until=timedelta(days=8)).succeeded, 1)
        self.assertEqual(mail.outbox[1].subject, "How do you like your Mug?")

    def test_question_need_not_wait_for_the_week_to_end(self) -> None:
        asked, other = self.order(self.mug), self.order(self.mug)
        self.drainJobs()

        self.assertEqual(ask_for_reviews_now([asked]), 1)

        self.assertEqual([attempt.args for attempt in self.drainJobs().attempts], [{"order_id": asked.pk}])
        self.assertEqual(Job.objects.delayed().get().args, {"order_id": other.pk})

    def test_question_is_put_off_while_there_is_no_receipt(self) -> None:
        ask_for_review.enqueue(order_id=self.order(self.mug).pk)

        [attempt] = self.drainJobs(jobs=[ask_for_review]).attempts

        self.assertEqual((attempt.ending, len(mail.outbox)), ("snoozed", 0))

    def test_deleted_order_earns_nothing(self) -> None:
        self.order(self.mug).delete()

        self.drainJobs(jobs=[book_points])

        self.assertIn("which is gone", Job.objects.done().get().last_error or "")
        self.assertFalse(LoyaltyAccount.objects.exists())

    def test_imported_order_says_who_imported_it(self) -> None:
        with acting_as("grace"):
            import_order.enqueue(OrderRow("M-1", "mug", "2", "Ada", "ada@example.com"))

        self.drainJobs(raising=True)

        self.assertEqual(Order.objects.get().placed_by, "grace")
        self.assertEqual(Job.objects.delayed().get().context, {"actor": "grace"})

    @override_settings(SLOW_JOB_SECONDS=0)
    def test_slow_job_is_told(self) -> None:
        self.order(self.mug)

        with self.assertLogs("shop", "WARNING") as logged:
            self.drainJobs(queues=["emails"])

        self.assertIn("shop.jobs.send_receipt", logged.output[0])

    def test_newsletter_goes_once_to_each_customer_after_ten_minutes(self) -> None:
        self.order(self.mug)
        self.order(self.lamp)
        self.drainJobs(queues=["emails"])
        with self.captureJobs() as jobs:
            send_newsletter.apply_async(args=[self.lamp.pk], countdown=600)

        jobs.assert_enqueued(send_newsletter, product_id=self.lamp.pk, at=timedelta(minutes=10))
        summary = self.drainJobs(jobs=[send_newsletter, recommend], until=timedelta(minutes=11))

        self.assertEqual(summary.succeeded, 2)
        self.assertEqual(mail.outbox[-1].subject, "New: Lamp")
        self.assertEqual(len(mail.outbox), 3)

    def test_subscription_orders_again_until_it_is_ended(self) -> None:
        subscribe(self.mug, customer="Ada", email="ada@example.com", every=timedelta(days=30))

        self.drainJobs(jobs=[order_again], until=timedelta(days=61), schedules=True)
        self.assertEqual(Order.objects.count(), 2)

        self.assertTrue(unsubscribe(self.mug, email="ada@example.com"))
        self.drainJobs(jobs=[order_again], until=timedelta(days=200), schedules=True)
        self.assertEqual(Order.objects.count(), 2)

    @skipUnless(find_spec("pydantic"), "pydantic is not installed")
    def test_complaint_without_stars_is_refused_where_it_is_made(self) -> None:
        from shop.refunds import answer_complaint  # noqa: PLC0415  # where pydantic is missing, it cannot

        order = self.order(self.mug)
        with self.assertRaises(InvalidArguments):
            answer_complaint.enqueue(order_id=order.pk, stars=6)
        answer_complaint.enqueue(order_id=order.pk, stars=1)
        self.drainJobs(jobs=[answer_complaint], raising=True)

        self.assertIn("What went wrong?", mail.outbox[0].body)

    @skipUnless(find_spec("pydantic"), "pydantic is not installed")
    def test_refund_arrives_as_the_model_that_checked_it(self) -> None:
        from shop.refunds import Refund, announce_refund  # noqa: PLC0415  # where pydantic is missing, it cannot

        order = self.order(self.mug)
        announce_refund.enqueue(order, Refund(amount=Decimal("4.50"), reason="late"))
        with self.assertRaises(ValueError):
            Refund(amount=Decimal(-1), reason="late")

        self.drainJobs(jobs=[announce_refund], raising=True)

        self.assertIn("it came late, we are sorry. You get 4.50 EUR back.", mail.outbox[0].body)

    @skipUnless(find_spec("pydantic"), "pydantic is not installed")
    def test_refund_that_is_typed_twice_is_told_once(self) -> None:
        from shop.refunds import Refund, announce_refund, tell_of_refund  # noqa: PLC0415  # as above

        order, refund = self.order(self.mug), Refund(amount=Decimal("4.50"), reason="late")

        self.assertEqual(tell_of_refund(order, refund), tell_of_refund(order, refund))

        self.assertEnqueued(announce_refund, order=order, refund=refund, count=1)

    @skipUnless(find_spec("opentelemetry") and find_spec("opentelemetry.sdk"), "needs opentelemetry-sdk")
    def test_jobs_belong_to_the_trace_of_whoever_enqueued_them(self) -> None:
        from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415  # where it is missing, it cannot

        with TracerProvider().get_tracer("shop").start_as_current_span("a request") as span:
            self.order(self.mug)

        trace = f"{span.get_span_context().trace_id:032x}"
        contexts = Job.objects.values_list("context", flat=True)
        self.assertEqual(
            [trace in (context or {})["trace"]["traceparent"] for context in contexts], [True] * 3
        )

    async def test_price_list_is_written_and_its_result_can_be_asked_for(self) -> None:
        with tempfile.TemporaryDirectory() as folder, override_settings(MEDIA_ROOT=folder):
            async with self.captureJobs() as jobs:
                result = await publish_price_list.aenqueue(["mug", "lamp"], valid_from=date(2030, 1, 1))
            jobs.assert_enqueued(publish_price_list, skus=["mug", "lamp"], valid_from=date(2030, 1, 1))

            await self.adrainJobs(raising=True)
            self.assertIn("mug,Mug,9.00", (Path(folder) / "prices" / "2030-01-01.csv").read_text())

        await result.arefresh()
        self.assertEqual(result.return_value, {"file": "prices/2030-01-01.csv", "prices": 2})


class ScheduleTests(ShopTestCase):
    """Drains fire schedules when they are told to, those that code declares included."""

    def test_managers_get_a_report_every_evening(self) -> None:
        self.order(self.mug)

        summary = self.drainJobs(until=timedelta(days=3), jobs=[report_sales], schedules=True)

        self.assertEqual((summary.succeeded, len(mail.outbox)), (3, 3))
        sales = [message.body for message in mail.outbox]
        self.assertEqual(sales, ["orders: 1, 9.00 EUR", "orders: 0, 0 EUR", "orders: 0, 0 EUR"])


class FaultTests(ShopTestCase):
    """What becomes of jobs whose worker dies, whose time is over, or whose arguments are wrong."""

    def test_receipt_goes_out_once_though_its_worker_is_lost(self) -> None:
        self.order(self.mug)

        with simulate_crash(send_receipt, ran=True):
            summary = self.drainJobs()

        self.assertEqual((summary.crashed, summary.succeeded), (1, 2))
        self.assertEqual(len(mail.outbox), 1)

    @one_commit
    def test_points_are_booked_once_though_their_worker_is_lost(self) -> None:
        self.order(self.mug)

        with simulate_crash(book_points, ran=True):
            self.drainJobs()

        self.assertEqual(LoyaltyAccount.objects.get().points, 13)

    def test_silent_supplier_ends_in_a_dead_letter_and_the_managers_hear_of_it(self) -> None:
        order = self.order(self.lamp)

        with simulate_timeout(notify_supplier, attempts=None):
            summary = self.drainJobs(jobs=[notify_supplier])

        self.assertEqual((summary.failed, summary.dead_lettered), (3, 1))
        letter = DeadLetterJob.objects.get()
        self.assertEqual((letter.dead_letter_reason, letter.args["order_id"]), ("timeout", order.pk))
        self.assertEqual(mail.outbox[0].subject, "[Shop] shop.jobs.notify_supplier gave up")

    def test_broken_row_is_not_tried_again_until_it_is_replayed_in_order(self) -> None:
        import_order.enqueue(OrderRow("M-1", "mug", "two", "Ada", "ada@example.com"))
        [attempt] = self.drainJobs().attempts
        self.assertEqual((attempt.ending, attempt.reason), ("dead_lettered", "permanent_failure"))
        self.assertIsInstance(attempt.error, ValueError)

        DeadLetterJob.objects.get().replay(
            args={"row": OrderRow("M-1", "mug", "2", "Ada", "ada@example.com")}
        )
        self.drainJobs(raising=True)

        self.assertEqual(Order.objects.get().quantity, 2)


class ModeTests(ShopTestCase):
    @testing_mode("inline")
    def test_inline_jobs_run_as_they_are_enqueued_and_raise_there(self) -> None:
        self.order(self.mug)
        self.assertEqual(len(mail.outbox), 1)
        with self.assertRaises(Product.DoesNotExist):
            import_order.enqueue(OrderRow("M-2", "unknown", "1", "Ada", "ada@example.com"))


class WithoutDatabaseTests(JobTestMixin, SimpleTestCase):
    job_mode = "memory"

    def test_receipts_go_to_their_queue(self) -> None:
        send_receipt.enqueue(order_id=1)
        self.assertEnqueued(send_receipt, order_id=1, queue="emails")
