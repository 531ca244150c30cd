from __future__ import annotations

from tests.factories import PixelFactory
from tests.visits import FBP, counted, told
from wagtail_metapixel import collecting, consent, counters, site_settings
from wagtail_metapixel.consent import Choice, Reason
from wagtail_metapixel.models import OutboxEvent, Twin
from wagtail_metapixel.visitor import Visitor


def declared(name="ViewContent", event_id="1" * 32, **custom_data):
    return collecting.Declared(event_name=name, event_id=event_id, custom_data=custom_data)


def collect(site, items, *, person=None, pixel_failed=False, **known):
    person = person or Visitor(
        site_pk=site.site_pk, host="testserver", url="http://testserver/shoes/", fbp=FBP
    )
    decision = consent.Decision(None, Choice.GRANTED, "proof", site.pixels)
    return collecting.collect(
        items, person._replace(**known), decision, site, pixel_failed=pixel_failed
    )


def test_page_events_of_a_view_are_one_insert(shop, django_assert_num_queries):
    with django_assert_num_queries(3):
        found = collect(shop, [declared("PageView", "0" * 32), declared(value=5, currency="EUR")])
    assert found == 2
    page_view, view_content = OutboxEvent.objects.order_by("event_id")
    assert (page_view.event_name, page_view.keyed, page_view.twin) == ("PageView", False, "maybe")
    event, user_data = told(view_content)
    assert event["event_id"] == "1" * 32
    assert event["custom_data"] == {"value": 5, "currency": "EUR"}
    assert user_data == {"fbp": FBP}


def test_what_the_browser_tells_of_the_signed_in_stands_in_every_row(shop):
    signed_in = (("em", "a" * 64), ("fbp", "not what the request said"))
    collect(shop, [declared(), declared("PageView", "2" * 32)], signed_in=signed_in)
    told_of = [told(row)[1] for row in OutboxEvent.objects.all()]
    assert told_of == [{"em": ["a" * 64], "fbp": FBP}] * 2


def test_page_event_has_no_twin_where_metas_script_was_blocked(shop):
    collect(shop, [declared()], pixel_failed=True)
    row = OutboxEvent.objects.get()
    assert (row.twin, row.twin_expires_at) == (Twin.NO, None)


def test_page_event_that_no_pixel_chose_is_counted(shop):
    PixelFactory._meta.model.objects.update(events=["Lead"])
    site_settings.clear()
    site = site_settings.current().site(shop.site_pk)
    assert collect(site, [declared()]) == 0
    assert counted() == {(counters.WITHHELD, str(Reason.NO_PIXEL)): 1}


def test_page_events_of_somebody_unrecognisable_are_counted_one_by_one(shop):
    person = Visitor(site_pk=shop.site_pk, host="testserver")
    assert collect(shop, [declared(), declared(event_id="2" * 32)], person=person) == 0
    assert counted() == {(counters.WITHHELD, str(Reason.NO_IDENTIFIER)): 2}
