"""The settings page in the Wagtail admin: its panels, and a token field that only takes."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar
from urllib.parse import urlsplit

from django import forms
from django.utils.text import capfirst
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from modelcluster.forms import BaseChildFormSet
from wagtail.admin.forms import WagtailAdminModelForm
from wagtail.admin.panels import (
    FieldPanel,
    HelpPanel,
    InlinePanel,
    MultiFieldPanel,
    ObjectList,
    TabbedInterface,
)
from wagtail.models import Site

from wagtail_metapixel import catalogue, conf
from wagtail_metapixel.access_tokens import is_well_formed
from wagtail_metapixel.admin.permissions import CHANGE_TOKEN, is_allowed
from wagtail_metapixel.choices import USUAL_CATEGORIES, ConsentProvider, MatchingField
from wagtail_metapixel.exceptions import ConfigurationError
from wagtail_metapixel.models import (
    ContentIdScheme,
    MetaPixel,
    MetaPixelSettings,
)

# Compiled at their first use: this module is loaded with the addresses of the admin.
_BEARER = r"(?i)bearer\s+"
_HOST = r"[a-z0-9._-]{1,253}"
_PURPOSES = r"([1-9]|1[01])(,([1-9]|1[01]))*"
_TCF_NUMBERS = ("consent_vendor_id", "consent_ac_provider_id")
_COOKIEBOT_CATEGORIES = frozenset({"", "preferences", "statistics", "marketing"})
_ALWAYS_ON: Mapping[Any, frozenset[str]] = {
    ConsentProvider.WAGTAIL_TAG_MANAGER: frozenset({"necessary"}),
    ConsentProvider.COOKIEBOT: frozenset({"necessary"}),
    ConsentProvider.ONETRUST: frozenset({"C0001", "1"}),
    ConsentProvider.COOKIEYES: frozenset({"necessary"}),
}


class EventsField(forms.MultipleChoiceField):
    """The standard events as ticks."""

    widget = forms.CheckboxSelectMultiple

    def __init__(self, **kwargs: Any) -> None:
        choices = [(n, n) for n in (*catalogue.STANDARD_EVENTS, *catalogue.CUSTOM_EVENTS)]
        super().__init__(choices=choices, required=False, **kwargs)


class MatchingFieldsField(forms.MultipleChoiceField):
    """What is told of signed-in visitors as ticks."""

    widget = forms.CheckboxSelectMultiple

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(choices=MatchingField.choices, required=False, **kwargs)


class MetaPixelForm(WagtailAdminModelForm):
    """A pixel with its token. The stored token never enters a page; a blank field keeps it.

    ``for_user`` may change or remove a token only with that right on ``site``. Without, the field
    stands there disabled, and what is posted for it counts for nothing; nor can the row be taken
    away, or given another id, that holds one.
    """

    access_token = forms.CharField(
        label=_("Access token"),
        required=False,
        max_length=1000,
        widget=forms.PasswordInput(render_value=False, attrs={"autocomplete": "new-password"}),
    )
    clear_access_token = forms.BooleanField(label=_("Remove the stored token"), required=False)
    events = EventsField(
        label=_("Events"),
        help_text=_(
            "What this pixel gets. Nothing ticked means everything, custom events of your own too; "
            "these go to no pixel with ticks."
        ),
    )

    def __init__(self, *args: Any, site: Site | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.keeps_token = site is None or not is_allowed(self.for_user, CHANGE_TOKEN, site)
        field = self.fields["access_token"]
        pixel_id = self.instance.pixel_id
        is_fixed = bool(pixel_id) and _is_fixed(pixel_id)
        if is_fixed:
            field.help_text = _("Fixed by the deployment; it cannot be changed here.")
        elif self.keeps_token:
            field.help_text = self._told_to_others()
        elif self.instance.access_token_encrypted:
            field.help_text = _(
                "A token is stored, it ends in %(hint)s. Leave this blank to keep it."
            ) % {"hint": self.instance.access_token_hint}
        else:
            field.help_text = _(
                "From Events Manager > Settings > Conversions API. Not needed for browser only."
            )
        if is_fixed or self.keeps_token:
            field.disabled = self.fields["clear_access_token"].disabled = True
        if not self.instance.access_token_encrypted:
            del self.fields["clear_access_token"]  # there is nothing to remove
        elif self.keeps_token:
            self.fields["pixel_id"].disabled = True

    def _told_to_others(self) -> Any:
        if self.instance.access_token_encrypted:
            return _("A token is stored. You have no right to change it, nor this pixel's id.")
        return _("No token is stored, and you have no right to enter one.")

    def clean_pixel_id(self) -> str:
        """Accept an id with blanks around it."""
        return str(self.cleaned_data["pixel_id"]).strip()

    def clean_access_token(self) -> str:
        """Accept a token with blanks or ``Bearer`` before it; refuse what cannot be one."""
        token = str(self.cleaned_data.get("access_token") or "").strip()
        token = re.sub(_BEARER, "", token, count=1)
        if token and not is_well_formed(token):
            raise forms.ValidationError(
                _("An access token is one line of letters and digits, without blanks or quotes.")
            )
        return token

    def clean_hosts(self) -> str:
        """Accept addresses where host names are asked for, and keep only their host names."""
        lines = str(self.cleaned_data.get("hosts") or "").split()
        hosts = [_host(line) for line in lines]
        if not all(hosts):
            raise forms.ValidationError(_("Write one host name a line, like www.example.com."))
        return "\n".join(dict.fromkeys(hosts))

    def save(self, commit: bool = True) -> MetaPixel:
        """Encrypt a new token, remove it on request, else leave what is stored."""
        if self.cleaned_data.get("clear_access_token"):
            self.instance.set_access_token("")
        elif token := self.cleaned_data.get("access_token"):
            self.instance.set_access_token(token)
        saved: MetaPixel = super().save(commit=commit)
        return saved


def _is_fixed(pixel_id: str) -> bool:
    try:
        return bool(conf.access_token(pixel_id))
    except ConfigurationError:  # check and doctor say what is wrong with it
        return True


def _host(line: str) -> str:
    try:
        name = urlsplit(line if "//" in line else f"//{line}").hostname or ""
        ascii_name = name.encode("idna").decode("ascii")
    except ValueError:
        return ""
    return ascii_name if re.fullmatch(_HOST, ascii_name) else ""


_MATCHING = MetaPixelSettings._meta.get_field("browser_matching")


class MetaPixelSettingsForm(WagtailAdminModelForm):
    """The settings of a site. Consent "not required" needs the owner's word for it."""

    class Media:
        css: ClassVar = {"all": ("wagtail_metapixel/admin.css",)}

    browser_matching = MatchingFieldsField(
        label=capfirst(_MATCHING.verbose_name), help_text=_MATCHING.help_text
    )

    def clean(self) -> dict[str, Any]:
        """Ask for the statement, and fill empty hosts with the site's own."""
        cleaned: dict[str, Any] = super().clean()
        for field, complaint in (*_consent_complaints(cleaned), *_statement_complaints(cleaned)):
            self.add_error(field, complaint)
        by_attribute = cleaned.get("content_id_scheme") == ContentIdScheme.ATTRIBUTE
        # A name that failed its own rule has a complaint already.
        if by_attribute and cleaned.get("content_id_attribute") == "":
            self.add_error("content_id_attribute", _("Name the field that holds the id."))
        by_function = cleaned.get("content_id_scheme") == ContentIdScheme.FUNCTION
        if by_function and not conf.get("CONTENT_ID_FUNCTION"):
            self.add_error(
                "content_id_scheme",
                _("No function is named in the settings (CONTENT_ID_FUNCTION)."),
            )
        return cleaned

    def save(self, commit: bool = True) -> MetaPixelSettings:
        """Give pixels without hosts the site's host name."""
        for form in self.formsets["pixels"].forms:
            if not form.instance.hosts.strip():
                form.instance.hosts = self.instance.site.hostname
        saved: MetaPixelSettings = super().save(commit=commit)
        return saved


