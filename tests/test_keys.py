from __future__ import annotations

import datetime
import re
import uuid

import pytest
from cryptography.fernet import Fernet
from django.contrib.auth.models import AnonymousUser, Group
from django.core import signing
from django.utils.functional import SimpleLazyObject
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from wagtail_metapixel import keys
from wagtail_metapixel.exceptions import ConfigurationError, EventError

INSTALLATION = b"i" * 32
ORDER = Group(pk=17)

scalars = st.integers() | st.text(min_size=1, max_size=20) | st.uuids() | st.dates()


# Event ids


@pytest.mark.parametrize(
    ("key", "text"),
    [
        (ORDER, "auth.group:17"),
        ("2026-0017", "2026-0017"),
        (17, "17"),
        (0, "0"),
        (uuid.UUID(int=1), "00000000-0000-0000-0000-000000000001"),
        (datetime.date(2026, 11, 22), "2026-11-22"),
        ((ORDER, datetime.date(2026, 11, 22)), "auth.group:17\x1f2026-11-22"),
        (["subscription", 3], "subscription\x1f3"),
    ],
)
def test_key_becomes_a_text_that_never_changes(key, text):
    assert keys.key_text(key) == text


def test_lazy_user_of_a_request_is_a_key_like_any_saved_object():
    assert keys.key_text(SimpleLazyObject(lambda: ORDER)) == "auth.group:17"


def test_proxy_of_an_object_is_the_same_key():
    class Proxy(Group):
        class Meta:
            proxy = True
            app_label = "tests"

    assert keys.key_text(Proxy(pk=17)) == keys.key_text(ORDER)


@pytest.mark.parametrize(
    "key",
    [
        Group(),
        pytest.param(AnonymousUser(), id="nobody"),
        "",
        (),
        True,
        1.5,
        b"17",
        None,
        pytest.param(object(), id="an object"),
        {"pk": 1},
        (1, None),
    ],
    ids=repr,
)
def test_what_has_no_stable_text_is_refused_by_the_name_of_the_argument(key):
    with pytest.raises(EventError) as raised:
        keys.key_text(key)
    assert raised.value.field == "key"


@hypothesis_settings(max_examples=30)
@given(scalars | st.tuples(scalars, scalars), st.integers(1, 9), st.sampled_from(["Purchase", "X"]))
def test_event_id_is_the_same_each_time_and_opaque(key, site_pk, name):
    first = keys.event_id(INSTALLATION, site_pk, key, name)
    assert first == keys.event_id(INSTALLATION, site_pk, key, name)
    assert re.fullmatch("[0-9a-f]{32}", first)


def test_another_key_site_name_or_installation_makes_another_event_id():
    ids = {
        keys.event_id(INSTALLATION, 1, ORDER, "Purchase"),
        keys.event_id(INSTALLATION, 1, Group(pk=18), "Purchase"),
        keys.event_id(INSTALLATION, 1, "17", "Purchase"),
        keys.event_id(INSTALLATION, 2, ORDER, "Purchase"),
        keys.event_id(INSTALLATION, 1, ORDER, "Lead"),
        keys.event_id(b"j" * 32, 1, ORDER, "Purchase"),
    }
    assert len(ids) == 6


def test_event_id_survives_a_rotation_of_the_secret_key(settings):
    before = keys.event_id(INSTALLATION, 1, ORDER, "Purchase")
    settings.SECRET_KEY = "another secret, just as long as the one that stood here before it"
    assert keys.event_id(INSTALLATION, 1, ORDER, "Purchase") == before


def test_events_without_a_key_have_ids_of_their_own():
    ids = {keys.new_event_id() for _ in range(100)}
    assert len(ids) == 100
    assert all(re.fullmatch("[0-9a-f]{32}", found) for found in ids)


# Digests


def test_digest_depends_on_installation_kind_and_value():
    found = {
        keys.digest(INSTALLATION, "em", "a"),
        keys.digest(INSTALLATION, "ph", "a"),
        keys.digest(INSTALLATION, "em", "b"),
        keys.digest(b"j" * 32, "em", "a"),
    }
    assert len(found) == 4
    assert all(re.fullmatch("[0-9a-f]{24}", digest) for digest in found)


# Signatures


