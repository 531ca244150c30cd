from __future__ import annotations

import json
import threading
from datetime import date
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from django.contrib.auth.models import AnonymousUser
from django.test import Client
from payment import webhooks
from payment.models import Payment
from shop import orders
from shop.forms import CheckoutForm
from shop.models import Cart, Order

from tests.example import flow
from wagtail_metapixel import graph_api
from wagtail_metapixel.delivery import deliver_due
from wagtail_metapixel.models import OutboxEvent, State
from wagtail_metapixel.sandbox.server import SandboxServer

pytestmark = pytest.mark.django_db


@pytest.fixture
def sandbox(settings):
    """A stand-in for Meta of the test's own, to which ``deliver_due`` sends."""
    deployed = settings.WAGTAIL_METAPIXEL
    with SandboxServer(pixels=deployed["ACCESS_TOKENS"]) as server:
        settings.WAGTAIL_METAPIXEL = deployed | {"SANDBOX": server.url}
        yield server
        graph_api.close()


def reported(event_name):
    return OutboxEvent.objects.filter(event_name=event_name)


def test_guest_goes_from_the_shelf_to_a_paid_order(shopper, bank, told):
    flow.grant(shopper)
    flow.add(shopper, "LS-201", 2)
    assert shopper.get("/checkout/").status_code == 200
    choice = flow.place_order(shopper)
    order = flow.the_order()
    assert choice.url == f"/checkout/payment/{order.token}/"
    assert shopper.get(choice.url).status_code == 200

    to_the_bank = shopper.post(choice.url, {"method": "account"})
    payment = Payment.objects.get()
    assert to_the_bank.url == f"http://localhost:8000/pay/{payment.token}/"
    page = bank.get(f"/pay/{payment.token}/")
    assert b"44.70" in page.content
    bank.post(f"/pay/{payment.token}/")
    assert f"/checkout/return/{order.token}/".encode() in bank.get(f"/pay/{payment.token}/").content
    assert told == [payment]

    waiting = shopper.get(f"/checkout/thanks/{order.token}/")
    assert b'data-paid="no"' in waiting.content
    assert flow.deliver(bank_to_shop(), payment).status_code == 204

    thanks = shopper.get(f"/checkout/thanks/{order.token}/")
    assert b'data-paid="yes"' in thanks.content
    assert order.number.encode() in thanks.content
    assert b"data-metapixel-ticket" in thanks.content
    assert "no-store" in thanks["Cache-Control"]
    names = OutboxEvent.objects.order_by("pk").values_list("event_name", flat=True)
    assert list(names) == ["AddToCart", "InitiateCheckout", "AddPaymentInfo", "Purchase"]


def bank_to_shop():
    """The bank's server: it comes to the shop without any cookie."""
    return Client(HTTP_HOST="127.0.0.1:8000", enforce_csrf_checks=True)


def test_order_keeps_what_was_bought_and_what_it_cost(shopper):
    flow.add(shopper, "LS-201", 2)
    flow.place_order(shopper)

    order = flow.the_order()
    bought = flow.product("LS-201")
    bought.price = Decimal(99)
    bought.save()

    assert order.shipping == Decimal("4.90")
    assert order.total == Decimal("44.70")
    assert order.contents() == [{"id": "LS-201", "quantity": 2, "item_price": Decimal("19.90")}]
    assert order.user is None


def test_big_order_is_delivered_for_free(shopper):
    flow.add(shopper, "LS-303")
    flow.place_order(shopper)

    assert flow.the_order().total == Decimal("139.00")


def test_error_stands_beside_its_field(shopper):
    flow.add(shopper)

    page = flow.place_order(shopper, email="nobody", city="")

    assert page.status_code == 200
    assert set(page.context["form"].errors) == {"email", "city"}
    assert b'aria-invalid="true"' in page.content
    assert not Order.objects.exists()


def test_second_click_on_the_button_places_no_second_order(shopper):
    flow.add(shopper)

    assert flow.place_order(shopper).url == flow.place_order(shopper).url
    assert Order.objects.count() == 1


def test_click_that_comes_while_the_order_is_placed_gets_that_order(shopper, rf):
    flow.add(shopper)
    seen_by_both = Cart.objects.get()
    flow.place_order(shopper)
    second = rf.post("/checkout/", flow.ADDRESS)
    second.user = AnonymousUser()
    form = CheckoutForm(second.POST)
    assert form.is_valid()

    assert orders.place(second, seen_by_both, form) == flow.the_order()


def test_checkout_without_a_cart_leads_to_the_cart(shopper):
    assert shopper.get("/checkout/").url == "/cart/"


def test_next_cart_begins_after_the_order(shopper):
    flow.add(shopper)
    flow.place_order(shopper)

    assert b'data-count="0"' in shopper.get("/cart/badge/").content
    flow.add(shopper, "LS-102")
    assert flow.place_order(shopper).status_code == 302
    assert Order.objects.count() == 2


