"""Event ids, signatures, digests and encryption: everything that needs a secret.

Two secrets are used. Django's ``SECRET_KEY`` (with its fallbacks) signs what goes through a
browser, and by default encrypts columns. The *installation key*, 32 random bytes kept in the
database, makes event ids and digests: it must survive a rotation of ``SECRET_KEY``, and a copy of
the public pixel id must not be enough to guess the id of the next order.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import uuid
from collections.abc import Iterable, Sequence
from datetime import date
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.core import signing
from django.db.models import Model

from wagtail_metapixel import conf
from wagtail_metapixel.exceptions import ConfigurationError, EventError

if TYPE_CHECKING:
    from cryptography.fernet import MultiFernet

DECLARATION_SALT = "wagtail_metapixel.declaration"
TICKET_SALT = "wagtail_metapixel.ticket"

Key = Model | str | int | date | uuid.UUID | Sequence[Any]


# Event ids


def new_event_id() -> str:
    """Return an id for an event that has no key: 32 hex characters, random."""
    return uuid.uuid4().hex


def event_id(installation_key: bytes, site_pk: int, key: Key, event_name: str) -> str:
    """Return the id of the one ``event_name`` that can happen to ``key``: 32 hex characters.

    The same key gives the same id in every process, for ever; another site, name or installation
    gives another one.
    """
    message = json.dumps(["event", site_pk, key_text(key), event_name], ensure_ascii=True)
    return hmac.new(installation_key, message.encode(), hashlib.sha256).hexdigest()[:32]


def key_text(key: Key) -> str:
    """Return the text that stands for ``key``: ``"shop.order:17"`` for a model instance.

    ``EventError`` for an instance that has not been saved, or a type that has no stable text.
    """
    if isinstance(key, Model):
        if key.pk is None:
            raise EventError("key", "is an object that has not been saved yet, so it has no id")
        # The model of the table: a proxy of an order is the same order.
        return f"{(key._meta.concrete_model or type(key))._meta.label_lower}:{key.pk}"
    if isinstance(key, (tuple, list)) and key:
        return "\x1f".join(key_text(part) for part in key)
    if isinstance(key, bool) or not isinstance(key, (str, int, date, uuid.UUID)) or key == "":
        raise EventError("key", "has to be a saved object, a text, a number, or a tuple of these")
    return str(key)


def external_id(installation_key: bytes, user: Model) -> str:
    """Return what Meta calls a signed-in user on both channels: 64 hex characters.

    The same on all sites of an installation, and no way back to the account.
    """
    message = json.dumps(["external_id", key_text(user)], ensure_ascii=True)
    return hmac.new(installation_key, message.encode(), hashlib.sha256).hexdigest()


# Digests


def digest(installation_key: bytes, kind: str, value: str) -> str:
    """Return a keyed digest of an identifier: 24 hex characters, useless without the database."""
    message = f"{kind}\x1f{value}".encode()
    return hmac.new(installation_key, message, hashlib.sha256).hexdigest()[:24]


# Signatures


def sign_declaration(text: str, site_pk: int) -> str:
    """Return the signature that a page carries beside the declared event ``text``.

    Holds neither time nor visitor: every visitor of a cached page gets the same bytes.
    """
    return _declaration_signature(text, site_pk, settings.SECRET_KEY)


@lru_cache(maxsize=1024)
def _declaration_signature(text: str, site_pk: int, _secret: str | bytes) -> str:
    # The same product is declared for every visitor of its page.
    return _signer(DECLARATION_SALT, site_pk).signature(text)


def declaration_is_ours(text: str, signature: str, site_pk: int) -> bool:
    """Tell whether this installation declared ``text`` for this site."""
    try:
        _signer(DECLARATION_SALT, site_pk).unsign(f"{text}:{signature}")
    except (signing.BadSignature, UnicodeEncodeError):
        return False
    return True


def sign_ticket(payload: dict[str, Any], site_pk: int) -> str:
    """Return ``payload`` as a signed text with the time in it."""
    return signing.dumps(payload, salt=f"{TICKET_SALT}.{site_pk}", compress=True)


def read_ticket(text: str, site_pk: int, *, max_age: int) -> dict[str, Any] | None:
    """Return what :func:`sign_ticket` signed, or ``None`` when it is forged or too old."""
    try:
        payload = signing.loads(text, salt=f"{TICKET_SALT}.{site_pk}", max_age=max_age)
    except (signing.BadSignature, ValueError):
        return None
    return payload if isinstance(payload, dict) else None


def _signer(salt: str, site_pk: int) -> signing.Signer:
    return signing.Signer(salt=f"{salt}.{site_pk}")


# Encryption


def encrypt(data: bytes) -> bytes:
    """Return ``data`` encrypted with the first encryption key."""
    return _fernet().encrypt(data)


def decrypt(data: bytes) -> bytes | None:
    """Return the decrypted bytes, or ``None`` when no present key opens them."""
    from cryptography.fernet import InvalidToken  # noqa: PLC0415

    try:
        return _fernet().decrypt(bytes(data))
    except InvalidToken:
        return None


def _fernet() -> MultiFernet:
    # Ten milliseconds that a process which only renders pages can do without.
    from cryptography.fernet import Fernet, MultiFernet  # noqa: PLC0415

    given = conf.get("ENCRYPTION_KEYS")
    if not given:
        return MultiFernet([Fernet(key) for key in _derived_keys()])
    try:
        return MultiFernet([Fernet(key) for key in given])
    except (ValueError, TypeError):
        raise ConfigurationError(
            f'{conf.SETTING}["ENCRYPTION_KEYS"] has to be a list of keys, each made by '
            '`python -c "from cryptography.fernet import Fernet; '
            'print(Fernet.generate_key().decode())"`.'
        ) from None


def _derived_keys() -> Iterable[bytes]:
    for secret in [settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS]:
        material = secret.encode() if isinstance(secret, str) else bytes(secret)
        derived = hmac.new(material, b"wagtail_metapixel.encryption", hashlib.sha256).digest()
        yield base64.urlsafe_b64encode(derived)
