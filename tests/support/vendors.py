"""Parameters for tests that run on every database.

    @pytest.mark.django_db(databases="__all__")
    @pytest.mark.parametrize("alias", ALIASES)

The ids are the vendors' names. The parameter of a vendor that cannot be reached skips and says why.
"""

import pytest

from tests.support.databases import missing_reason, vendor_of_alias


def _parameter(alias, vendor, reason):
    return pytest.param(
        alias, id=vendor, marks=[pytest.mark.skip(reason=f"{vendor}: {reason}")] if reason else []
    )


def _only(wanted):
    aliases = [alias for alias, vendor in vendor_of_alias().items() if vendor == wanted]
    if not aliases:
        return [_parameter("default", wanted, "not in SONIQ_TEST_VENDORS")]
    return [_parameter(aliases[0], wanted, missing_reason(wanted))]


ALIASES = [_parameter(alias, vendor, missing_reason(vendor)) for alias, vendor in vendor_of_alias().items()]
ONE = ALIASES[:1]  # for what is the same whatever the database
# For what takes a while on each: the quick tests look at the first.
FIRST_QUICKLY = [
    *ONE,
    *(pytest.param(*each.values, id=each.id, marks=[*each.marks, pytest.mark.slow]) for each in ALIASES[1:]),
]
SQLITE = _only("sqlite")
POSTGRES = _only("postgres")
MYSQL = _only("mysql")
