"""What the owner of a site chooses among, where it is no table's own matter."""

from __future__ import annotations

from django.db import models
from django.utils.translation import gettext_lazy as _


class PageViewMirror(models.TextChoices):
    """What the server reports of page views."""

    ALL = "all", _("Every page view")
    SAMPLED = "sampled", _("One page view in ten")
    NONE = "none", _("No page views (the browser still reports them)")


class PixelMode(models.TextChoices):
    """Who tells Meta of a pixel's events."""

    #: Both, under one id.
    BOTH = "both", _("Browser and server")
    #: No script of Meta's on a page.
    SERVER = "server", _("Server only (no script of Meta's)")
    #: No access token.
    BROWSER = "browser", _("Browser only (no access token needed)")
