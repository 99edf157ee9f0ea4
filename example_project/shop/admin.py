from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils import timezone

from shop.jobs import resize_picture
from shop.models import LoyaltyAccount, Order, Product
from shop.newsletter import send_newsletter
from shop.orders import ask_for_reviews_now, cancel_order
from shop.tasks import publish_price_list


@admin.register(Product)
class ProductAdmin(admin.ModelAdmin):  # type: ignore[type-arg]  # Django's class takes none, its stubs' does
    list_display = ("name", "sku", "price", "from_supplier", "thumbnail")
    actions = ("publish_prices", "recommend_products")

    def save_model(self, request: HttpRequest, obj: Product, form: Any, change: bool) -> None:
        super().save_model(request, obj, form, change)
        resize_picture.enqueue(product_id=obj.pk)  # the admin saves within a transaction, which this joins

    @admin.action(description="Publish the prices of selected products")
    def publish_prices(self, request: HttpRequest, queryset: QuerySet[Product]) -> None:
        skus = sorted(queryset.values_list("sku", flat=True))
        result = publish_price_list.enqueue(skus, valid_from=timezone.localdate())
        self.message_user(request, f"A worker writes the price list: task {result.id}")

    @admin.action(description="Recommend selected products to all customers, in ten minutes")
    def recommend_products(self, request: HttpRequest, queryset: QuerySet[Product]) -> None:
        for product in queryset:
            send_newsletter.apply_async(args=[product.pk], countdown=600)  # Celery's call, on soniq's jobs
        self.message_user(request, f"Newsletters: {len(queryset)}; until they go out, cancel their jobs")


@admin.register(Order)
class OrderAdmin(admin.ModelAdmin):  # type: ignore[type-arg]  # Django's class takes none, its stubs' does
    list_display = (
        "number",
        "product",
        "quantity",
        "customer",
        "placed_by",
        "receipt_sent_at",
        "cancelled_at",
    )
    list_filter = ("imported", "placed_by", "product")
    search_fields = ("number", "customer", "email")
    actions = ("cancel_orders", "ask_now")

    @admin.action(description="Cancel selected orders")
    def cancel_orders(self, request: HttpRequest, queryset: QuerySet[Order]) -> None:
        cancelled = [cancel_order(order) for order in queryset.filter(cancelled_at=None)]
        self.message_user(
            request, f"Orders cancelled: {len(cancelled)}; jobs withdrawn with them: {sum(cancelled)}"
        )

    @admin.action(description="Ask for reviews of selected orders now")
    def ask_now(self, request: HttpRequest, queryset: QuerySet[Order]) -> None:
        self.message_user(request, f"Customers asked now: {ask_for_reviews_now(queryset)}")


@admin.register(LoyaltyAccount)
class LoyaltyAccountAdmin(admin.ModelAdmin):  # type: ignore[type-arg]  # Django's class takes none, its stubs' does
    list_display = ("email", "points")
