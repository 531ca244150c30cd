"""Tables, and nothing but tables: settings per site, the outbox, and what stands beside it.

No foreign key leads to ``Page`` (swappable in Wagtail 8), and rows that outlive a site or a pixel
hold its number instead of a key to it.
"""

from __future__ import annotations

import secrets

from django.core.validators import MaxValueValidator, MinValueValidator, RegexValidator
from django.db import models
from django.db.models import Q
from django.db.models.functions import Coalesce, Least, Now
from django.utils import timezone
from django.utils.translation import gettext_lazy as _
from modelcluster.fields import ParentalKey
from modelcluster.models import ClusterableModel
from wagtail.contrib.settings.models import BaseSiteSetting, register_setting
from wagtail.models import Orderable

from wagtail_metapixel import content_ids, keys
from wagtail_metapixel.choices import ConsentProvider, PageViewMirror, PixelMode

PIXEL_ID = RegexValidator(
    r"\A[0-9]{5,20}\Z", _("A pixel id is a number of 5 to 20 digits, without spaces.")
)

ATTRIBUTE = RegexValidator(
    r"\A[A-Za-z][A-Za-z0-9_]*(\.[A-Za-z][A-Za-z0-9_]*)*\Z",
    _("Write the name of a field, like sku or stockrecord.partner_sku."),
)
CONTENT_ID_PREFIX = RegexValidator(
    r"\A[!-~]*\Z", _("Only printable ASCII characters without blanks.")
)
CONSENT_CATEGORY = RegexValidator(
    r"\A[A-Za-z0-9_.,-]*\Z", _("Only letters, digits and _ . - without blanks; TCF: 1,3,4,7.")
)


class ContentIdScheme(models.TextChoices):
    """What a product object is called in ``content_ids`` and ``contents``."""

    #: Its primary key.
    PK = content_ids.PK, _("Its primary key")
    #: An attribute, such as its SKU.
    ATTRIBUTE = content_ids.ATTRIBUTE, _("One of its fields, like the SKU")
    #: A function of the site's own, named in the deployment settings.
    FUNCTION = content_ids.FUNCTION, _("A function of this site")


