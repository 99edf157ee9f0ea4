"""Arguments and results that are more than JSON: how they are stored, and how they come back.

What JSON can hold is stored as it is. Anything else becomes a dict with one key that begins with ``$``::

    UUID        {"$uuid": "0190…"}              date       {"$date": "2026-11-22"}
    datetime    {"$datetime": "2026-11-22T21:00:00+01:00[Europe/Berlin]"}, {"$time": "21:00:00"}
    timedelta   {"$timedelta": "P1DT2H0M0S"}    Decimal    {"$decimal": "1.50"}
    bytes       {"$bytes": base64}              float      {"$float": "1e+16"}, where JSON would not do
    tuple       {"$tuple": [...]}               set        {"$set": [...]}, {"$frozenset": [...]}, sorted
    dict        {"$dict": {...}} if a key begins with $; {"$dict": [[key, value], ...]} if one is no text
    Enum        {"$enum": "shop.Status", "name": "PAID"}; of a Flag its number as "value"
    dataclass   {"$dataclass": "shop.Address", "value": {...}}
    pydantic    {"$pydantic": "shop.Refund", "value": {...}}

and what a :class:`References` stores, such as the instances of Django's models. The names of classes are
data: they mean something only where :class:`soniq.codec.types.Types` has a class for them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from soniq.arguments import MARK, Refused, canonical, dump, flat_text, plain, within
from soniq.codec.marking import Marker
from soniq.codec.reading import Gone, Reader
from soniq.codec.references import Loaded, Missing, References, add_conversion, add_references
from soniq.codec.references import references as _references
from soniq.codec.types import ANY, REGISTERED, Types, register_type
from soniq.errors import InvalidArguments, ReferenceGone
from soniq.jobs import JSON

__all__ = [
    "ANY",
    "REGISTERED",
    "Loaded",
    "Missing",
    "References",
    "Types",
    "Unloaded",
    "add_conversion",
    "add_references",
    "decode_values",
    "encode_arguments",
    "encode_result",
    "encode_values",
    "is_marked",
    "load",
    "read",
    "references_in",
    "register_type",
]

_CONTAINERS = frozenset({dict, list})

# -- storing


def encode_values(value: Any, *, limit: int, types: Types = ANY, path: str = "args") -> JSON:
    """``value`` as JSON; :func:`decode_values` makes an equal value of the same type of it.

    :param limit: bytes that the text may take; looked at as far as it is certain
    :param types: the classes that may be among the values
    :param path: what errors call the value
    :raises InvalidArguments: a value cannot be stored; names its path
    :raises PayloadTooLarge: it is far too large
    """
    return plain(value, limit=limit, path=path, tag=Marker(types))


def encode_arguments(
    args: dict[str, Any], *, limit: int, types: Types = ANY, keep_marks: bool = False
) -> tuple[dict[str, JSON], str]:
    """The arguments of a job as they are stored: as a dict, and its text.

    The dict itself is no mark, whatever the names of the arguments.

    :param keep_marks: marks in the arguments are marks: they were read from a store, and edited perhaps
    """
    text = flat_text(args, limit=limit)
    if text is None:
        args = plain(args, limit=limit, tag=Marker(types), of_call=True, keep_marks=keep_marks)
        text = dump(args)
    return args, within(limit, text)


def encode_result(value: Any, *, limit: int, types: Types) -> str:
    """The text of what a handler returned."""
    text = flat_text(value, limit=limit)
    if text is None or any(key[:1] == MARK for key in value):
        text = dump(encode_values(value, limit=limit, types=types, path="result"))
    return within(limit, text, path="result")


# -- reading


def is_marked(stored: Any) -> bool:
    """Whether a stored list or dict has a mark in it; if not, it is the value itself."""
    for item in stored.values() if type(stored) is dict else stored:
        kind = type(item)
        if kind is dict:
            for key in item:
                if key[:1] == MARK:
                    return True
            if not _CONTAINERS.isdisjoint(map(type, item.values())) and is_marked(item):
                return True
        elif kind is list and not _CONTAINERS.isdisjoint(map(type, item)) and is_marked(item):
            return True
    return False


def references_in(stored: JSON) -> list[Mapping[str, JSON]]:
    """What has to be loaded before the value can be read."""
    found: dict[str, Mapping[str, JSON]] = {}
    left = [stored]
    while left:
        item = left.pop()
        if type(item) is dict:
            if "$dict" in item and len(item) == 1:  # what stands in there is no mark, whatever its keys
                item = item["$dict"]
                left += item.values() if type(item) is dict else [item]
            elif not _references.keys().isdisjoint(item):
                found[canonical(item)] = item
            else:
                left += item.values()
        elif type(item) is list:
            left += item
    return list(found.values())


def load(references: Sequence[Mapping[str, JSON]], types: Types) -> Loaded:
    """What references mean, for :func:`read`. To be called where the job's sync code runs.

    :raises Exception: it could not be looked for, such as when the database is away
    """
    loaded: dict[str, Any] = {}
    asked: dict[str, list[tuple[str, Mapping[str, Any]]]] = {}
    for reference in references:
        key = canonical(reference)
        try:
            parts = Reader(types, {}, "fail").named(reference)
        except Refused as refused:
            loaded[key] = refused
        else:
            mark = next(mark for mark in _references if mark in reference)
            asked.setdefault(mark, []).append((key, parts))
    for mark, ones in asked.items():
        found = _references[mark].load([parts for _, parts in ones], types)
        loaded |= {key: one for (key, _), one in zip(ones, found, strict=True)}
    return loaded


def decode_values(stored: JSON, *, types: Types, missing: Missing = "fail", path: str = "args") -> Any:
    """The value that :func:`encode_values` was given; references in it are loaded on the calling thread.

    :param types: the classes that may be among the values
    :param missing: what a reference is whose object is gone: an error, or None
    :raises InvalidArguments: it cannot be read; names the path
    :raises ReferenceGone: a reference leads nowhere
    """
    if not is_marked([stored]):
        return stored
    return read(stored, types, loaded=load(references_in(stored), types), missing=missing, path=path)


class Unloaded(Exception):
    """What is stored refers to objects, which have to be loaded first.

    :ivar references: for :func:`load`
    """

    def __init__(self, references: Sequence[Mapping[str, JSON]]) -> None:
        super().__init__("references have to be loaded first")
        self.references = references


def read(
    stored: JSON,
    types: Types,
    *,
    loaded: Loaded | None = None,
    missing: Missing = "fail",
    path: str = "args",
    of_call: bool = False,
) -> Any:
    """The value that a stored one stands for.

    :param loaded: what its references mean; None: read them as None, to see whether the rest can be read
    :param of_call: it is a dict of arguments, which is no mark, whatever their names
    :raises InvalidArguments: it cannot be read; names the path
    :raises ReferenceGone: a reference leads nowhere
    """
    reader = Reader(types, loaded, missing)
    try:
        return reader.named(stored) if of_call else reader.value(stored)
    except Gone as gone:
        error = gone.invalid(path)
        raise ReferenceGone(str(error), path=error.path) from None
    except Refused as refused:
        raise refused.invalid(path) from refused.__cause__
    except RecursionError:
        raise InvalidArguments(f"{path} is nested too deep to be read", path=path) from None
