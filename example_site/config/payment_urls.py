"""What the payment host serves: nothing of the shop."""

from __future__ import annotations

from django.contrib.staticfiles.views import serve
from django.urls import include, path

urlpatterns = [
    path("static/<path:path>", serve, {"insecure": True}),
    path("pay/", include("payment.urls")),
]
handler404 = "payment.views.not_found"