@register_setting(icon="view")
class MetaPixelSettings(BaseSiteSetting, ClusterableModel):
    """What the owner of one site decided."""

    enabled = models.BooleanField(
        _("send events"),
        default=True,
        help_text=_("Switch off to stop the pixel and the Conversions API for this site."),
    )
    consent_provider = models.CharField(
        _("where consent comes from"),
        max_length=40,
        choices=ConsentProvider.choices,
        default=ConsentProvider.NOT_CHOSEN,
        blank=True,
        help_text=_("Until this is chosen, nothing is loaded, stored or sent."),
    )
    consent_category = models.CharField(
        _("category in the consent tool"),
        max_length=64,
        blank=True,
        default="",
        db_default="",
        validators=[CONSENT_CATEGORY],
        help_text=_(
            "What that tool calls advertising on this site: a category, group or tag type; for TCF "
            "the numbers of the purposes. Left empty, the tool's usual one."
        ),
    )
    consent_vendor_id = models.PositiveIntegerField(
        _("vendor id (TCF)"),
        null=True,
        blank=True,
        validators=[MinValueValidator(1), MaxValueValidator(65535)],
        help_text=_(
            "Meta's number in the IAB Global Vendor List, if it has one. With TCF this or the "
            "number below is needed; without, consent stays unknown and nothing is sent."
        ),
    )
    consent_ac_provider_id = models.PositiveIntegerField(
        _("provider id (additional consent)"),
        null=True,
        blank=True,
        validators=[MinValueValidator(1), MaxValueValidator(999999)],
        help_text=_(
            "Meta's number in Google's list of ad technology providers. With both numbers, the "
            "visitor has to allow both."
        ),
    )
    consent_statement = models.TextField(
        _("why no consent is needed"),
        blank=True,
        help_text=_(
            "Only when consent is not required, or not before the script is loaded: say on what "
            "ground. Kept for the record."
        ),
    )
    load_before_consent = models.BooleanField(
        _("load Meta's script before the answer"),
        default=False,
        db_default=False,
        help_text=_(
            "Meta's script is loaded at once and told to wait; it is given no event before the "
            "visitor agrees. Only with our own cookie, and where no opt-in is needed: say why "
            "below."
        ),
    )
    respect_gpc = models.BooleanField(
        _("treat Global Privacy Control as a refusal"),
        default=True,
        help_text=_(
            "A browser that sends Sec-GPC: 1 opts its visitor out, whatever a banner says."
        ),
    )
    limited_data_use = models.BooleanField(
        _("Limited Data Use"),
        default=False,
        db_default=False,
        help_text=_(
            "Asks Meta with every event to limit the use of its data, as laws of some states of "
            "the US want it. It does not replace consent."
        ),
    )
    advanced_matching = models.BooleanField(
        _("advanced matching"),
        default=False,
        help_text=_(
            "Send e-mail, phone, name and address of an order or form to Meta as SHA-256 hashes, "
            "from the server only. Matches more people; say so in your privacy notice."
        ),
    )
    phone_region = models.CharField(
        _("country of local phone numbers"),
        max_length=2,
        blank=True,
        validators=[RegexValidator(r"\A[A-Z]{2}\Z", _("Two capital letters, like DE."))],
        help_text=_("Two letters, like DE. Numbers without a country code are read as from there."),
    )
    browser_matching = models.JSONField(
        _("fields told by the browser"),
        default=list,
        db_default=models.Value([], models.JSONField()),
        blank=True,
        help_text=_(
            "Of visitors who are signed in and gave their consent: tells these as SHA-256 hashes, "
            "in the browser and from the server. None ticked tells none."
        ),
    )
    automatic_events = models.BooleanField(
        _("Meta's automatic events"),
        default=False,
        db_default=False,
        help_text=_(
            "Lets Meta's script report clicks and read pages by itself. What it reports has no "
            "copy from the server, and no list of events holds it back."
        ),
    )
    page_view_mirror = models.CharField(
        _("page views from the server"),
        max_length=10,
        choices=PageViewMirror.choices,
        default=PageViewMirror.ALL,
        help_text=_("Each page view reported by the server is one row to store and to send."),
    )
    html_attributes = models.BooleanField(
        _("events from HTML attributes"),
        default=False,
        db_default=False,
        help_text=_(
            "For people who write HTML: a link or button with data-metapixel-event tells its event "
            "when it is clicked, a form when it is submitted."
        ),
    )
    single_page = models.BooleanField(
        _("single-page application"),
        default=False,
        db_default=False,
        help_text=_("A change of the address by the page's own script counts as a page view."),
    )
    data_layer = models.BooleanField(
        _("hand events to the tag manager"),
        default=False,
        db_default=False,
        help_text=_(
            "In the browser, events go to window.dataLayer. Meta's script is not loaded: a tag in "
            "your tag manager tells Meta, with the event_id it is given."
        ),
    )
    content_id_scheme = models.CharField(
        _("id of a product"),
        max_length=10,
        choices=ContentIdScheme.choices,
        default=ContentIdScheme.PK,
        db_default=ContentIdScheme.PK,
        help_text=_(
            "Choose what your product catalogue at Meta has in its column id. A product without "
            "one goes by its primary key."
        ),
    )
    content_id_attribute = models.CharField(
        _("field of the id"),
        max_length=100,
        blank=True,
        default="sku",
        db_default="sku",
        validators=[ATTRIBUTE],
        help_text=_("Only for a field: its name, like sku or stockrecord.partner_sku."),
    )
    content_id_prefix = models.CharField(
        _("prefix of the id"),
        max_length=20,
        blank=True,
        default="",
        db_default="",
        validators=[CONTENT_ID_PREFIX],
        help_text=_("Put before each id, if the catalogue has it: shop_ makes shop_17."),
    )
    value_includes_tax = models.BooleanField(
        _("the value includes tax"),
        default=True,
        db_default=True,
        help_text=_(
            "These three count where the shop reports an order's total with its parts. A change "
            "changes what Meta shows as revenue, from the next order on."
        ),
    )
    value_includes_shipping = models.BooleanField(
        _("the value includes shipping"), default=True, db_default=True
    )
    value_is_after_discounts = models.BooleanField(
        _("discounts are taken off the value"), default=True, db_default=True
    )

    class Meta:
        # Beside Django's own four; admin/permissions.py says what each allows.
        permissions = [("change_token_metapixelsettings", "Can change Meta Pixel access tokens")]
        verbose_name = _("Meta Pixel")
        verbose_name_plural = _("Meta Pixel settings")


