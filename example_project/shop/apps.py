from importlib import import_module
from importlib.util import find_spec

from django.apps import AppConfig
from django.conf import settings


class ShopConfig(AppConfig):
    name = "shop"

    def ready(self) -> None:
        # Web processes and workers both have to know them; shop.jobs and shop.tasks are found by themselves.
        import_module("shop.actor")
        import_module("shop.monitoring")
        import_module("shop.newsletter")
        import_module("shop.subscriptions")
        if find_spec("pydantic"):
            import_module("shop.refunds")
        if settings.SONIQ.get("METRICS") == "opentelemetry":
            import_module("shop.traces").set_up()
