"""The bank, as an app of the example project."""

from __future__ import annotations

from django.apps import AppConfig


class PaymentConfig(AppConfig):
    """``"payment"`` in ``INSTALLED_APPS``."""

    name = "payment"