def test_declaration_is_ours_only_for_its_own_text_and_site():
    signature = keys.sign_declaration('{"event_name":"ViewContent"}', 1)
    assert keys.declaration_is_ours('{"event_name":"ViewContent"}', signature, 1)
    assert not keys.declaration_is_ours('{"event_name":"ViewContent" }', signature, 1)
    assert not keys.declaration_is_ours('{"event_name":"ViewContent"}', signature, 2)
    assert not keys.declaration_is_ours('{"event_name":"ViewContent"}', "", 1)
    assert not keys.declaration_is_ours("\ud800", signature, 1)


def test_signature_holds_no_time_so_that_a_cached_page_is_the_same_for_all(monkeypatch):
    before = keys.sign_declaration("text", 1)
    keys._declaration_signature.cache_clear()
    now = signing.time.time()
    monkeypatch.setattr(signing.time, "time", lambda: now + 1000)
    assert keys.sign_declaration("text", 1) == before


def test_declaration_of_a_page_cached_before_a_rotation_is_still_ours(settings):
    signature = keys.sign_declaration("text", 1)
    old, settings.SECRET_KEY = settings.SECRET_KEY, "new " * 20
    assert not keys.declaration_is_ours("text", signature, 1)
    settings.SECRET_KEY_FALLBACKS = [old]
    assert keys.declaration_is_ours("text", signature, 1)


def test_ticket_opens_for_its_own_site_while_it_is_young(monkeypatch):
    ticket = keys.sign_ticket({"i": "abc"}, 1)
    assert keys.read_ticket(ticket, 1, max_age=60) == {"i": "abc"}
    assert keys.read_ticket(ticket, 2, max_age=60) is None
    assert keys.read_ticket(ticket[:-1] + "!", 1, max_age=60) is None
    now = signing.time.time()
    monkeypatch.setattr(signing.time, "time", lambda: now + 61)
    assert keys.read_ticket(ticket, 1, max_age=60) is None


@pytest.mark.parametrize("text", ["", "a", "a:b:c", "\x00", "🛒" * 10])
def test_text_that_is_no_ticket_is_none(text):
    assert keys.read_ticket(text, 1, max_age=60) is None


def test_signature_of_a_declaration_makes_no_ticket():
    text, _colon, _signature = keys.sign_ticket({"i": "abc"}, 1).rpartition(":")
    forged = f"{text}:{keys.sign_declaration(text, 1)}"
    assert keys.read_ticket(forged, 1, max_age=60) is None


# Encryption


@hypothesis_settings(max_examples=20)
@given(st.binary(max_size=200))
def test_what_was_encrypted_opens_again_and_never_shows(data):
    secret = keys.encrypt(data)
    assert keys.decrypt(secret) == data
    assert len(data) < 16 or data not in secret  # a shorter one may be there by chance


def test_old_columns_open_after_a_rotation_of_the_secret_key(settings):
    secret = keys.encrypt(b"data")
    old, settings.SECRET_KEY = settings.SECRET_KEY, "new " * 20
    assert keys.decrypt(secret) is None
    settings.SECRET_KEY_FALLBACKS = [old]
    assert keys.decrypt(secret) == b"data"


def test_own_encryption_keys_go_before_the_secret_key(settings):
    first, second = Fernet.generate_key().decode(), Fernet.generate_key().decode()
    settings.WAGTAIL_METAPIXEL = {"ENCRYPTION_KEYS": [first]}
    secret = keys.encrypt(b"data")
    settings.SECRET_KEY = "new " * 20
    settings.WAGTAIL_METAPIXEL = {"ENCRYPTION_KEYS": [second, first]}
    assert keys.decrypt(secret) == b"data"
    settings.WAGTAIL_METAPIXEL = {"ENCRYPTION_KEYS": [second]}
    assert keys.decrypt(secret) is None


@pytest.mark.parametrize("given_keys", [["canary-not-a-key"], "canary", [7], 7])
def test_key_that_cannot_be_used_is_said_without_showing_it(settings, given_keys):
    settings.WAGTAIL_METAPIXEL = {"ENCRYPTION_KEYS": given_keys}
    with pytest.raises(ConfigurationError, match="ENCRYPTION_KEYS") as raised:
        keys.encrypt(b"data")
    assert "canary" not in str(raised.value)


@pytest.mark.parametrize("data", [b"", b"nonsense", b"\xff\x00"])
def test_bytes_that_nobody_encrypted_open_to_none(data):
    assert keys.decrypt(data) is None
