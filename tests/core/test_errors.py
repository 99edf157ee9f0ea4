"""Errors between processes: parallel test runners and process pools hand them on as pickles."""

from __future__ import annotations

import copy
import pickle

import pytest

from soniq import errors

ERRORS = [
    errors.InvalidJob("impossible"),
    errors.UnknownTask("shop.send", nearest="shop.sent"),
    errors.ScheduleNotFound("nightly"),
    errors.InvalidArguments("args.id is gone", path="args.id"),
    errors.PayloadTooLarge(path="args.text", size=2000, limit=1000),
    errors.ReferenceGone("args.order is gone", path="args.order"),
    errors.JobTimeout(2.5),
    errors.DeadLetterNotFound("0198c5f2-6d1c-7a4e-b1d0-5a52f6d1a111"),
    errors.AppClosed(),
    errors.BackendNotReady("migrate", missing=["0001_initial"]),
]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize(
    "handed_on", [lambda error: pickle.loads(pickle.dumps(error)), copy.copy, copy.deepcopy]
)
def test_an_error_is_the_same_in_another_process(error, handed_on):
    error.add_note("while testing")

    twin = handed_on(error)

    assert type(twin) is type(error)
    assert (str(twin), vars(twin)) == (str(error), vars(error))


def test_each_error_that_takes_arguments_of_its_own_is_among_these():
    own = {kind for kind in vars(errors).values() if isinstance(kind, type) and "__init__" in vars(kind)}

    assert own <= {type(error) for error in ERRORS}