def test_way_of_payment_has_to_be_one_of_ours(shopper):
    flow.add(shopper)
    choice = flow.place_order(shopper).url

    page = shopper.post(choice, {"method": "cowries"})

    assert page.status_code == 200
    assert page.context["form"].errors
    assert not Payment.objects.exists()


def test_paying_twice_is_told_once(shopper, bank, told):
    payment = flow.order_payment(shopper)

    bank.post(f"/pay/{payment.token}/")
    bank.post(f"/pay/{payment.token}/")

    assert told == [payment]


def test_coming_back_needs_no_cookie_and_touches_none(shopper):
    payment = flow.order_payment(shopper)
    order = flow.the_order()

    response = bank_to_shop().post(
        f"/checkout/return/{order.token}/", {"payment": payment.token}, HTTP_ORIGIN="null"
    )

    assert response.status_code == 303
    assert response["Location"] == f"/checkout/thanks/{order.token}/"
    assert not response.cookies
    order.refresh_from_db()
    assert not order.is_paid


def test_paid_order_cannot_be_paid_again(shopper):
    payment = flow.order_payment(shopper)
    flow.deliver(shopper, payment)
    order = flow.the_order()

    response = shopper.get(f"/checkout/payment/{order.token}/")

    assert response.url == f"/checkout/thanks/{order.token}/"


# The webhook


def test_webhook_without_the_right_signature_is_refused(shopper):
    payment = flow.order_payment(shopper)

    for signature in ("", "0" * 64, "ä"):
        assert flow.deliver(shopper, payment, signature=signature).status_code == 403
    assert not flow.the_order().is_paid


def test_signature_is_one_over_the_bytes(shopper):
    payment = flow.order_payment(shopper)
    body = webhooks.body_of(payment)
    same_meaning = json.dumps(json.loads(body), indent=1).encode()

    response = flow.deliver(shopper, payment, body=same_meaning, signature=webhooks.sign(body))

    assert response.status_code == 403


def test_webhook_delivered_again_leaves_the_time_of_payment(shopper):
    payment = flow.order_payment(shopper)
    flow.deliver(bank_to_shop(), payment)
    paid_at = flow.the_order().paid_at

    assert flow.deliver(bank_to_shop(), payment).status_code == 204

    assert flow.the_order().paid_at == paid_at


def test_each_webhook_tells_the_purchase_and_meta_hears_of_one(shopper, sandbox):
    flow.grant(shopper)
    payment = flow.order_payment(shopper)

    for _ in range(2):
        flow.deliver(bank_to_shop(), payment)
        deliver_due()

    first, second = reported("Purchase").order_by("pk")
    assert first.event_id == second.event_id
    assert (first.state, second.state) == (State.SENT, State.DUPLICATE)
    [purchase] = sandbox.events("Purchase")
    assert purchase["counts"]["server"] == 1


def test_checkout_loaded_again_begins_once_for_meta(shopper, sandbox, monkeypatch):
    monkeypatch.setattr("shop.views.timezone.localdate", lambda: date(2026, 5, 4))
    flow.grant(shopper)
    flow.add(shopper)

    for _ in range(2):
        shopper.get("/checkout/")
        deliver_due()

    first, second = reported("InitiateCheckout").order_by("pk")
    assert first.event_id == second.event_id
    assert (first.state, second.state) == (State.SENT, State.DUPLICATE)
    [begun] = sandbox.events("InitiateCheckout")
    assert begun["counts"]["server"] == 1


def test_purchase_is_the_buyers_and_not_the_banks(shopper):
    flow.grant(shopper)
    payment = flow.order_payment(shopper)

    flow.deliver(bank_to_shop(), payment)

    told = json.loads(bytes(reported("Purchase").get().event))
    order = flow.the_order()
    assert told["custom_data"]["value"] == float(order.total)
    assert told["custom_data"]["order_id"] == order.number
    assert told["event_time"] == int(order.placed_at.timestamp())
    assert told["event_source_url"] == "http://127.0.0.1:8000/checkout/"


def test_without_consent_an_order_is_paid_and_nothing_is_reported(shopper):
    payment = flow.order_payment(shopper)

    flow.deliver(bank_to_shop(), payment)

    assert flow.the_order().is_paid
    assert not OutboxEvent.objects.exists()


def test_bank_signs_and_tries_again_until_it_is_answered(monkeypatch, shopper):
    received, answers = [], [500, 204]

    class Shop(BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            received.append((body, self.headers[webhooks.SIGNATURE_HEADER]))
            self.send_response(answers[len(received) - 1])
            self.end_headers()

        def log_message(self, *args):
            pass

    payment = flow.order_payment(shopper)
    monkeypatch.setattr(webhooks.time, "sleep", lambda seconds: None)
    with HTTPServer(("127.0.0.1", 0), Shop) as server:
        payment.webhook_url = f"http://127.0.0.1:{server.server_port}/"
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        webhooks.notify_later(payment).join(10)
        server.shutdown()
        thread.join(10)

    assert received == [(webhooks.body_of(payment), webhooks.sign(webhooks.body_of(payment)))] * 2
