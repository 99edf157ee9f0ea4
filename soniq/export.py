"""Dead letters on their way out: as JSON and as CSV, for people, tickets and spreadsheets."""

from __future__ import annotations

import csv
import io
import json
import re
from datetime import datetime
from typing import Any

from soniq.records import DeadLetter
from soniq.redaction import Redactor
from soniq.visible import visible, visible_json

_FORMULA = re.compile(r"\s*[=+\-@]|[\t\r\n]")


def shown(letter: DeadLetter, redactor: Redactor) -> dict[str, Any]:
    """All fields, secrets masked."""
    row = letter.to_dict()
    row["args"] = redactor.value(row["args"])
    row["context"] = redactor.value(row["context"], texts=True)
    row["failures"] = [{**one, "error": redactor.text(one["error"])} for one in row["failures"]]
    row["last_error"] = None if letter.last_error is None else redactor.text(letter.last_error)
    return row


def as_json(rows: list[dict[str, Any]]) -> str:
    """A list of objects."""
    return visible_json(json.dumps(rows, ensure_ascii=False, indent=2, default=_plain))


def as_csv(rows: list[dict[str, Any]]) -> str:
    """A header line, and a line for each row."""
    names = list(DeadLetter.__dataclass_fields__)
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(names)
    for row in rows:
        writer.writerow([_cell(row[name]) for name in names])
    return out.getvalue()


def _cell(value: Any) -> Any:
    """A value as a spreadsheet should show it: never as a formula."""
    if isinstance(value, (dict, list)):
        return visible_json(json.dumps(value, ensure_ascii=False, default=_plain))
    value = "" if value is None else _plain(value)
    if not isinstance(value, str):
        return value
    text = visible(value)
    return "'" + text if _FORMULA.match(value) else text


def _plain(value: Any) -> Any:
    return value.isoformat() if isinstance(value, datetime) else value