class MetaPixel(Orderable):
    """One pixel (dataset) of a site: its id, its token, and the hosts it sends for."""

    settings = ParentalKey(MetaPixelSettings, on_delete=models.CASCADE, related_name="pixels")
    pixel_id = models.CharField(
        _("pixel id"),
        max_length=20,
        validators=[PIXEL_ID],
        help_text=_("The number that Events Manager shows as the id of the pixel or dataset."),
    )
    mode = models.CharField(
        _("mode"),
        max_length=10,
        choices=PixelMode.choices,
        default=PixelMode.BOTH,
        db_default=PixelMode.BOTH,
        help_text=_("Who tells Meta: with both, an event that one of them misses still arrives."),
    )
    active = models.BooleanField(_("active"), default=True)
    hosts = models.TextField(
        _("hosts"),
        blank=True,
        help_text=_(
            "One host name a line. Events of any other host are held back, so that a copy of the "
            "site reports nothing. Left empty, it is filled with the site's host name."
        ),
    )
    events = models.JSONField(
        _("events"),
        default=list,
        blank=True,
        help_text=_("The events this pixel gets; none ticked means all."),
    )
    access_token_encrypted = models.BinaryField(null=True, editable=False)
    access_token_hint = models.CharField(max_length=4, blank=True, editable=False)

    class Meta(Orderable.Meta):
        verbose_name = _("pixel")
        verbose_name_plural = _("pixels")
        constraints = [
            models.UniqueConstraint(
                fields=["settings", "pixel_id"],
                name="metapixel_pixel_once_a_site",
                violation_error_message=_("This pixel id is listed twice."),
            )
        ]

    def __str__(self) -> str:
        return self.pixel_id

    def set_access_token(self, token: str) -> None:
        """Keep ``token`` encrypted; an empty one removes what was kept."""
        self.access_token_encrypted = keys.encrypt(token.encode()) if token else None
        self.access_token_hint = token[-4:]

    def stored_access_token(self) -> str:
        """Return the stored token, or ``""`` when there is none or no key opens it."""
        if not self.access_token_encrypted:
            return ""
        return (keys.decrypt(bytes(self.access_token_encrypted)) or b"").decode()


class InstallationKey(models.Model):
    """The one row with the installation key."""

    key = models.BinaryField(max_length=32)
    created_at = models.DateTimeField(default=timezone.now)

    def __str__(self) -> str:
        return "installation key"

    @classmethod
    def ensure(cls, using: str) -> bytes:
        """Return the key, making it where there is none (each ``migrate`` does)."""
        row, _created = cls._default_manager.using(using).get_or_create(
            pk=1, defaults={"key": secrets.token_bytes(32)}
        )
        return bytes(row.key)


class State(models.TextChoices):
    """Where a row of the outbox stands. All but ``pending`` are final."""

    #: Waiting, or leased to a worker right now.
    PENDING = "pending", _("Waiting")
    #: Meta acknowledged it.
    SENT = "sent", _("Sent")
    #: Another row told the same fact.
    DUPLICATE = "duplicate", _("Duplicate")
    #: It breaks one of Meta's rules: found here, or said by Meta.
    REJECTED = "rejected", _("Rejected")
    #: A deadline passed before it could be sent.
    EXPIRED = "expired", _("Expired")
    #: Given up after too many attempts.
    DEAD = "dead", _("Given up")
    #: The visitor took the consent back before it was sent.
    WITHDRAWN = "withdrawn", _("Withdrawn")
    #: Removed on the person's request.
    ERASED = "erased", _("Erased")
    #: Its pixel sends nothing from the server; kept for the echo and the thank-you page.
    BROWSER = "browser", _("Told by the browser alone")


