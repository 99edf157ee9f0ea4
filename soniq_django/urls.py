"""For ``path("soniq/", include("soniq_django.urls"))``: the probe at ``health/``."""

from django.urls import path

from soniq_django.views import health

app_name = "soniq"
urlpatterns = [path("health/", health, name="health")]
