"""Reading back what a row holds, the same way in every store."""

from __future__ import annotations

import json

from soniq.jobs import JSON


def decoded(text: str | None) -> JSON:
    """The value of stored JSON text.

    Text that is not JSON (a row edited by hand) is given back as it stands. Whoever runs the job
    refuses it like all arguments that are no object; raising here would stop the whole claim, and
    every claim after it.
    """
    if text is None:
        return None
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text
