"""Loggers that never raise, and are otherwise loggers."""

from __future__ import annotations

import logging

import pytest

from soniq.steady import get_logger


class Refuses(logging.Filter):
    def filter(self, record):
        raise RuntimeError("a filter of the project")


@pytest.fixture
def failing(caplog):
    caplog.handler.addFilter(refuses := Refuses())
    yield
    caplog.handler.removeFilter(refuses)


def test_what_a_filter_raises_reaches_nobody(caplog, failing):
    with caplog.at_level("DEBUG", "soniq.worker"):
        get_logger("soniq.worker").info("said")
        with pytest.raises(RuntimeError):
            logging.getLogger("soniq.worker").info("said")
    assert caplog.records == []


def test_a_line_tells_who_wrote_it_and_keeps_its_facts(caplog):
    """As if there were nothing between the caller and the logger."""
    logger = get_logger("soniq.worker")
    with caplog.at_level("DEBUG", "soniq.worker"):
        logger.warning("%s of %d", "one", 2, extra={"job_id": "7"})
        try:
            int("no number")
        except ValueError:
            logger.exception("failed")

    first, second = caplog.records
    assert (first.getMessage(), first.job_id, first.levelname) == ("one of 2", "7", "WARNING")
    assert {first.pathname, second.pathname} == {__file__}
    assert first.funcName == "test_a_line_tells_who_wrote_it_and_keeps_its_facts"
    assert second.exc_info[0] is ValueError
