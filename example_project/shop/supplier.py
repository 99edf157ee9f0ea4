"""How the shop talks to its supplier: one JSON document by POST."""

import json
import urllib.request
from typing import Any

# The supplier is on this machine, so no proxy may stand between.
_opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def post(url: str, body: dict[str, Any], *, idempotency_key: str) -> int:
    """The status that the supplier answered; an OSError if it did not, or with an error."""
    request = urllib.request.Request(  # noqa: S310  # the address is a setting, not a user's
        url,
        data=json.dumps(body).encode(),
        headers={"Content-Type": "application/json", "Idempotency-Key": idempotency_key},
        method="POST",
    )
    with _opener.open(request, timeout=2) as answer:
        status: int = answer.status
    return status