class Twin(models.TextChoices):
    """May the browser have told Meta of this event too?"""

    #: No browser may tell this event, for whatever pixel.
    NO = "no", _("Server only")
    #: This pixel is in no browser; the event may be told there for others.
    PIXEL = "pixel", _("Server only, like its pixel")
    MAYBE = "maybe", _("Browser and server")


class OutboxEvent(models.Model):
    """An event waiting for delivery to one pixel, or the account of what became of it.

    Written by :mod:`wagtail_metapixel.outbox` alone. ``event`` and ``user_data`` are JSON bytes
    that are joined when sent; a final row has an empty ``user_data``, but a rejected one only from
    its deadline on: until then it may be sent after all. The columns of the lease
    stand outside the index that claims, so that taking and releasing a row stays cheap. Outside of
    it, too, is what is ``held`` because it may be a copy, and waits for a person or its deadline.
    ``answers`` has a line for each time Meta did not take the event, the newest at the end.
    """

    site_pk = models.PositiveIntegerField()
    pixel_id = models.CharField(max_length=20)
    event_name = models.CharField(max_length=50)
    event_id = models.CharField(max_length=64)
    host = models.CharField(max_length=253, blank=True)
    event = models.BinaryField()
    user_data = models.BinaryField()
    payload_version = models.PositiveSmallIntegerField(default=1)
    test_event_code = models.CharField(max_length=40, blank=True)
    keyed = models.BooleanField(default=False)
    twin = models.CharField(max_length=5, choices=Twin.choices, default=Twin.NO)
    digests = models.TextField(blank=True)
    consent_proof = models.CharField(max_length=32, blank=True)
    rank = models.PositiveSmallIntegerField(default=50)

    state = models.CharField(max_length=9, choices=State.choices, default=State.PENDING)
    reason = models.CharField(max_length=500, blank=True)
    recorded_at = models.DateTimeField(default=timezone.now)
    due_at = models.DateTimeField(db_default=Now())
    held = models.BooleanField(default=False, db_default=False)
    expires_at = models.DateTimeField()
    twin_expires_at = models.DateTimeField(null=True)
    deadline = models.GeneratedField(
        expression=Least("expires_at", Coalesce("twin_expires_at", "expires_at")),
        output_field=models.DateTimeField(),
        db_persist=True,
    )
    first_unknown_at = models.DateTimeField(null=True)
    attempts = models.PositiveSmallIntegerField(default=0)
    lease_token = models.UUIDField(null=True)
    leased_until = models.DateTimeField(null=True)
    final_at = models.DateTimeField(null=True)
    trace_id = models.CharField(max_length=64, blank=True)
    answers = models.TextField(blank=True, db_default="")

    class Meta:
        verbose_name = _("outbox event")
        verbose_name_plural = _("outbox events")
        indexes = [
            # By pixel, so that a million rows of one that is paused stand in nobody's way.
            models.Index(
                fields=["pixel_id", "rank", "id"],
                condition=Q(state=State.PENDING, held=False),
                name="metapixel_outbox_claim",
            ),
            models.Index(
                fields=["pixel_id", "deadline"],
                condition=Q(state=State.PENDING, held=False),
                name="metapixel_outbox_deadline",
            ),
            models.Index(
                fields=["pixel_id", "deadline"],
                condition=Q(state=State.PENDING, held=True),
                name="metapixel_outbox_held",
            ),
            models.Index(
                fields=["final_at"],
                condition=Q(final_at__isnull=False),
                name="metapixel_outbox_final",
            ),
            models.Index(fields=["event_id"], name="metapixel_outbox_event_id"),
        ]

    def __str__(self) -> str:
        return f"{self.event_name} {self.event_id} for {self.pixel_id}: {self.state}"


class SentKey(models.Model):
    """Which row speaks for a fact that can happen only once. Outlives the rows; not personal."""

    pixel_id = models.CharField(max_length=20)
    event_name = models.CharField(max_length=50)
    event_id = models.CharField(max_length=64)
    row_id = models.BigIntegerField()
    settled = models.BooleanField(default=False)
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["event_id", "pixel_id", "event_name"], name="metapixel_one_row_a_key"
            )
        ]

    def __str__(self) -> str:
        return f"{self.event_name} {self.event_id} for {self.pixel_id}"


