"""Views for machines."""

from __future__ import annotations

from collections.abc import Sequence

from django.contrib.auth.decorators import login_not_required
from django.db import transaction
from django.http import HttpRequest, JsonResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from soniq_django.commands.places import place
from soniq_django.status.health import MAX_AGE, Asked, examine

OK = 200
UNAVAILABLE = 503


@login_not_required
@never_cache
@transaction.non_atomic_requests
@require_safe
def health(
    request: HttpRequest,  # noqa: ARG001  # every view has it
    *,
    max_age: float | None = MAX_AGE,
    workers: int = 1,
    queues: Sequence[str] | None = None,
) -> JsonResponse:
    """200 if the queue is healthy, else 503: what ``manage.py soniq_health`` finds, for probes.

    Anybody may ask, so the answer names no job, no queue, no host and no error: only the state (healthy,
    unhealthy, or unknown if the database could not be asked) and the kinds of problems (``no_worker``,
    ``late_jobs``, ``not_migrated``, ``unreachable``). It costs a few look-ups in indexes.

    :param max_age: seconds that a due job may wait; None = for ever
    :param workers: at least so many have to be live
    :param queues: look at these only; each has to be served by so many workers
    """
    where = place()
    asked = Asked(max_age=max_age, workers=workers, queues=None if queues is None else tuple(queues))
    found = examine(where.backend, where.app.settings, asked)
    answer = {"status": found.state, "problems": sorted({problem.code for problem in found.problems})}
    return JsonResponse(answer, status=UNAVAILABLE if found.problems else OK)
