from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.factories import OutboxEventFactory
from wagtail_metapixel.database_lists import Among, Chosen, among
from wagtail_metapixel.models import OutboxEvent

pytestmark = pytest.mark.django_db


@pytest.fixture
def rows():
    return OutboxEventFactory.create_batch(3)


def found(condition):
    return list(OutboxEvent.objects.filter(condition).order_by("pk"))


def test_keys_are_found_among_numbers(rows):
    assert found(Among("pk", [rows[0].pk, rows[2].pk, 0])) == [rows[0], rows[2]]


def test_texts_are_found_whatever_stands_in_them(rows):
    strange = ["'", '"', "{a,b}", "NULL", "", "\\", "%s", "ä€\U0001f600"]
    OutboxEvent.objects.filter(pk=rows[1].pk).update(event_id=strange[2])
    OutboxEvent.objects.filter(pk=rows[2].pk).update(event_id=strange[-1])
    assert found(Among("event_id", strange)) == rows[1:]
    assert found(Among("event_id", {*strange} - {strange[2]})) == rows[2:]


def test_nothing_is_among_none(rows):
    assert found(Among("pk", [])) == []
    assert found(Among("event_id", [])) == []


def test_more_values_than_a_statement_has_room_for_parameters(rows, django_assert_num_queries):
    with django_assert_num_queries(1):
        assert found(Among("pk", range(rows[-1].pk, 300_000 + rows[-1].pk))) == rows[2:]


def test_two_of_them_and_others_go_together(rows):
    both = OutboxEvent.objects.filter(
        Among("pk", [row.pk for row in rows[:2]]), Among("pk", [row.pk for row in rows[1:]])
    )
    assert list(both.exclude(event_id="x")) == [rows[1]]


def test_a_query_chooses_as_many_as_it_says(rows):
    front = OutboxEvent.objects.order_by("-pk").values("pk")[:2]
    assert found(Chosen("pk", front)) == rows[1:]


@given(
    values=st.lists(st.text(max_size=8), max_size=8),
    vendor=st.sampled_from(["postgresql", "sqlite"]),
)
def test_no_value_stands_in_the_statement(values, vendor):
    statement, parameter = among("name", values, vendor)
    assert statement.count("%s") == 1
    assert statement == among("name", [], vendor)[0]
    assert (vendor == "postgresql") == (parameter == values)
