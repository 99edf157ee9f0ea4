"""The kit as methods, for those who write ``TestCase`` classes."""

from __future__ import annotations

import unittest
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, ClassVar

from soniq_django.conf import read_settings
from soniq_django.testing.asserting import WITHIN
from soniq_django.testing.capture import (
    Capture,
    assert_enqueued,
    assert_no_jobs,
    capture_jobs,
)
from soniq_django.testing.drain import adrain_jobs, drain_jobs
from soniq_django.testing.enqueued import EnqueuedJob, Named
from soniq_django.testing.modes import Mode, testing_mode
from soniq_django.testing.summary import DrainSummary


class JobTestMixin(unittest.TestCase):
    """Methods about jobs for any of Django's test cases: ``class Tests(JobTestMixin, TestCase)``.

    Each is the function of the same name in Python's spelling.
    """

    job_mode: ClassVar[Mode | None] = None  # of every test; None = as the settings say

    def setUp(self) -> None:
        """Begin the mode of the class."""
        super().setUp()
        mode = self.job_mode
        if mode is None and read_settings().testing == "memory":
            mode = "memory"  # a memory of its own for each test
        if mode is not None:
            self.enterContext(testing_mode(mode))

    def captureJobs(self) -> Capture:  # noqa: N802  # unittest's spelling
        """See :func:`capture_jobs`."""
        return capture_jobs()

    def assertEnqueued(  # noqa: N802  # as above
        self,
        job: Named,
        /,
        *,
        count: int | None = None,
        queue: str | None = None,
        priority: int | None = None,
        at: datetime | timedelta | float | None = None,
        within: timedelta | float = WITHIN,
        unique: bool | None = None,
        dedup_key: str | None = None,
        args: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> list[EnqueuedJob]:
        """See :func:`assert_enqueued`."""
        __tracebackhide__ = True  # pytest shows the line of the test
        return assert_enqueued(
            job,
            count=count,
            queue=queue,
            priority=priority,
            at=at,
            within=within,
            unique=unique,
            dedup_key=dedup_key,
            args=args,
            **kwargs,
        )

    def assertNoJobs(self) -> None:  # noqa: N802  # as above
        """See :func:`assert_no_jobs`."""
        __tracebackhide__ = True  # as above
        assert_no_jobs()

    def drainJobs(self, **options: Any) -> DrainSummary:  # noqa: N802  # as above
        """See :func:`drain_jobs`."""
        return drain_jobs(**options)

    async def adrainJobs(self, **options: Any) -> DrainSummary:  # noqa: N802  # as above
        """See :func:`adrain_jobs`."""
        return await adrain_jobs(**options)
