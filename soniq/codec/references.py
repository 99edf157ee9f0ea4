"""Where frameworks teach the codec their own values: references to objects, and conversions."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, Protocol, TypeAlias

from soniq.codec.types import Types

GONE: Any = object()  # what a reference means whose object is not there any more

Missing: TypeAlias = Literal["fail", "discard", "none"]  # what becomes of a job whose reference leads nowhere
Loaded: TypeAlias = Mapping[str, Any]  # what references mean, by their canonical text


class References(Protocol):
    """Values that are stored as references and loaded when the job runs."""

    mark: str  # the key that tells them: "$model"

    def owns(self, value: object) -> bool:
        """Whether the value is one of these."""
        ...

    def stored(self, value: Any, types: Types) -> Mapping[str, Any]:
        """What to store under the mark and beside it; the values are brought into JSON as all others.

        :raises Refused: it cannot be referred to, or ``types`` does not allow it
        """
        ...

    def load(self, references: Sequence[Mapping[str, Any]], types: Types) -> list[Any]:
        """What the references mean, in order; called where the job's sync code runs.

        :data:`GONE` stands for what is not there, a :class:`~soniq.arguments.Refused` for a reference that
        is none, or that ``types`` does not allow.

        :raises Exception: they could not be looked for; the attempt fails and may be tried again
        """
        ...


references: dict[str, References] = {}
conversions: dict[type, Callable[[Any], object]] = {}


def add_references(kind: References) -> None:
    """Let values that ``kind`` owns be arguments and results. Adding it again replaces it."""
    references[kind.mark] = kind


def add_conversion(kind: type, convert: Callable[[Any], object]) -> None:
    """Store what ``convert`` makes of instances of ``kind``, instead of them."""
    conversions[kind] = convert
