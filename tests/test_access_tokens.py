"""The token shows itself to nobody but Meta: not in errors, frames or reports of them."""

from __future__ import annotations

import pickle

import pytest
import requests
from django.db import OperationalError
from django.views.debug import ExceptionReporter

from tests.factories import PIXEL_ID, TOKEN, OutboxEventFactory
from tests.test_delivery import OTHER_PIXEL, OTHER_TOKEN, sandbox, states
from wagtail_metapixel import claims, conf, deployment, graph_api
from wagtail_metapixel.access_tokens import AccessToken, is_well_formed
from wagtail_metapixel.delivery import deliver_due
from wagtail_metapixel.exceptions import ConfigurationError
from wagtail_metapixel.models import Dataset, State

__all__ = ["sandbox"]
MALFORMED = ["{0}\u200b", "{0}\u2026", "{0} more", "EA\nA{0}", '{0}"', "\ud800{0}"]


def test_a_token_says_itself_in_the_header_alone():
    token = AccessToken(TOKEN)
    request = token(requests.Request("GET", "http://127.0.0.1/").prepare())
    assert request.headers["Authorization"] == f"Bearer {TOKEN}"
    assert TOKEN not in repr(token) + str(token) + f"{token!s}"
    assert (bool(token), bool(AccessToken(""))) == (True, False)
    with pytest.raises(TypeError):
        pickle.dumps(token)


@pytest.mark.parametrize("shape", MALFORMED)
def test_what_no_header_can_carry_is_no_token(shape):
    assert is_well_formed(TOKEN)
    assert not is_well_formed(shape.format(TOKEN))


@pytest.mark.parametrize(
    ("where", "shape"),
    [
        *(("settings", shape) for shape in MALFORMED),
        # No environment can hold half a surrogate.
        *(("environment", shape) for shape in MALFORMED if "\ud800" not in shape),
    ],
)
def test_a_malformed_token_of_the_deployment_is_named_and_not_shown(
    settings, monkeypatch, shape, where
):
    if where == "settings":
        settings.WAGTAIL_METAPIXEL = {"ACCESS_TOKENS": {PIXEL_ID: shape.format(TOKEN)}}
    else:
        monkeypatch.setenv(f"METAPIXEL_ACCESS_TOKEN_{PIXEL_ID}", shape.format(TOKEN))
    with pytest.raises(ConfigurationError) as raised:
        conf.access_token(PIXEL_ID)
    assert PIXEL_ID in str(raised.value)
    assert TOKEN not in repr(raised.value)
    if where == "settings":
        [mistake] = deployment.mistakes()
        assert "copy it again" in mistake.fact


@pytest.mark.django_db
@pytest.mark.parametrize(
    "broken",
    [
        {"ACCESS_TOKENS": {PIXEL_ID: f"{TOKEN}\u200b", OTHER_PIXEL: OTHER_TOKEN}},
        {"ACCESS_TOKENS": {OTHER_PIXEL: OTHER_TOKEN}, "ENCRYPTION_KEYS": ["no key"]},
    ],
    ids=["a malformed token", "keys that open nothing"],
)
def test_a_pixel_whose_token_cannot_be_read_waits_and_keeps_no_other(sandbox, settings, broken):
    OutboxEventFactory()
    OutboxEventFactory(pixel_id=OTHER_PIXEL)
    settings.WAGTAIL_METAPIXEL = settings.WAGTAIL_METAPIXEL | broken
    summary = deliver_due()
    assert sorted(states()) == [State.PENDING, State.SENT]
    [message] = summary.messages
    assert message.startswith(f"{PIXEL_ID}: ")
    assert Dataset.objects.get(pixel_id=PIXEL_ID).pause_reason in message


@pytest.mark.django_db
def test_no_report_of_a_database_error_shows_the_token(sandbox, settings, monkeypatch):
    settings.DEBUG = False
    OutboxEventFactory()

    def gone(*_args, **_options):
        raise OperationalError

    monkeypatch.setattr(claims, "finish", gone)
    with pytest.raises(OperationalError) as raised:
        deliver_due()
    report = ExceptionReporter(None, raised.type, raised.value, raised.tb).get_traceback_html()
    assert "deliver_due" in report
    assert TOKEN not in report


@pytest.mark.django_db
def test_what_cannot_be_written_is_an_answer_and_shows_nothing(sandbox):
    answer = graph_api.post_events(PIXEL_ID, AccessToken(f"{TOKEN}\u200b"), b"{}", count=1)
    assert answer.kind is graph_api.Kind.TRANSIENT
    assert "could not be written" in answer.message
    assert TOKEN not in repr(answer)
