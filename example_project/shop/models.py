from decimal import Decimal

from django.db import models


class Product(models.Model):
    sku = models.SlugField(unique=True)
    name = models.CharField(max_length=100)
    price = models.DecimalField(max_digits=8, decimal_places=2)
    picture = models.CharField(max_length=100, help_text="a file in shop/data/pictures")
    thumbnail = models.FileField(blank=True, help_text="made from the picture by a job")
    from_supplier = models.BooleanField(default=False, help_text="a supplier ships it and is told of orders")

    class Meta:
        ordering = ("name",)

    def __str__(self) -> str:
        return self.name


class Order(models.Model):
    number = models.CharField(max_length=20, unique=True)
    product = models.ForeignKey(Product, on_delete=models.PROTECT)
    quantity = models.PositiveIntegerField(default=1)
    customer = models.CharField(max_length=100)
    email = models.EmailField()
    imported = models.BooleanField(default=False, help_text="came with a CSV file")
    placed_by = models.CharField(max_length=150, blank=True, help_text="the user who was logged in, if any")
    created_at = models.DateTimeField(auto_now_add=True)
    receipt_sent_at = models.DateTimeField(null=True, blank=True)
    supplier_told_at = models.DateTimeField(null=True, blank=True)
    cancelled_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ("-created_at", "-pk")

    def __str__(self) -> str:
        return self.number

    @property
    def total(self) -> Decimal:
        return self.quantity * self.product.price


class LoyaltyAccount(models.Model):
    email = models.EmailField(unique=True)
    points = models.PositiveIntegerField(default=0)

    class Meta:
        ordering = ("email",)

    def __str__(self) -> str:
        return self.email