def _consent_complaints(cleaned: Mapping[str, Any]) -> Iterable[tuple[str, Any]]:
    provider = cleaned.get("consent_provider")
    # Empty is the tool's usual one; a name that failed its own rule has a complaint already.
    category = cleaned.get("consent_category") or ""
    if category and provider not in USUAL_CATEGORIES:
        yield (
            "consent_category",
            _("Leave this empty: what was chosen above knows no categories."),
        )
    elif category in _ALWAYS_ON.get(provider, frozenset()):
        yield (
            "consent_category",
            _("Nobody is asked about this category, so it says nothing about consent."),
        )
    elif provider == ConsentProvider.COOKIEBOT and category not in _COOKIEBOT_CATEGORIES:
        yield "consent_category", _("Cookiebot has: preferences, statistics, marketing.")
    elif provider == ConsentProvider.TCF and category and not re.fullmatch(_PURPOSES, category):
        yield (
            "consent_category",
            _("Write the numbers of the purposes, 1 to 11, with commas: 1,3,4,7."),
        )
    elif provider != ConsentProvider.TCF and "," in category:
        yield "consent_category", _("Name one category.")
    if provider == ConsentProvider.TCF:
        # An empty field, and not one with a wrong number: that has a complaint already.
        if all(name in cleaned and cleaned[name] is None for name in _TCF_NUMBERS):
            yield (
                "consent_vendor_id",
                _("With TCF one of the two numbers is needed: whom the visitor allows."),
            )
    else:
        for name in _TCF_NUMBERS:
            if cleaned.get(name) is not None:
                yield name, _("Only for IAB TCF v2.")


