from django.contrib import admin

from shop.models import Order, Product


@admin.register(Product)
class ProductAdmin(admin.ModelAdmin):  # type: ignore[type-arg]  # Django's class takes none, its stubs' does
    list_display = ("name", "sku", "price", "from_supplier", "thumbnail")


@admin.register(Order)
class OrderAdmin(admin.ModelAdmin):  # type: ignore[type-arg]  # Django's class takes none, its stubs' does
    list_display = (
        "number",
        "product",
        "quantity",
        "customer",
        "imported",
        "receipt_sent_at",
        "supplier_told_at",
    )
    list_filter = ("imported", "product")
    search_fields = ("number", "customer", "email")
