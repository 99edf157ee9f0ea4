"""Who did what: entries in the admin's own history."""

from __future__ import annotations

from collections.abc import Sequence

from django.contrib.admin.models import CHANGE, LogEntry
from django.db.models import Model
from django.http import HttpRequest


def note(request: HttpRequest, rows: Sequence[Model], message: str) -> None:
    """Note in the history of each row what the user did to it."""
    if rows:
        LogEntry.objects.log_actions(
            user_id=request.user.pk,
            queryset=rows,  # type: ignore[arg-type]  # it is iterated, no more; Django passes lists too
            action_flag=CHANGE,
            change_message=message,
        )
