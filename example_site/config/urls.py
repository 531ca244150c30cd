"""What the shop's host serves."""

from __future__ import annotations

from django.conf import settings
from django.contrib.staticfiles.views import serve
from django.urls import include, path
from django.views.static import serve as serve_media
from wagtail import urls as wagtail_urls
from wagtail.admin import urls as wagtailadmin_urls
from wagtail.documents import urls as wagtaildocs_urls

urlpatterns = [
    # Slow, and good enough for a demo behind any server; a real shop leaves this to the web server.
    path("static/<path:path>", serve, {"insecure": True}),
    path("media/<path:path>", serve_media, {"document_root": settings.MEDIA_ROOT}),
    path("admin/", include(wagtailadmin_urls)),
    path("documents/", include(wagtaildocs_urls)),
    path("metapixel/", include("wagtail_metapixel.urls")),  # metapixel
    path("", include("shop.urls")),
    # Wagtail's own pages come last: they answer whatever is left.
    path("", include(wagtail_urls)),
]
