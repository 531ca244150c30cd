"""Registration with Wagtail, nothing else."""

from __future__ import annotations

from wagtail_metapixel.admin import forms
from wagtail_metapixel.models import MetaPixelSettings

MetaPixelSettings.edit_handler = forms.edit_handler()
