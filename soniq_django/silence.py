"""How soon a worker notices that the other end of a connection has gone without a word.

A server that loses its power, or a firewall that forgets a connection, closes nothing. What waits for an
answer then waits for as long as TCP tries: by default minutes for what was sent, hours for what is only
awaited. A worker may not sleep through that, so its connections to PostgreSQL give up within ten seconds.

That limits silence, not queries: while the server's machine is there, a query may run for hours.
"""

from __future__ import annotations

from typing import Any

from django.db import connections

# libpq's; the first three are seconds and a number, tcp_user_timeout is milliseconds.
LIMITS = {
    "keepalives_idle": 4,
    "keepalives_interval": 2,
    "keepalives_count": 2,
    "tcp_user_timeout": 8000,
    "connect_timeout": 10,
}


def limit_silence(parameters: dict[str, Any]) -> None:
    """Set the limits among the parameters of a connection, but those that are there already."""
    for name, value in LIMITS.items():
        parameters.setdefault(name, value)


def limit_silence_everywhere() -> None:
    """Set them for all connections to PostgreSQL that this process will open through Django."""
    for alias in connections:
        if connections[alias].vendor == "postgresql":
            limit_silence(connections.settings[alias].setdefault("OPTIONS", {}))
