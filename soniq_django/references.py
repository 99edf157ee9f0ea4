"""Model instances as arguments and results: stored as references, loaded when the job runs.

A reference names the model, the primary key and the database that the instance came from. The rows are
loaded on the thread, and by the connection, that the job's own sync code uses: one query per model and
database, however many instances the arguments hold.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from django.apps import apps
from django.core.exceptions import ValidationError
from django.db import connections
from django.db.models import Model
from django.utils.functional import Promise

from soniq.arguments import Refused
from soniq.codec.references import GONE, add_conversion, add_references
from soniq.codec.types import AnyTypes, Types

CHUNK = 500  # primary keys of one query; SQLite takes no more than 999 parameters


def register() -> None:
    """Teach the codec Django's values: model instances, and translations that are looked up late."""
    add_references(ModelReferences())
    add_conversion(Promise, str)


class ModelReferences:
    """``{"$model": "shop.order", "pk": 7, "db": "default"}``; see :class:`soniq.codec.References`."""

    mark = "$model"

    def owns(self, value: object) -> bool:
        """Whether this is an instance of a model; a lazy one, such as ``request.user``, is."""
        return isinstance(value, Model)

    def stored(self, value: Model, types: Types) -> Mapping[str, Any]:
        """See :class:`soniq.codec.References`."""
        model = value.__class__  # of what a lazy object stands for
        label = model._meta.label_lower  # noqa: SLF001  # documented, but for its name
        if not _is_allowed(model, types):
            raise Refused(_unnamed(f"is a {model.__qualname__}", model, types))
        state = value._state  # noqa: SLF001  # documented, but for its name
        if state.adding or value.pk is None:
            raise Refused(f"is a {model.__qualname__} that is not saved; save it first")
        return {self.mark: label, "pk": _key(model, value.pk), "db": state.db}

    def load(self, references: Sequence[Mapping[str, Any]], types: Types) -> list[Any]:
        """See :class:`soniq.codec.References`."""
        asked: dict[tuple[type[Model], str], list[Any]] = defaultdict(list)
        places: list[tuple[tuple[type[Model], str], Any] | Refused] = []
        for reference in references:
            try:
                source = self._source(reference, types)
                key = _key(source[0], reference["pk"])
            except Refused as refused:
                places.append(refused)
            else:
                asked[source].append(key)
                places.append((source, key))
        found = {source: dict(_rows(*source, keys)) for source, keys in asked.items()}
        return [
            place if isinstance(place, Refused) else found[place[0]].get(place[1], GONE) for place in places
        ]

    def _source(self, reference: Mapping[str, Any], types: Types) -> tuple[type[Model], str]:
        """Where to look for the row, if it is one that the job asks for."""
        label, alias = reference.get(self.mark), reference.get("db")
        if reference.keys() != {self.mark, "pk", "db"} or type(label) is not str or type(alias) is not str:
            raise Refused("is stored as a reference that names no model, pk and db")
        try:
            model = apps.get_model(label)
        except (LookupError, ValueError):
            raise Refused(f"refers to the model {label!r:.200}, which this project does not have") from None
        if not _is_allowed(model, types):
            raise Refused(_unnamed(f"refers to a {model.__qualname__}", model, types))
        if alias not in connections.settings:
            raise Refused(f"refers to the database {alias!r:.200}, which DATABASES does not have")
        return model, alias


def _key(model: type[Model], value: Any) -> Any:
    """A primary key as rows have it: an instance keeps the "7" that it was saved with.

    :raises Refused: it is none
    """
    field: Any = model._meta.pk  # noqa: SLF001  # documented, but for its name
    try:
        key = field.to_python(value)
        field.run_validators(key)
        hash(key)
    except (TypeError, ValueError, ValidationError):
        raise Refused(f"refers to a {model.__qualname__} by what is no primary key") from None
    return key


def _rows(model: type[Model], alias: str, pks: list[Any]) -> Iterator[tuple[Any, Model]]:
    """The instances that are there, by primary key. By the base manager: the default one may hide rows."""
    rows = model._base_manager.using(alias)  # noqa: SLF001  # documented, but for its name
    for start in range(0, len(pks), CHUNK):
        for row in rows.filter(pk__in=pks[start : start + CHUNK]):
            yield row.pk, row


def _is_allowed(model: type[Model], types: Types) -> bool:
    """Whether a job takes instances of this model: it is annotated with it, or with a base of it."""
    if isinstance(types, AnyTypes):
        return True
    return any(issubclass(kind, Model) and issubclass(model, kind) for kind in types.classes)


def _unnamed(what: str, model: type[Model], types: Types) -> str:
    return (
        f"{what}, which no annotation of {types.of_what} names, or none that can be resolved at run time; "
        f"annotate the parameter with {model.__qualname__}, or with Model for any of them"
    )
