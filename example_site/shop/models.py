"""The shop's pages, carts and orders."""

from __future__ import annotations

import uuid
from decimal import Decimal

from django.conf import settings
from django.db import models
from django.utils import timezone
from django.utils.crypto import get_random_string
from modelcluster.fields import ParentalKey
from wagtail.admin.panels import FieldPanel, FieldRowPanel, InlinePanel, MultiFieldPanel
from wagtail.contrib.forms.models import AbstractEmailForm, AbstractFormField
from wagtail.fields import RichTextField
from wagtail.models import Page
from wagtail.search import index

from wagtail_metapixel.tracking import track

CURRENCY = "EUR"
SHIPPING = Decimal("4.90")
FREE_SHIPPING_FROM = Decimal("60.00")


# Pages


class HomePage(Page):
    """The front page: a picture, a sentence, the categories and everything on the shelves."""

    claim = models.CharField(max_length=80)
    intro = models.TextField(max_length=300)

    content_panels = [*Page.content_panels, FieldPanel("claim"), FieldPanel("intro")]
    max_count = 1
    subpage_types = ["shop.CategoryPage", "shop.ContactPage", "shop.TextPage"]

    def get_context(self, request, *args, **kwargs):
        context = super().get_context(request, *args, **kwargs)
        context["categories"] = CategoryPage.objects.child_of(self).live()
        return context


class CategoryPage(Page):
    """A shelf of products."""

    intro = models.TextField(max_length=300)

    content_panels = [*Page.content_panels, FieldPanel("intro")]
    parent_page_types = ["shop.HomePage"]
    subpage_types = ["shop.ProductPage"]

    def products(self):
        return ProductPage.objects.child_of(self).live()

    def pictures(self):
        """The first two products, whose pictures stand for the category."""
        return self.products()[:2]


class ProductPage(Page):
    """One thing for sale."""

    sku = models.CharField("article number", max_length=20, unique=True)
    price = models.DecimalField("price in EUR, with VAT", max_digits=7, decimal_places=2)
    lead = models.CharField("in one sentence", max_length=160)
    description = models.TextField()
    facts = models.TextField(
        blank=True, help_text="One a line, the name before a colon: Volume: 350 ml"
    )
    picture = models.CharField(
        max_length=60, help_text="Name of an SVG file in static/shop/pictures, without .svg"
    )
    picture_text = models.CharField(
        "what the picture shows", max_length=160, help_text="For those who cannot see it."
    )

    content_panels = [
        *Page.content_panels,
        MultiFieldPanel([FieldPanel("sku"), FieldPanel("price")], heading="Article"),
        FieldPanel("lead"),
        FieldPanel("description"),
        FieldPanel("facts"),
        MultiFieldPanel([FieldPanel("picture"), FieldPanel("picture_text")], heading="Picture"),
    ]
    search_fields = [
        *Page.search_fields,
        index.AutocompleteField("lead"),
        index.AutocompleteField("description"),
    ]
    parent_page_types = ["shop.CategoryPage"]
    subpage_types = []

    def get_context(self, request, *args, **kwargs):
        context = super().get_context(request, *args, **kwargs)
        context["category"] = self.get_parent()
        return context

    @property
    def picture_file(self):
        return f"shop/pictures/{self.picture}.svg"

    def fact_pairs(self):
        pairs = (line.partition(":") for line in self.facts.splitlines() if ":" in line)
        return [(name.strip(), fact.strip()) for name, _colon, fact in pairs]

    def neighbours(self):
        """Three other products, those of the same shelf first."""
        others = ProductPage.objects.live().exclude(pk=self.pk)
        shelf = [*others.sibling_of(self)[:3]]
        return [*shelf, *others.not_sibling_of(self)[: 3 - len(shelf)]]

    def contents(self, quantity=1):
        """This product the way Meta's ``contents`` wants it."""
        return [{"id": self.sku, "quantity": quantity, "item_price": self.price}]


class TextPage(Page):
    """Privacy notice, delivery terms and the like."""

    body = RichTextField(features=["h2", "h3", "bold", "italic", "link", "ul", "ol"])

    content_panels = [*Page.content_panels, FieldPanel("body")]
    subpage_types = []


class ContactField(AbstractFormField):
    """One field of the contact form."""

    page = ParentalKey("ContactPage", on_delete=models.CASCADE, related_name="form_fields")


