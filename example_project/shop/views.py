from asgiref.sync import async_to_sync
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_POST

from shop.models import Order, Product
from shop.orders import place_order
from soniq_django import soniq


def index(request: HttpRequest) -> HttpResponse:
    context = {
        "products": Product.objects.all(),
        "orders": Order.objects.select_related("product")[:10],
        "jobs": async_to_sync(soniq.get_queue_stats)(),
    }
    return render(request, "shop/index.html", context)


@require_POST
def order(request: HttpRequest) -> HttpResponse:
    product = get_object_or_404(Product, sku=request.POST.get("sku", ""))
    place_order(product, customer="Visitor", email="visitor@example.com")
    return redirect("index")
