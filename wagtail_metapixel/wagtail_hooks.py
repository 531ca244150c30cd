"""Registration with Wagtail, nothing else."""

from __future__ import annotations

from wagtail import hooks

from wagtail_metapixel.admin import forms, permissions
from wagtail_metapixel.models import MetaPixelSettings

MetaPixelSettings.edit_handler = forms.edit_handler()
hooks.register("register_permissions", permissions.permissions)


@hooks.register("register_group_permission_panel")
def site_rights() -> type[permissions.SiteRightsForm]:
    """Show on a group's page what it may do on which site."""
    return permissions.SiteRightsForm