class Dataset(models.Model):
    """How Meta answers for one pixel: sending, or paused until when and why. Shared by workers."""

    pixel_id = models.CharField(max_length=20, unique=True)
    paused_until = models.DateTimeField(null=True)
    pause_reason = models.CharField(max_length=500, blank=True)
    probing = models.BooleanField(default=False)
    failures = models.PositiveIntegerField(default=0)
    last_accepted_at = models.DateTimeField(null=True)

    def __str__(self) -> str:
        return self.pixel_id


class Delivery(models.Model):
    """The one row by which deliverers know the database again, and may be kept from sending."""

    fingerprint = models.CharField(max_length=64)
    seen_at = models.DateTimeField(default=timezone.now)
    held_since = models.DateTimeField(null=True)
    held_reason = models.CharField(max_length=500, blank=True)

    def __str__(self) -> str:
        return self.held_reason or "delivery"


class VisitorRecord(models.Model):
    """The visitor kept with a cart or order, encrypted, for work that has no request.

    Appended to, never replaced, so that a checkout waits for nobody; the newest row counts.
    """

    key_digest = models.CharField(max_length=24)
    site_pk = models.PositiveIntegerField()
    data = models.BinaryField()
    digests = models.TextField(blank=True)
    recorded_at = models.DateTimeField(default=timezone.now)
    expires_at = models.DateTimeField()

    class Meta:
        indexes = [
            models.Index(fields=["key_digest", "id"], name="metapixel_visitor_key"),
            models.Index(fields=["expires_at"], name="metapixel_visitor_expiry"),
        ]

    def __str__(self) -> str:
        return f"visitor of {self.key_digest}"


class WithheldOrder(models.Model):
    """A fact was reported while nobody had answered yet. Says when, and nothing of the person.

    What a grant on the thank-you page needs to complete it. Appended to, never replaced.
    """

    event_id = models.CharField(max_length=64)
    site_pk = models.PositiveIntegerField()
    happened_at = models.DateTimeField()
    withheld_at = models.DateTimeField(default=timezone.now)

    class Meta:
        indexes = [models.Index(fields=["event_id"], name="metapixel_withheld_order")]

    def __str__(self) -> str:
        return self.event_id


class AnsweredTicket(models.Model):
    """A thank-you page already got its event: the second asker gets nothing."""

    event_id = models.CharField(max_length=64, unique=True)
    answered_at = models.DateTimeField(default=timezone.now)

    def __str__(self) -> str:
        return self.event_id


class Withdrawal(models.Model):
    """From this moment nothing recorded earlier for this digest is sent."""

    digest = models.CharField(max_length=24)
    withdrawn_at = models.DateTimeField(default=timezone.now)

    class Meta:
        indexes = [models.Index(fields=["digest"], name="metapixel_withdrawal")]

    def __str__(self) -> str:
        return self.digest


class ConsentProof(models.Model):
    """That a choice was made, when, and in which tool. Names nobody."""

    proof_id = models.CharField(max_length=32, unique=True)
    site_pk = models.PositiveIntegerField()
    choice = models.CharField(max_length=12)
    tool = models.CharField(max_length=40)
    text_version = models.CharField(max_length=40, blank=True)
    given_at = models.DateTimeField(default=timezone.now)

    def __str__(self) -> str:
        return f"{self.choice} {self.proof_id}"


class Counter(models.Model):
    """How often something happened on a day: kept in memory, added here by the driver."""

    day = models.DateField()
    site_pk = models.PositiveIntegerField(default=0)
    kind = models.CharField(max_length=12)
    event_name = models.CharField(max_length=50, blank=True)
    reason = models.CharField(max_length=250, blank=True)
    count = models.PositiveBigIntegerField(default=0)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["day", "site_pk", "kind", "event_name", "reason"],
                name="metapixel_counter_once_a_day",
            )
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.event_name} {self.reason}: {self.count}"
