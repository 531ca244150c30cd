"""The shop, as an app of the example project."""

from __future__ import annotations

from django.apps import AppConfig


class ShopConfig(AppConfig):
    """``"shop"`` in ``INSTALLED_APPS``."""

    name = "shop"
