"""Who may do what with a site's Meta Pixel, and the form by which a group is told.

Each right is a Django permission of :class:`MetaPixelSettings`, granted everywhere, or for single
sites by Wagtail's ``GroupSitePermission``. "Change settings" is Wagtail's own, with a panel of its
own; the others stand in :data:`RIGHTS`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from django import forms
from django.contrib.auth import get_permission_codename
from django.contrib.auth.models import Group, Permission
from django.db.models import QuerySet
from django.template.loader import render_to_string
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy as _
from wagtail.models import GroupSitePermission, Site

from wagtail_metapixel.models import MetaPixelSettings


class Right(NamedTuple):
    """What a group may be allowed on a site, beside changing its settings."""

    action: str
    """As permission policies call it: the codename without the model."""
    label: Any


CHANGE_TOKEN = "change_token"
RIGHTS: Sequence[Right] = [
    Right(CHANGE_TOKEN, _("Change access tokens")),
]


def is_allowed(user: Any, action: str, site: Site) -> bool:
    """Tell whether ``user`` may do ``action`` on ``site``; nobody may without a user."""
    if user is None:
        return False
    policy = MetaPixelSettings.get_permission_policy()
    allowed: bool = policy.user_has_permission_for_instance(user, action, site)
    return allowed


def codename(action: str) -> str:
    """Return Django's name of the permission."""
    return get_permission_codename(action, MetaPixelSettings._meta)


def permissions() -> QuerySet[Permission]:
    """Return Django's permissions behind :data:`RIGHTS`."""
    return Permission.objects.filter(
        content_type__app_label=MetaPixelSettings._meta.app_label,
        codename__in=[codename(right.action) for right in RIGHTS],
    )


class SiteRightsForm(forms.Form):
    """A panel of a group's page: which of :data:`RIGHTS` it has, for each site.

    Built and saved by Wagtail, which hands over the group as ``instance``.
    """

    icon = "view"

    def __init__(self, *args: Any, instance: Group | None = None, **kwargs: Any) -> None:
        kwargs.setdefault("prefix", "metapixel_rights")
        super().__init__(*args, **kwargs)
        self.instance = instance
        self._sites = list(Site.objects.order_by("hostname", "port"))
        granted = set(self._granted())
        for site in self._sites:
            for right in RIGHTS:
                self.fields[_name(site, right)] = forms.BooleanField(
                    label=f"{right.label}: {site}",
                    required=False,
                    initial=(site.pk, codename(right.action)) in granted,
                )

    def _granted(self) -> Iterator[tuple[int, str]]:
        if self.instance is not None and self.instance.pk is not None:
            found = GroupSitePermission.objects.filter(
                group=self.instance, permission__in=permissions()
            )
            yield from found.values_list("site_id", "permission__codename")

    def rows(self) -> Iterator[tuple[Site, list[forms.BoundField]]]:
        """Return each site with its ticks, in the order of :data:`RIGHTS`."""
        for site in self._sites:
            yield site, [self[_name(site, right)] for right in RIGHTS]

    def as_admin_panel(self) -> SafeString:
        """Return the panel as it stands on the page."""
        return render_to_string(
            "wagtail_metapixel/admin/site_rights.html",
            {"form": self, "rights": [right.label for right in RIGHTS]},
        )

    def save(self) -> None:
        """Grant what is ticked, and take away what is not."""
        by_codename = {permission.codename: permission for permission in permissions()}
        for site in self._sites:
            for right in RIGHTS:
                told = {
                    "group": self.instance,
                    "site": site,
                    "permission": by_codename[codename(right.action)],
                }
                if self.cleaned_data[_name(site, right)]:
                    GroupSitePermission.objects.get_or_create(**told)
                else:
                    GroupSitePermission.objects.filter(**told).delete()


def _name(site: Site, right: Right) -> str:
    return f"{right.action}_{site.pk}"