def _statement_complaints(cleaned: Mapping[str, Any]) -> Iterable[tuple[str, Any]]:
    provider = cleaned.get("consent_provider")
    is_early = cleaned.get("load_before_consent")
    if is_early and provider != ConsentProvider.COOKIE:
        yield "load_before_consent", _("Only with a banner of this site, through our own cookie.")
    if cleaned.get("consent_statement", "").strip():
        return
    if provider == ConsentProvider.NOT_REQUIRED:
        yield "consent_statement", _("Say why visitors of this site need not be asked.")
    elif is_early:
        yield (
            "consent_statement",
            _("Say why Meta's script may be loaded before the visitor agrees."),
        )


class PixelFormSet(BaseChildFormSet):
    """The pixels of a site, each listed once."""

    def get_unique_error_message(self, _unique_check: Sequence[str]) -> str:
        """Say what is listed twice in the words of the page."""
        return gettext("This pixel id is listed twice.")

    def get_form_error(self) -> str:
        """Say it beside the second one too."""
        return gettext("This pixel id is listed twice.")

    def get_form_kwargs(self, index: int | None) -> dict[str, Any]:
        """Tell each pixel's form whose right to its token counts: that on this site."""
        kwargs: dict[str, Any] = super().get_form_kwargs(index)
        return kwargs | {"site": self.instance.site}

    def clean(self) -> None:
        """Refuse to take away a pixel with a token that this user may not remove."""
        super().clean()
        if any(
            form.keeps_token and form.instance.access_token_encrypted for form in self.deleted_forms
        ):
            raise forms.ValidationError(
                gettext("You have no right to remove a pixel whose access token is stored.")
            )


class PixelsPanel(InlinePanel):
    """An inline panel whose rows are :class:`MetaPixelForm`."""

    def get_form_options(self) -> dict[str, Any]:
        """Name the form: Wagtail builds a plain one otherwise, without our token field."""
        options: dict[str, Any] = super().get_form_options()
        options["formsets"][self.relation_name].update(
            form=MetaPixelForm, formset=PixelFormSet, inherit_kwargs=["for_user"]
        )
        return options


def edit_handler() -> TabbedInterface:
    """Return the tabs of the settings page."""
    pixels = PixelsPanel(
        "pixels",
        heading=_("Pixels"),
        label=_("Pixel"),
        panels=[
            FieldPanel("pixel_id"),
            FieldPanel("mode"),
            FieldPanel("access_token"),
            FieldPanel("clear_access_token"),
            FieldPanel("hosts"),
            FieldPanel("events"),
            FieldPanel("active"),
        ],
    )
    consent = MultiFieldPanel(
        [
            FieldPanel("consent_provider"),
            FieldPanel("load_before_consent"),
            FieldPanel("consent_statement"),
            FieldPanel("respect_gpc"),
            FieldPanel("limited_data_use"),
        ],
        heading=_("Consent"),
    )
    consent_tool = MultiFieldPanel(
        [
            FieldPanel("consent_category"),
            FieldPanel("consent_vendor_id"),
            FieldPanel("consent_ac_provider_id"),
        ],
        heading=_("Names in the consent tool"),
    )
    matching = MultiFieldPanel(
        [
            FieldPanel("advanced_matching"),
            FieldPanel("browser_matching"),
            FieldPanel("phone_region"),
        ],
        heading=_("Advanced matching"),
    )
    products = MultiFieldPanel(
        [
            FieldPanel("content_id_scheme"),
            FieldPanel("content_id_attribute"),
            FieldPanel("content_id_prefix"),
        ],
        heading=_("Products"),
    )
    value = MultiFieldPanel(
        [
            FieldPanel("value_includes_tax"),
            FieldPanel("value_includes_shipping"),
            FieldPanel("value_is_after_discounts"),
        ],
        heading=_("Value of an order"),
    )
    page_events = MultiFieldPanel(
        [
            FieldPanel("page_view_mirror"),
            FieldPanel("html_attributes"),
            FieldPanel("single_page"),
            FieldPanel("data_layer"),
            FieldPanel("automatic_events"),
        ],
        heading=_("In the browser"),
    )
    doctor = HelpPanel(
        template="wagtail_metapixel/admin/settings_help.html", heading=_("Is it working?")
    )
    return TabbedInterface(
        [
            ObjectList([doctor, FieldPanel("enabled"), pixels], heading=_("Pixels")),
            ObjectList([consent, consent_tool], heading=_("Consent")),
            ObjectList([products, value], heading=_("Shop")),
            ObjectList([matching, page_events], heading=_("Data")),
        ],
        base_form_class=MetaPixelSettingsForm,
    )
