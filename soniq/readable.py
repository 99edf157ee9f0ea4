"""Stored arguments and results as people read them: JSON, with what the codec marked told by its type.

Not made to be read back. What is not as the codec writes it is shown as it stands.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping

from soniq.arguments import MARK
from soniq.jobs import JSON

_WIDTH = 80  # characters below which what stands in a mark is kept on one line
_STEP = "  "
_json: Callable[[JSON], str] = json.JSONEncoder(ensure_ascii=False).encode


def readable(value: JSON) -> str:
    """``value``, which is stored JSON, over several lines: as ``json.dumps`` has it, but for marks."""
    return _shown(value, "", inline=False)


def _shown(value: JSON, indent: str, *, inline: bool = True) -> str:
    inner = indent + _STEP
    if isinstance(value, list):
        items = [_shown(item, inner, inline=inline) for item in value]
        return _framed("[", items, "]", indent, inline=inline)
    if not isinstance(value, dict):
        return _json(value)
    mark = next((key for key in value if key.startswith(MARK)), None)
    if mark is not None:
        return _marked(mark, value, indent)
    pairs = [f"{_json(key)}: {_shown(item, inner, inline=inline)}" for key, item in value.items()]
    return _framed("{", pairs, "}", indent, inline=inline)


def _marked(mark: str, value: Mapping[str, JSON], indent: str) -> str:
    """What stands under a mark: ``uuid("…")``, ``shop.Address({…})``, ``shop.Colour.RED``, ``1e+16``."""
    stored, name = value[mark], value.get("name")
    if mark == "$float" and isinstance(stored, str):
        return stored
    if mark == "$dict" and isinstance(stored, dict):
        stored = [[key, item] for key, item in stored.items()]
    if mark == "$dict" and isinstance(stored, list) and all(map(_is_pair, stored)):
        inner = indent + _STEP
        pairs = [f"{_shown(key, inner)}: {_shown(item, inner)}" for key, item in stored]
        return _framed("{", pairs, "}", indent, inline=True)
    if mark == "$enum" and isinstance(name, str):
        return f"{stored}.{name}"
    if mark in ("$enum", "$dataclass", "$pydantic") and "value" in value:
        return f"{stored}({_shown(value['value'], indent)})"
    if len(value) == 1:
        return f"{mark.removeprefix(MARK)}({_shown(stored, indent)})"
    others = [f"{key}={_shown(item, indent)}" for key, item in value.items() if key != mark]
    return f"{stored}({', '.join(others)})"


def _framed(opening: str, parts: list[str], closing: str, indent: str, *, inline: bool) -> str:
    line = ", ".join(parts)
    if not parts or (inline and len(line) <= _WIDTH and "\n" not in line):
        return f"{opening}{line}{closing}"
    inner = indent + _STEP
    return f"{opening}\n{inner}" + f",\n{inner}".join(parts) + f"\n{indent}{closing}"


def _is_pair(value: JSON) -> bool:
    return isinstance(value, list) and len(value) == 2  # noqa: PLR2004  # key and value
