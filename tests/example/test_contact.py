from __future__ import annotations

import pytest
from django.core import mail
from shop.models import ContactField, ContactPage
from wagtail.contrib.forms.models import FormSubmission

from tests.example import flow
from wagtail_metapixel.models import OutboxEvent

pytestmark = pytest.mark.django_db

MESSAGE = {"name": "Jana", "e_mail": "jana@example.com", "message": "Is the blanket washable?"}


def test_message_is_kept_mailed_and_reported(shopper):
    flow.grant(shopper)

    page = shopper.post("/contact/", MESSAGE)

    assert b"Thank you for writing" in page.content
    assert FormSubmission.objects.get().form_data == MESSAGE
    assert mail.outbox[0].to == ["hello@linden-and-salt.example"]
    assert OutboxEvent.objects.get().event_name == "Lead"


def test_message_without_a_sender_comes_back(shopper):
    page = shopper.post("/contact/", {**MESSAGE, "e_mail": "jana"})

    assert list(page.context["form"].errors) == ["e_mail"]
    assert not FormSubmission.objects.exists()


def test_editor_may_preview_the_landing_page(rf):
    request = rf.get("/")
    response = ContactPage.objects.get().serve_preview(request, "landing")

    assert response.render().status_code == 200
    assert not OutboxEvent.objects.exists()


def test_form_without_a_field_for_an_address_is_still_a_lead(shopper):
    ContactField.objects.filter(field_type="email").delete()
    flow.grant(shopper)

    shopper.post("/contact/", {"name": "Jana", "message": "Hello"})

    assert OutboxEvent.objects.get().event_name == "Lead"
