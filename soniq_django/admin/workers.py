"""Workers: who is there, and what they hold."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import (
    BooleanField,
    Count,
    ExpressionWrapper,
    IntegerField,
    OuterRef,
    Q,
    QuerySet,
    Subquery,
)
from django.db.models.functions import Coalesce
from django.http import HttpRequest
from django.utils import timezone
from django.utils.safestring import SafeString
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from soniq_django.admin import formatting
from soniq_django.admin.table import TableAdmin
from soniq_django.conf import current_app
from soniq_django.functions import from_now
from soniq_django.models import Job, Worker


@admin.register(Worker)
class WorkerAdmin(TableAdmin):
    """Processes that run jobs. They come and go on their own."""

    actions = None
    list_display = ("__str__", "state", "slots", "served", "started_at", "beat")
    ordering = ("started_at", "id")
    search_fields = ("hostname",)
    sortable_by = ()
    fields = ("id", "hostname", "pid", "state", "slots", "served", "started_at", "last_heartbeat_at")
    readonly_fields = fields

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Never: workers deregister themselves, and maintenance forgets those that died."""
        return False

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        """The workers, each with whether it is alive by the database's clock, and with its load."""
        silent_since = from_now(-current_app().settings.dead_after)
        held = Job.objects.filter(worker_id=OuterRef("pk"), status=Job.Status.PROCESSING)
        counted = held.order_by().values("worker_id").annotate(count=Count("pk")).values("count")
        workers: QuerySet[Any] = (
            super()
            .get_queryset(request)
            .annotate(
                is_live=ExpressionWrapper(Q(last_heartbeat_at__gt=silent_since), output_field=BooleanField()),
                held=Coalesce(Subquery(counted, output_field=IntegerField()), 0),
            )
        )
        return workers

    @admin.display(description=_("state"))
    def state(self, worker: Any) -> SafeString:
        """Whether the worker is heard of."""
        if worker.is_live:
            return formatting.badge("live", gettext("live"))
        return formatting.badge("lost", gettext("lost"))

    @admin.display(description=_("running"))
    def slots(self, worker: Any) -> str:
        """Such as "2 of 4"."""
        return formatting.out_of(worker.held, worker.concurrency)

    @admin.display(description=_("queues"))
    def served(self, worker: Worker) -> str:
        """The queues that the worker serves."""
        return gettext("all") if worker.queues is None else ", ".join(worker.queues)

    @admin.display(description=_("last heartbeat"))
    def beat(self, worker: Worker) -> SafeString:
        """How long ago the worker was last heard of."""
        return formatting.when(worker.last_heartbeat_at, now=timezone.now())
