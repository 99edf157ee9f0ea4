from importlib import import_module

from django.apps import AppConfig


class ShopConfig(AppConfig):
    name = "shop"

    def ready(self) -> None:
        # Web processes and workers both have to know them; shop.jobs and shop.tasks are found by themselves.
        import_module("shop.actor")
        import_module("shop.monitoring")
