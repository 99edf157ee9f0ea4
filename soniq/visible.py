"""Text that does on a terminal, in a log and on a page what its letters say, and nothing else.

Text of jobs (names, errors, arguments) may hold characters that move a terminal's cursor, colour it or
ring it, end a line of a log, or turn the reading direction of what stands behind them. Here such
characters are spelled out. HTML is not escaped here: templates do that.
"""

from __future__ import annotations

import re

# Control characters (line feed and tab apart), line separators, marks of reading direction, characters
# without a width that are not part of words or emoji, and lone surrogates.
_ACTIVE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u2069\ufeff\ud800-\udfff]"
)


def visible(text: str) -> str:
    """``text`` with active characters spelled out in Python's way; lines and tabs stay."""
    return _ACTIVE.sub(_spelled, text)


def visible_line(text: str) -> str:
    """The same on one line, with single spaces."""
    return visible(" ".join(text.split()))


def visible_json(text: str) -> str:
    """JSON that means the same, with active characters in JSON's escaped form."""
    return _ACTIVE.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def _spelled(found: re.Match[str]) -> str:
    return found[0].encode("unicode_escape").decode()
