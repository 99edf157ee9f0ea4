from django.conf import settings
from django.conf.urls.static import static
from django.contrib import admin
from django.urls import include, path

from shop import views

urlpatterns = [
    path("", views.index, name="index"),
    path("orders/", views.order, name="order"),
    path("admin/", admin.site.urls),
    path("soniq/", include("soniq_django.urls")),  # soniq/health/, for probes
    *static(settings.MEDIA_URL, document_root=settings.MEDIA_ROOT),
]
if settings.SONIQ.get("METRICS") == "prometheus":
    from soniq_django.metrics import prometheus

    urlpatterns.append(path("metrics", prometheus.view))
