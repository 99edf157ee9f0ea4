"""What the admins share: read-only pages of big tables, in the database that the app uses."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from uuid import UUID

from django.conf import settings
from django.contrib import admin, messages
from django.contrib.admin import ShowFacets
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.translation import gettext as _

from soniq_django.admin.database import database
from soniq_django.admin.paging import REACH, ReachPaginator, TableChangeList

OTHER_FIELDS = 10  # that a form of Django's admin sends besides a field per row

if TYPE_CHECKING:
    ModelAdmin = admin.ModelAdmin[Any]
else:
    ModelAdmin = admin.ModelAdmin


class TableAdmin(ModelAdmin):
    """Nothing can be added or edited. Lists never read a whole table."""

    actions_selection_counter = True
    list_per_page = 50
    paginator = ReachPaginator
    show_facets = ShowFacets.NEVER  # facets count the table once per choice
    show_full_result_count = False
    unlisted: tuple[str, ...] = ()  # columns too big to be read for a list

    class Media:
        """The colours of badges, and frames around long texts."""

        css = {"all": ["soniq_django/admin.css"]}

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Never: jobs are added by enqueueing them."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Never: state is written by the backend."""
        return False

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        """The rows of the app's own database."""
        return super().get_queryset(request).using(database())

    def for_list(self, rows: QuerySet[Any]) -> QuerySet[Any]:
        """The rows with what their list shows."""
        return rows.defer(*self.unlisted)

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[TableChangeList]:
        """See :class:`TableChangeList`."""
        return TableChangeList

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        """The row with this id; of any other text, the rows that contain it."""
        job_id = as_uuid(search_term)
        if job_id is not None:
            return queryset.filter(pk=job_id), False
        return super().get_search_results(request, queryset, search_term)

    def response_action(
        self, request: HttpRequest, queryset: QuerySet[Any], *args: Any, **kwargs: Any
    ) -> HttpResponse | None:
        """Run an action. "Select all" means the rows that the list pages through, as its counter says."""
        if request.POST.get("select_across") == "1":
            most = REACH
            if "delete_selected" in request.POST.getlist("action"):
                most = min(REACH, self._most_deleted(request, queryset))
            queryset = queryset.filter(pk__in=list(queryset.values_list("pk", flat=True)[:most]))
        return super().response_action(request, queryset, *args, **kwargs)

    def _most_deleted(self, request: HttpRequest, queryset: QuerySet[Any]) -> int:
        """How many rows fit Django's page of confirmation, which sends back a field for each."""
        fields = settings.DATA_UPLOAD_MAX_NUMBER_FIELDS
        if fields is None:
            return REACH
        most = max(1, fields - OTHER_FIELDS)
        if queryset.order_by().values("pk")[: most + 1].count() > most:
            text = _("These are the first %(count)d; more cannot be deleted at a time.")
            self.message_user(request, text % {"count": most}, messages.WARNING)
        return most

    def gone(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """The answer to a button on the page of a row that was deleted meanwhile."""
        name = self.opts.verbose_name
        text = _("There is no %(name)s with the ID “%(id)s” any more.")
        self.message_user(request, text % {"name": name, "id": object_id}, messages.WARNING)
        return HttpResponseRedirect(self.url("changelist"))

    def url(self, page: str, *args: object) -> str:
        """The address of a page of this admin: "changelist", "change" and so on."""
        name = f"admin:{self.opts.app_label}_{self.opts.model_name}_{page}"
        return reverse(name, args=args, current_app=self.admin_site.name)


def as_uuid(text: str) -> UUID | None:
    """The id that the text is, or None."""
    try:
        return UUID(text.strip())
    except ValueError:
        return None
