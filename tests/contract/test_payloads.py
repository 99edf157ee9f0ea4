"""What the codec lets through comes back from every store as it was; what it refuses reaches none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from soniq.arguments import clean_text, fingerprint
from soniq.codec import decode_values, encode_arguments, encode_result
from soniq.errors import InvalidArguments
from soniq.jobs import ClaimRequest
from soniq.testing import make_app
from soniq.testing.conformance.support import new_id, new_job
from soniq.transitions import fail, succeed
from tests.contract.stores import all_stores
from tests.contract.test_side_by_side import EXAMPLES
from tests.support.values import Colour, Parcel, Right, Size, any_value, keys, same

pytestmark = [pytest.mark.slow, pytest.mark.django_db(transaction=True, databases="__all__")]
drawn = settings(
    max_examples=5 * EXAMPLES,
    deadline=None,
    print_blob=True,
    suppress_health_check=list(HealthCheck),
)

# Everything that a caller may try, the impossible included.
anything = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(-(10**400), 10**400)
    | st.floats()
    | st.text()
    | st.text(st.characters(categories=["Cs", "Cc", "Cf", "Co", "Cn"]), max_size=4)
    | st.binary(max_size=3)
    | st.dates(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.tuples(inner)
        | st.dictionaries(st.text(max_size=4) | st.integers(), inner, max_size=3)
    ),
    max_leaves=8,
)


app = make_app()


@app.job(name="takes")
def takes(**anything: Parcel | Colour | Size | Right) -> None:
    """What it can be given is a matter of its annotations."""


@pytest.mark.timeout(600 + 10 * EXAMPLES)
def test_any_value_is_refused_or_comes_back_from_every_store(tmp_path: Path) -> None:
    """As arguments, and as a result: the stored form to the letter, and the values that it stands for."""
    with all_stores(tmp_path) as stores:

        @drawn
        @given(st.dictionaries(st.text(max_size=4) | keys, anything | any_value, max_size=3))
        def hold(value: dict[str, Any]) -> None:
            try:
                stored, text = encode_arguments(value, limit=10_000, types=takes.types)
                result = encode_result(value, limit=10_000, types=takes.types)
            except InvalidArguments:
                return
            for store in stores:
                backend = store.backend
                job = new_job(args_json=text)
                backend.enqueue([job])
                [claim] = backend.claim(ClaimRequest(worker_id=new_id(), limit=1))
                assert same(claim.args, stored), store.name
                assert same(takes.call_arguments(claim.args, unasked)[1], value), store.name
                assert backend.apply([succeed(claim, result_json=result, ttl=None)]) == [True]
                found = backend.get_job(job.id)
                assert found is not None
                assert same(found.args, stored), store.name
                assert fingerprint(found.args) == fingerprint(stored), store.name
                assert same(decode_values(found.result, types=takes.types), value), store.name

        for store in stores:
            store.empty()
        hold()


def unasked() -> Any:
    raise AssertionError("the job asks for no context")


@pytest.mark.timeout(600 + 10 * EXAMPLES)
def test_any_error_can_be_recorded_in_every_store(tmp_path: Path) -> None:
    """Once it is cleaned, whatever it says; nothing may keep an outcome from being written."""
    with all_stores(tmp_path) as stores:

        @drawn
        @given(st.text(st.characters() | st.characters(categories=["Cs", "Cc"])))
        def hold(error: str) -> None:
            cleaned = clean_text(error)
            for store in stores:
                backend = store.backend
                job = new_job()
                backend.enqueue([job])
                [claim] = backend.claim(ClaimRequest(worker_id=new_id(), limit=1))
                assert backend.apply([fail(claim, error=cleaned, delay=3600.0)]) == [True]
                found = backend.get_job(job.id)
                assert found is not None
                assert found.last_error == cleaned, store.name

        for store in stores:
            store.empty()
        hold()
