"""Registration with Wagtail, nothing else."""

from __future__ import annotations

from wagtail_metapixel import admin_forms
from wagtail_metapixel.models import MetaPixelSettings

MetaPixelSettings.edit_handler = admin_forms.edit_handler()
