"""A shopper in Chromium: every step of a walk through the shop, and what each has to tell Meta."""

from __future__ import annotations

import hashlib
import hmac
import json
import re
import secrets
import time
import urllib.request
from collections import Counter
from datetime import datetime, timedelta
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

from walking.verdict import Expected

CLICK_ID = "IwAR0MixedCase_AbC-123"
UUID = re.compile(r"[0-9a-f-]{36}")

SHOP_ZONE = ZoneInfo("Europe/Berlin")
SECONDS_FOR_A_STEP = 15
SECONDS_ONCE_DISAPPOINTED = 2
SECONDS_FOR_LATECOMERS = 2

ADDRESS = {
    "phone": "030 1234567",
    "first_name": "Jana",
    "last_name": "Müller",
    "street": "Am Alten Hafen 7",
    "zip": "18439",
    "city": "Stralsund",
}


def seconds_across_midnight(now, seconds_before=60):
    """How long to wait so that the next minute lies in one day: nearly always 0."""
    midnight = (now + timedelta(days=1)).replace(hour=0, minute=0, second=0, microsecond=0)
    left = (midnight - now).total_seconds()
    return left + 1 if left < seconds_before else 0


class Shopper:
    """One visitor with a browser context of their own.

    ``expected`` grows with every step taken after consent was given, ``troubles`` are sentences
    about what a page complained of, ``bodies`` the pages as they came, as bytes by path. ``tell``
    is called with each step, in words; ``screenshots`` is a folder for pictures of the pages;
    ``patience`` are the seconds spent at most on a page until everything has arrived.
    """

    def __init__(
        self,
        context,
        shop,
        sandbox,
        internet,
        *,
        tell=None,
        screenshots=None,
        patience=SECONDS_FOR_A_STEP,
    ):
        self.page = context.new_page()
        self.expected = []
        self.troubles = []
        self.bodies = {}
        self.granted = False
        self.order_number = ""
        self.payment = ""
        self.confirmation_page = ""
        self.email = f"jana.{secrets.token_hex(4)}@example.com"
        self._shop = shop
        self._sandbox = sandbox
        self._internet = internet
        self._tell = tell or (lambda _text: None)
        self._screenshots = screenshots
        self._pictures = 0
        self._of_this_page = []
        self._patience = patience
        self.page.on("console", self._on_console)
        self.page.on("pageerror", lambda error: self._trouble(f"error in a page: {error}"))
        self.page.on("response", self._on_response)

    # The walk

    def walk(self):
        """Do everything the shop offers, once."""
        self.arrive()
        self.open_shelf()
        self.open_product()
        self.accept()
        self.search("biscuits")  # whose name would break careless HTML
        self.open_product()
        self.add_to_cart()
        self.open_cart()
        self.check_out()
        self.reload()  # the checkout begins once, however often its page is loaded
        self.place_order()
        self.choose_payment()
        self.pay()
        self.return_to_shop()
        self.reload()
        self.hear_of_the_payment_again()
        self.write()
        self.register()
        # What comes twice may come late.
        self.wait(SECONDS_FOR_LATECOMERS)

    def arrive(self):
        """Come from an advertisement."""
        self._tell("arrives from an advertisement, with a click id")
        self._load(self.page.goto, f"{self._shop.url}/?fbclid={CLICK_ID}")
        self._arrived()

    def open_shelf(self):
        self._tell("looks at a shelf")
        self.follow("category-link")

    def open_product(self):
        self._tell("looks at a product")
        self._load(self.find("product-link").click)
        self._arrived(self._product_event("ViewContent"))

    def accept(self):
        """Answer the banner with yes: from now on, starting with this page, Meta hears of it."""
        self._nothing_so_far()
        self._tell("accepts the banner")
        self.find("consent-accept").click()
        self.page.locator("html[data-metapixel-consent=granted]").wait_for()
        self.granted = True
        self.expected += self._of_this_page
        self._linger()

    def refuse(self):
        self._tell("refuses the banner")
        self.find("consent-refuse").click()
        self.page.locator("html[data-metapixel-consent=denied]").wait_for()

    def withdraw(self):
        """Take the consent back, with the link in the footer."""
        self._tell("takes the consent back")
        self.find("consent-withdraw").click()
        self.page.locator("html[data-metapixel-consent=denied]").wait_for()
        self.granted = False

    def search(self, words):
        self._tell(f"searches for {words}")
        self.find("search-input").fill(words)
        self._load(self.find("search-submit").click)
        self._arrived(Expected("Search", "/search/", {"search_string": words}))

    def add_to_cart(self):
        """Add the product by htmx. That the page is loaded anew would be a trouble."""
        self._tell("puts it into the cart, without leaving the page")
        self.page.evaluate("window.stillTheSamePage = true")
        self.find("add-to-cart").click()
        self.page.locator("#added > *").wait_for()
        if not self.page.evaluate("window.stillTheSamePage === true"):
            self._trouble("putting a product into the cart loaded a page")
        self._did(self._product_event("AddToCart"))

    def open_cart(self):
        self._tell("looks into the cart")
        self.follow("cart-link")

    def check_out(self):
        self._tell("goes to the checkout, as a guest")
        # A checkout that is loaded again is the same one until the shop's day ends.
        time.sleep(seconds_across_midnight(datetime.now(SHOP_ZONE)))
        self._load(self.find("checkout-link").click)
        self._total = amount_in(self.find("place-order").inner_text())
        self._arrived(Expected("InitiateCheckout", "", {"value": self._total}))

    def place_order(self):
        self._tell("enters the address and places the order")
        form = self.find("checkout-form")
        for name, text in {**ADDRESS, "email": self.email}.items():
            form.locator(f"[name={name}]").fill(text)
        self.follow("place-order")
        self.confirmation_page = self.page.url.replace("/payment/", "/thanks/")

    def choose_payment(self):
        """Choose, and go to the bank, where the shop's pages cannot see anything."""
        self._tell("chooses how to pay")
        self.find("payment-method").check()
        self._load(self.find("choose-payment").click)
        self.payment = urlsplit(self.page.url).path.strip("/").split("/")[-1]
        self._picture()
        self._did(Expected("AddPaymentInfo", "", {"value": self._total}), linger=False)

    def go_to_the_bank(self):
        """From a product's page: put it into the cart, order, and choose how to pay."""
        self.add_to_cart()
        self.open_cart()
        self.check_out()
        self.place_order()
        self.choose_payment()

    def pay(self):
        self._tell("pays at the bank, on another host")
        self._load(self.find("pay").click)
        self._picture()

    def return_to_shop(self):
        """Come back by a form that the bank's page posts to the shop, another site."""
        self._tell("comes back to the confirmation page")
        self._load(self.find("return-to-shop").click)
        self.order_number = self.find("order-number").inner_text()
        parameters = {"value": self._total, "order_id": self.order_number}
        self._arrived(Expected("Purchase", "", parameters))

    def reload(self):
        self._tell("reloads the page")
        self._load(self.page.reload)
        self._arrived()

    def hear_of_the_payment_again(self):
        """The bank sends its webhook once more, and the shop tells the purchase once more.

        That is for the package to notice: Meta may not hear of it again.
        """
        self._tell("(the bank sends its webhook a second time)")
        status = deliver_webhook(self._shop, self.payment, self.order_number, self._total)
        if status != 204:
            self._trouble(f"the shop answered the second webhook with {status}")

    def write(self):
        """Send the contact form, which is a page of Wagtail's."""
        self._tell("writes to the shop")
        self._load(self.page.goto, f"{self._shop.url}/contact/")
        self._arrived()
        form = self.find("contact-form")
        form.locator("input[type=text]").first.fill("Jana Müller")
        form.locator("input[type=email]").fill(self.email)
        form.locator("textarea").fill("Is the blanket washable?")
        self._load(self.find("contact-submit").click)
        self._arrived(Expected("Lead"))

    def register(self):
        self._tell("creates an account")
        self._load(self.page.goto, f"{self._shop.url}/account/register/")
        self._arrived()
        form = self.find("register-form")
        form.locator("[name=first_name]").fill("Jana")
        form.locator("[name=email]").fill(self.email)
        form.locator("[name=password]").fill(secrets.token_urlsafe(12))
        self._load(self.find("register-submit").click)
        self._arrived(Expected("CompleteRegistration"))

    # What a step is made of

    def find(self, name):
        """The elements that the shop's templates mark with ``data-walk``; the first where it acts."""
        return self.page.locator(f"[data-walk={name}]").first

    def follow(self, name):
        """Press what is marked ``name``, and read the page it leads to."""
        self._load(self.find(name).click)
        self._arrived()

    def wait(self, seconds):
        """Wait while the browser goes on. ``time.sleep`` would stop what answers it, too."""
        self.page.wait_for_timeout(seconds * 1000)

    def wait_until(self, true, seconds):
        """Wait until ``true()`` is, but not longer than ``seconds``. Returns whether it is."""
        deadline = time.monotonic() + seconds
        while not true():
            if time.monotonic() > deadline:
                return False
            self.wait(0.05)
        return True

    def cookies(self):
        """The cookies of the shop's host by name."""
        return {each["name"]: each["value"] for each in self.page.context.cookies(self._shop.url)}

    def is_paid(self):
        """Whether the confirmation page says that the payment has arrived."""
        return self.find("payment-status").get_attribute("data-paid") == "yes"

    def asked_of_meta(self):
        """The addresses of Meta's that pages asked for."""
        return list(self._internet.asked)

    def events(self):
        """What the sandbox knows of this visitor; not of others, nor of a run before."""
        mine = self.cookies().get("_fbp")
        return [
            event
            for event in self._sandbox.events()
            if any(copy["user_data"].get("fbp") == mine for copy in event["copies"])
        ]

    def all_troubles(self):
        """Everything that went wrong besides the events."""
        unexpected = self._internet.unexpected
        return [*self.troubles, *(f"unexpected traffic: {each}" for each in unexpected)]

    def _load(self, act, *args):
        """Do what loads a page, and keep the page as it came."""
        with self.page.expect_navigation() as navigation:
            act(*args)
        answer = navigation.value
        self.bodies[urlsplit(answer.url).path] = answer.body()

    def _arrived(self, *events):
        """Note what a page that was just loaded has to tell, and wait until it has."""
        page_view = Expected("PageView", urlsplit(self.page.url).path)
        self._of_this_page = [page_view, *events]
        self._picture()
        if self.granted:
            self.expected += self._of_this_page
        self._linger()

    def _did(self, event, *, linger=True):
        if self.granted:
            self.expected.append(event)
        if linger:
            self._linger()

    def _product_event(self, name):
        title = self.page.locator("main h1").inner_text()
        price = amount_in(self.page.locator("main .price-big").inner_text())
        parameters = {"content_name": title, "value": price}
        return Expected(name, urlsplit(self.page.url).path, parameters)

    def _linger(self):
        """Stay, as people do, until both copies of everything have arrived. Not for ever."""
        if self.granted and not self.wait_until(self._all_arrived, self._patience):
            # The verdict will say what is missing; the rest of the walk need not take long.
            self._patience = min(self._patience, SECONDS_ONCE_DISAPPOINTED)

    def _all_arrived(self):
        arrived = Counter(
            event["event_name"] for event in self.events() if event["status"] == "deduplicated"
        )
        return Counter(event.name for event in self.expected) <= arrived

    def _nothing_so_far(self):
        """Before the banner is answered, Meta must not have heard of this visitor."""
        if self._internet.asked:
            self._trouble(f"before consent, a page asked for {self._internet.asked[0]}")
        early = [name for name in self.cookies() if name.startswith(("_fb", "metapixel_"))]
        if early:
            self._trouble(f"before consent, there was a cookie {', '.join(early)}")

    def _picture(self):
        if self._screenshots is None:
            return
        self._pictures += 1
        words = [
            word for word in urlsplit(self.page.url).path.split("/") if not UUID.fullmatch(word)
        ]
        name = "-".join(filter(None, words))
        path = self._screenshots / f"{self._pictures:02}-{name or 'home'}.png"
        self.page.screenshot(path=path, full_page=True)

    # What pages complain of

    def _trouble(self, text):
        self.troubles.append(text)

    def _on_console(self, message):
        # Violations of the Content Security Policy are told here too.
        if message.type == "error":
            self._trouble(f"a page complained: {message.text}")

    def _on_response(self, response):
        if response.status >= 400:
            self._trouble(f"{response.status} for {response.request.method} {response.url}")


def amount_in(text):
    """The first amount in a text of the shop's: "41.40" of "Order now for €41.40"."""
    return re.search(r"€([\d,]+\.\d\d)", text)[1].replace(",", "")


def deliver_webhook(shop, payment, order_number, amount):
    """Tell the shop, as the bank does, that an order was paid. Returns the status of the answer."""
    message = {
        "type": "payment.paid",
        "payment": payment,
        "reference": order_number,
        "amount": amount,
        "currency": "EUR",
    }
    body = json.dumps(message).encode()
    signature = hmac.new(shop.webhook_secret.encode(), body, hashlib.sha256).hexdigest()
    headers = {"Content-Type": "application/json", "Payment-Signature": signature}
    request = urllib.request.Request(f"{shop.url}/payments/webhook/", body, headers)
    with urllib.request.urlopen(request, timeout=10) as answer:
        return answer.status
