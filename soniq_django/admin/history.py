"""Who did what: entries in the admin's own history."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from django.contrib.admin.models import CHANGE, LogEntry
from django.db.models import Model
from django.http import HttpRequest


def note(request: HttpRequest, rows: Sequence[Model], message: str) -> None:
    """Note in the history of each row what the user did to it."""
    if rows:
        LogEntry.objects.log_actions(
            user_id=cast("int", request.user.pk),  # nobody gets here without having logged in
            queryset=rows,
            action_flag=CHANGE,
            change_message=message,
        )