class ContactPage(AbstractEmailForm):
    """A form that is mailed to the shop, and that is a Lead for Meta."""

    intro = models.TextField(blank=True)
    thanks = models.TextField("text after sending", blank=True)

    content_panels = [
        *AbstractEmailForm.content_panels,
        FieldPanel("intro"),
        InlinePanel("form_fields", label="Fields"),
        FieldPanel("thanks"),
        MultiFieldPanel(
            [
                FieldRowPanel([FieldPanel("from_address"), FieldPanel("to_address")]),
                FieldPanel("subject"),
            ],
            heading="E-mail",
        ),
    ]
    subpage_types = []

    def render_landing_page(self, request, form_submission=None, *args, **kwargs):
        # The editor's preview comes by here too, without a submission.
        if form_submission is not None:
            track(
                "Lead",
                request,
                key=form_submission,
                content_name=self.title,
                user_data={"email": self.email_in(form_submission)},
            )
        return super().render_landing_page(request, form_submission, *args, **kwargs)

    def email_in(self, form_submission):
        """The sender's address: what stands in the first field of the type e-mail, or ""."""
        fields = (field for field in self.get_form_fields() if field.field_type == "email")
        field = next(iter(fields), None)
        return form_submission.form_data.get(field.clean_name, "") if field else ""


# Carts and orders


class Cart(models.Model):
    """What a shopper picked. The session holds its id; an order closes it."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    created_at = models.DateTimeField(default=timezone.now)

    def __str__(self):
        return f"cart {self.pk}"


class CartLine(models.Model):
    """One product of a cart, and how many of it."""

    cart = models.ForeignKey(Cart, on_delete=models.CASCADE, related_name="lines")
    product = models.ForeignKey(ProductPage, on_delete=models.CASCADE, related_name="+")
    quantity = models.PositiveSmallIntegerField(default=1)

    class Meta:
        ordering = ["pk"]
        constraints = [
            models.UniqueConstraint(fields=["cart", "product"], name="one_line_a_product")
        ]

    def __str__(self):
        return f"{self.quantity} x {self.product_id}"

    @property
    def total(self):
        return self.quantity * self.product.price


class Country(models.TextChoices):
    """Where the shop delivers to."""

    AT = "AT", "Austria"
    BE = "BE", "Belgium"
    DK = "DK", "Denmark"
    FR = "FR", "France"
    DE = "DE", "Germany"
    IE = "IE", "Ireland"
    IT = "IT", "Italy"
    NL = "NL", "Netherlands"
    ES = "ES", "Spain"
    SE = "SE", "Sweden"


class PaymentMethod(models.TextChoices):
    """How an order can be paid."""

    CARD = "card", "Card"
    ACCOUNT = "account", "Bank account"


def new_number():
    """Return an order number that tells nobody how many orders there are: LS-4K7M92QX."""
    return "LS-" + get_random_string(8, "23456789ABCDEFGHJKLMNPQRSTUVWXYZ")


class Order(models.Model):
    """An order, placed when it is created and paid when the bank has said so."""

    number = models.CharField(default=new_number, max_length=12, unique=True, editable=False)
    token = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    cart = models.OneToOneField(Cart, on_delete=models.PROTECT, related_name="order")
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.SET_NULL,
        null=True,
        blank=True,
        related_name="orders",
    )
    placed_at = models.DateTimeField(default=timezone.now)
    paid_at = models.DateTimeField(null=True, blank=True)
    payment_method = models.CharField(max_length=10, choices=PaymentMethod.choices, blank=True)
    shipping = models.DecimalField(max_digits=7, decimal_places=2)
    total = models.DecimalField(max_digits=9, decimal_places=2)

    email = models.EmailField("e-mail")
    phone = models.CharField("phone", max_length=30, blank=True)
    first_name = models.CharField("first name", max_length=60)
    last_name = models.CharField("last name", max_length=60)
    street = models.CharField("street and number", max_length=120)
    zip = models.CharField("postal code", max_length=12)
    city = models.CharField("town", max_length=80)
    country = models.CharField(max_length=2, choices=Country.choices, default=Country.DE)

    class Meta:
        ordering = ["-placed_at"]

    def __str__(self):
        return self.number

    @property
    def is_paid(self):
        return self.paid_at is not None

    @property
    def goods_total(self):
        return self.total - self.shipping

    def contents(self):
        """The lines the way Meta's ``contents`` wants them."""
        return [
            {"id": line.sku, "quantity": line.quantity, "item_price": line.price}
            for line in self.lines.all()
        ]

    def person(self):
        """The buyer the way Meta's ``user_data`` wants it. Hashed before it is stored or sent."""
        names = ["email", "phone", "first_name", "last_name", "city", "zip", "country"]
        return {name: getattr(self, name) for name in names}


class OrderLine(models.Model):
    """One line of an order, with the name and price of the day it was placed."""

    order = models.ForeignKey(Order, on_delete=models.CASCADE, related_name="lines")
    sku = models.CharField(max_length=20)
    title = models.CharField(max_length=255)
    price = models.DecimalField(max_digits=7, decimal_places=2)
    quantity = models.PositiveSmallIntegerField()

    class Meta:
        ordering = ["pk"]

    def __str__(self):
        return f"{self.quantity} x {self.sku}"

    @property
    def total(self):
        return self.quantity * self.price
