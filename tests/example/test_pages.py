from __future__ import annotations

import re
from html.parser import HTMLParser

import pytest
from django.contrib.staticfiles import finders
from shop.models import ProductPage

from tests.example import flow
from wagtail_metapixel.models import MetaPixelSettings

pytestmark = pytest.mark.django_db

PAGES = [
    "/",
    "/crockery/",
    "/pantry/",
    "/linen-and-light/",
    "/crockery/mueritz-breakfast-bowl/",
    "/pantry/tea-and-biscuits/",
    "/search/",
    "/search/?q=honey",
    "/search/?q=spaceship",
    "/delivery/",
    "/privacy/",
    "/contact/",
    "/cart/",
    "/account/sign-in/",
    "/account/register/",
]


class Tags(HTMLParser):
    """All start tags of a page, with their attributes."""

    def __init__(self, text):
        super().__init__()
        self.tags = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))


def named(response, walk):
    tags = Tags(response.content.decode()).tags
    return [attrs for _tag, attrs in tags if attrs.get("data-walk") == walk]


@pytest.mark.parametrize("address", PAGES)
def test_page_is_served(shopper, address):
    response = shopper.get(address)

    assert response.status_code == 200
    assert len(re.findall("<h1", response.content.decode())) == 1


@pytest.mark.parametrize("address", PAGES)
def test_page_has_nothing_that_the_content_security_policy_forbids(shopper, address):
    response = shopper.get(address)

    policy = response["Content-Security-Policy"]
    assert "style-src 'self'" in policy
    assert "unsafe-" not in policy
    for tag, attributes in Tags(response.content.decode()).tags:
        assert tag != "style"
        assert "style" not in attributes
        assert not [name for name in attributes if name.startswith("on")]
        if tag == "script":
            assert "src" in attributes or attributes["type"] == "application/json"


def test_every_product_has_a_page_and_a_picture(shopper):
    products = ProductPage.objects.live()

    assert products.count() == 9
    for each in products:
        assert shopper.get(each.url).status_code == 200
        assert finders.find(each.picture_file)


@pytest.mark.parametrize(
    "address", ["/", "/pantry/", "/pantry/tea-and-biscuits/", "/search/?q=tea", "/cart/"]
)
def test_a_hostile_product_name_stays_text(shopper, address):
    flow.add(shopper, "LS-201")

    page = shopper.get(address).content.decode()

    assert "Tea &amp; Biscuits &lt;/script&gt; &quot;Set&quot;" in page
    assert "Biscuits </script>" not in page


def test_product_page_declares_what_is_seen(shopper):
    page = shopper.get("/crockery/mueritz-breakfast-bowl/").content.decode()

    assert "data-metapixel-event" in page
    assert '"event_name":"ViewContent"' in page
    assert "LS-101" in page


def test_page_without_any_pixel_is_served_as_ever(shopper):
    MetaPixelSettings.objects.all().delete()

    for address in PAGES:
        assert shopper.get(address).status_code == 200


@pytest.mark.parametrize("query", ["honey", "HONEY", "hon", "LS-202", "lüneburg", "bees heather"])
def test_search_finds_the_honey(shopper, query):
    response = shopper.get("/search/", {"q": query})

    assert "Lüneburg Heath Honey" in [each.title for each in response.context["products"]]


@pytest.mark.parametrize("query", ["spaceship", '"', '<"#', "' OR 1=1", "NEAR(", "*", "-", "   "])
def test_search_without_a_result_says_so(shopper, query):
    response = shopper.get("/search/", {"q": query})

    assert response.status_code == 200
    assert b"product-link" not in response.content


def test_search_reports_the_words_once_something_was_searched_for(shopper):
    assert '"event_name":"Search"' in shopper.get("/search/?q=honey").content.decode()
    assert '"event_name":"Search"' not in shopper.get("/search/").content.decode()


@pytest.mark.parametrize("address", ["/nothing/", "/pay/", "/pay/not-a-payment/"])
def test_shop_does_not_serve_what_is_not_the_shops(shopper, address):
    assert shopper.get(address).status_code == 404


@pytest.mark.parametrize("address", ["/", "/cart/", "/checkout/", "/admin/", "/metapixel/collect/"])
def test_payment_host_serves_nothing_of_the_shop(bank, address):
    response = bank.get(address)

    assert response.status_code == 404
    assert b"Linden" not in response.content


def test_shop_does_not_serve_a_payment(shopper):
    payment = flow.order_payment(shopper)

    assert shopper.get(f"/pay/{payment.token}/").status_code == 404


def test_bank_knows_nothing_of_meta(shopper, bank):
    payment = flow.order_payment(shopper)

    response = bank.get(f"/pay/{payment.token}/")

    assert response.status_code == 200
    assert "facebook" not in response["Content-Security-Policy"]
    assert b"metapixel" not in response.content


def test_banner_offers_both_answers_alike_and_the_footer_takes_them_back(shopper):
    page = shopper.get("/")

    [accept], [refuse] = named(page, "consent-accept"), named(page, "consent-refuse")
    [withdraw] = named(page, "consent-withdraw")
    assert accept["class"] == refuse["class"]
    assert accept["data-metapixel-consent"] == "grant"
    assert refuse["data-metapixel-consent"] == "deny"
    assert withdraw["data-metapixel-consent"] == "withdraw"
