"""Our endpoints. The prefix belongs to the site: ``path("metapixel/", include(...))``."""

from __future__ import annotations

from django.urls import path

from wagtail_metapixel import noscript, views

app_name = "wagtail_metapixel"

urlpatterns = [
    path("collect/", views.collect, name="collect"),
    path("echo/", views.echo, name="echo"),
    path("ticket/", views.ticket, name="ticket"),
    path("consent/", views.consent_choice, name="consent"),
    path("choice/", views.choice, name="choice"),
    path("matching/", views.matching, name="matching"),
    path("noscript/", noscript.image, name="noscript"),
]
