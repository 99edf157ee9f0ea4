"""What is kept of an exception: text that can be stored and shown, whatever the exception does."""

from __future__ import annotations

import traceback
from pathlib import Path

from soniq.arguments import clean_text

CLASS_BYTES = 500

_OWN_CODE = str(Path(__file__).parent)


def describe(error: BaseException) -> str:
    """The error with its traceback from the job's own code on, as text that can be stored."""
    frames = error.__traceback__
    while frames is not None and frames.tb_frame.f_code.co_filename.startswith(_OWN_CODE):
        frames = frames.tb_next
    try:
        lines = traceback.format_exception(type(error), error, frames)
        return clean_text("".join(lines).rstrip())
    except BaseException:  # noqa: BLE001  # an exception's own methods may raise anything
        return summarize(error)


def class_path(error: BaseException) -> str:
    """The error's class as "package.module.QualName", as text that can be stored."""
    kind = type(error)
    names = [type.__dict__[name].__get__(kind) for name in ("__module__", "__qualname__")]
    return clean_text(".".join(name for name in names if isinstance(name, str)), limit=CLASS_BYTES)


def summarize(error: BaseException) -> str:
    """The error in one line."""
    kind = type.__dict__["__name__"].__get__(type(error))  # a metaclass cannot interfere
    try:
        text = " ".join(str(error).split())
    except BaseException:  # noqa: BLE001  # an exception's own methods may raise anything
        return f"{kind} (its message cannot be read)"
    return " ".join(clean_text(f"{kind}: {text}" if text else kind, limit=500).split())
