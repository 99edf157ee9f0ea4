"""The form to replay a dead letter with other arguments."""

from __future__ import annotations

import json
from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from soniq.errors import InvalidArguments, SoniqError
from soniq.settings import MAX_ATTEMPTS, MAX_PRIORITY, check_queue
from soniq_django.admin.formatting import as_json, message, secrets
from soniq_django.models import DeadLetterJob


class ReplayForm(forms.Form):
    """What the new job takes over from the dead letter, to be edited."""

    args = forms.CharField(
        label=gettext_lazy("Arguments"),
        help_text=gettext_lazy(
            'A JSON object: the job\'s keyword arguments as they are stored, a UUID as {"$uuid": "…"}. '
            "Leave ******** for a hidden value that is to stay."
        ),
        widget=forms.Textarea(
            attrs={"rows": 14, "class": "vLargeTextField soniq-json", "spellcheck": "false"}
        ),
    )
    queue = forms.CharField(label=gettext_lazy("Queue"), max_length=63)
    priority = forms.IntegerField(
        label=gettext_lazy("Priority"),
        min_value=0,
        max_value=MAX_PRIORITY,
        help_text=gettext_lazy("Lower runs first."),
    )
    max_attempts = forms.IntegerField(label=gettext_lazy("Max attempts"), min_value=1, max_value=MAX_ATTEMPTS)

    seen = forms.IntegerField(required=False)  # replays when the form was made; the template has the field
    letter: DeadLetterJob

    @classmethod
    def of(cls, letter: DeadLetterJob, data: Any = None) -> ReplayForm:
        """The form with what the dead letter says, or with what was sent.

        What was sent is refused if the dead letter was replayed after the form was made.
        """
        initial = {
            "args": as_json(letter.args),
            "queue": letter.queue,
            "priority": letter.priority,
            "max_attempts": letter.max_attempts,
        }
        form = cls(data, initial=initial)
        form.letter = letter
        return form

    def clean(self) -> None:
        """Refuse a form that another replay has overtaken."""
        if self.cleaned_data.get("seen") != self.letter.resurrection_count:
            self.refuse_as_overtaken()

    def clean_args(self) -> dict[str, Any]:
        """The arguments as a dict."""
        try:
            value = json.loads(self.cleaned_data["args"])
        except json.JSONDecodeError as error:
            raise ValidationError(
                _("This is not JSON: line %(line)d, column %(column)d: %(problem)s."),
                params={"line": error.lineno, "column": error.colno, "problem": error.msg},
                code="not_json",
            ) from None
        except (ValueError, RecursionError) as error:  # a number too long, brackets too deep
            raise ValidationError(
                _("This JSON cannot be read: %(problem)s."),
                params={"problem": error},
                code="not_json",
            ) from None
        if not isinstance(value, dict):
            raise ValidationError(_("Give a JSON object: { … }."), code="no_object")
        try:
            restored: dict[str, Any] = secrets().restored(value, self.letter.args)
        except InvalidArguments as error:
            raise ValidationError(str(error), code="hidden") from None
        except RecursionError:
            raise ValidationError(_("This JSON is nested too deep."), code="too_deep") from None
        return restored

    def clean_queue(self) -> str:
        """The queue, if it can be the name of one."""
        return check_queue(self.cleaned_data["queue"], ValidationError)

    def refuse(self, error: SoniqError) -> None:
        """Show why the replay was refused: at the arguments, if it is for them."""
        self.add_error("args" if isinstance(error, InvalidArguments) else None, message(error))

    def refuse_as_overtaken(self) -> None:
        """Say that the dead letter was replayed since the form was made."""
        text = _("It was replayed meanwhile; look again. Sent once more, this form replays it once more.")
        self.add_error(None, ValidationError(text, code="overtaken"))
