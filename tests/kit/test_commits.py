"""The commit that never comes in a test: callbacks, wake-ups, and jobs after them."""

from __future__ import annotations

import pytest
from django.db import connections, transaction
from django.test import TestCase, override_settings

from soniq_django.testing import assert_enqueued, assert_no_jobs, capture_jobs, drain_jobs
from tests.shop.jobs import send_receipt
from tests.support.vendors import POSTGRES

pytestmark = pytest.mark.django_db(databases="__all__")


@pytest.mark.parametrize("alias", POSTGRES)
def test_wake_up_waits_for_the_commit_and_may_be_sent_in_the_test(app, alias):
    with TestCase.captureOnCommitCallbacks(using=alias, execute=True) as callbacks:
        send_receipt.enqueue(order_id=1)

    assert len(callbacks) == 1
    assert connections[alias].in_atomic_block
    assert drain_jobs().succeeded == 1


def test_setting_for_tests_leaves_no_callback():
    with override_settings(SONIQ={"TESTING": "manual"}), TestCase.captureOnCommitCallbacks() as callbacks:
        send_receipt.enqueue(order_id=1)
        assert drain_jobs().succeeded == 1

    assert callbacks == []


def test_jobs_of_callbacks_are_there_once_these_are_called(app, alias):
    with capture_jobs() as jobs:
        with TestCase.captureOnCommitCallbacks(using=alias) as callbacks, transaction.atomic(using=alias):
            transaction.on_commit(lambda: send_receipt.enqueue(order_id=1), using=alias)
        assert_no_jobs()
        for callback in callbacks:
            callback()

    jobs.assert_enqueued(send_receipt, order_id=1)
    assert_enqueued(send_receipt, order_id=1)
