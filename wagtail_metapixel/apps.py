"""Registration with Django: checks, drivers, and who listens to which signal."""

from __future__ import annotations

from django.apps import AppConfig
from django.contrib.auth.signals import user_logged_in, user_logged_out
from django.db.models.signals import post_delete, post_migrate, post_save
from django.utils.translation import gettext_lazy as _


class MetaPixelConfig(AppConfig):
    """``"wagtail_metapixel"`` in ``INSTALLED_APPS``."""

    name = "wagtail_metapixel"
    label = "wagtail_metapixel"
    verbose_name = _("Meta Pixel")
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Connect what has to listen."""
        # Django loads the models only after this module; nothing here can be imported earlier.
        from wagtail.models import Site  # noqa: PLC0415

        from wagtail_metapixel import (  # noqa: PLC0415
            checks,
            middleware,
            models,
            site_settings,
        )
        from wagtail_metapixel.admin import pauses  # noqa: PLC0415
        from wagtail_metapixel.drivers import thread  # noqa: PLC0415

        checks.register_all()
        thread.connect()
        user_logged_in.connect(
            middleware.notice_staff, dispatch_uid="wagtail_metapixel.notice_staff"
        )
        user_logged_in.connect(
            middleware.notice_login, dispatch_uid="wagtail_metapixel.notice_login"
        )
        user_logged_out.connect(
            middleware.notice_logout, dispatch_uid="wagtail_metapixel.notice_logout"
        )
        post_migrate.connect(site_settings.make_installation_key, sender=self)
        for model in (models.MetaPixelSettings, models.MetaPixel):
            post_save.connect(
                pauses.end_pauses, sender=model, dispatch_uid="wagtail_metapixel.end_pauses"
            )
        for model in (models.MetaPixelSettings, models.MetaPixel, Site):
            for signal in (post_save, post_delete):
                signal.connect(
                    site_settings.clear,
                    sender=model,
                    dispatch_uid=f"wagtail_metapixel.{model.__name__}.{id(signal)}",
                )
