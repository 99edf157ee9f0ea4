"""Connections of a worker give up a server that has gone without a word."""

import pytest
from django.db import connections

from soniq_django.silence import LIMITS, limit_silence, limit_silence_everywhere
from tests.support.vendors import ALIASES


def test_what_the_project_has_set_stays():
    parameters = {"keepalives_idle": 60, "dbname": "shop"}

    limit_silence(parameters)

    assert parameters == {**LIMITS, "keepalives_idle": 60, "dbname": "shop"}


@pytest.mark.parametrize("alias", ALIASES)
def test_connections_to_postgresql_are_limited_and_others_left_alone(alias, monkeypatch):
    options = dict(connections.settings[alias].get("OPTIONS", {}))
    monkeypatch.setitem(connections.settings[alias], "OPTIONS", options.copy())

    limit_silence_everywhere()

    found = connections.settings[alias]["OPTIONS"]
    assert found == ({**LIMITS, **options} if connections[alias].vendor == "postgresql" else options)
