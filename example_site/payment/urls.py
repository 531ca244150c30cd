"""The addresses of the bank."""

from __future__ import annotations

from django.urls import path

from payment import views

urlpatterns = [path("<uuid:token>/", views.page, name="pay")]
