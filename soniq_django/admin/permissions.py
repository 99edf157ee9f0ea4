"""Who may do what. Permissions are Django's, ``cancel`` and ``replay`` among them."""

from __future__ import annotations

from django.contrib.admin import AdminSite
from django.contrib.auth import get_permission_codename
from django.db.models import Model
from django.http import HttpRequest
from django.urls import reverse


def may(request: HttpRequest, verb: str, model: type[Model]) -> bool:
    """Whether the user has the permission ``verb`` (such as "cancel") on the model."""
    meta = model._meta  # noqa: SLF001  # Django's documented API
    return request.user.has_perm(f"{meta.app_label}.{get_permission_codename(verb, meta)}")


def url_to_look_at(request: HttpRequest, site: AdminSite, model: type[Model], pk: object) -> str | None:
    """The address of an object's page; None if the user may not see it, or the site has no such page."""
    if not site.is_registered(model):
        return None
    if not site.get_model_admin(model).has_view_permission(request):
        return None
    meta = model._meta  # noqa: SLF001  # as above
    name = f"admin:{meta.app_label}_{meta.model_name}_change"
    return reverse(name, args=[pk], current_app=site.name)
