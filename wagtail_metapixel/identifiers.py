"""What a browser and its connection are known by: ``_fbp``, ``_fbc`` and a public address.

Strict value types: what does not look exactly as Meta writes it is not taken, and what is taken is
never changed by a byte. The case of a click id is part of it.
"""

from __future__ import annotations

import ipaddress
import re
import socket
import time
from bisect import bisect_right
from dataclasses import dataclass
from functools import cache
from typing import ClassVar, Self

from wagtail_metapixel.catalogue import DAY
from wagtail_metapixel.digests import MARK

# Meta's cookies

_PREFIX = r"fb\.([1-9]?[0-9])\.([1-9][0-9]{12})\."

# At its first use: a page needs neither form, and a few of these are a millisecond of each start.
_compiled = cache(re.compile)

_AT_START = str(int(time.time() * 1000))


def _is_past(milliseconds: str) -> bool:
    """Tell whether 13 digits name a moment that has been; a clock may be wrong by a day."""
    return milliseconds <= _AT_START or int(milliseconds) <= (time.time() + DAY) * 1000


@dataclass(frozen=True, slots=True)
class _MetaCookie:
    """What both cookies have in common. ``str()`` gives the same bytes back."""

    index: int
    """Labels of the cookie's domain, less one."""
    created_ms: int
    payload: str
    appendix: str | None = None
    """The mark of Meta's parameter builder."""

    _form: ClassVar[str]

    @classmethod
    def parse(cls, text: str) -> Self | None:
        """Return the value in ``text``, ``None`` when anything about it is odd."""
        parts = _compiled(cls._form).fullmatch(text)
        if not parts or not _is_past(parts[2]):
            return None
        return cls(int(parts[1]), int(parts[2]), parts[3], parts[4])

    @classmethod
    def is_valid(cls, text: str) -> bool:
        """Tell whether :meth:`parse` would find a value, for less than it costs."""
        parts = _compiled(cls._form).fullmatch(text)
        return parts is not None and _is_past(parts[2])

    def __str__(self) -> str:
        text = f"fb.{self.index}.{self.created_ms}.{self.payload}"
        return f"{text}.{self.appendix}" if self.appendix else text


class Fbc(_MetaCookie):
    """Meta's click id, as the cookie ``_fbc`` holds it: the payload is the ``fbclid``.

    Its upper and lower case are different.
    """

    __slots__ = ()
    _form = rf"{_PREFIX}([A-Za-z0-9_-]{{1,500}}){MARK}"

    @classmethod
    def from_fbclid(cls, fbclid: str, *, created_ms: int, index: int = 1) -> Self | None:
        """Return the click id for the query parameter ``fbclid``, first seen at ``created_ms``."""
        return cls.parse(f"fb.{index}.{created_ms}.{fbclid}")


class Fbp(_MetaCookie):
    """Meta's browser id, as the cookie ``_fbp`` holds it: the payload is 1 to 19 digits."""

    __slots__ = ()
    _form = rf"{_PREFIX}([0-9]{{1,19}}){MARK}"


# Addresses of clients

_NOT_PUBLIC_V4 = [
    ipaddress.ip_network(network)
    for network in (
        "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16",
        "172.16.0.0/12", "192.0.0.0/24", "192.168.0.0/16", "198.18.0.0/15", "224.0.0.0/3",
    )
]  # fmt: skip
_V4_STARTS = [int(network.network_address) for network in _NOT_PUBLIC_V4]
_V4_ENDS = [int(network.broadcast_address) for network in _NOT_PUBLIC_V4]
_DELICATE_OCTETS = frozenset({0, 10, 100, 127, 169, 172, 192, 198, *range(224, 256)})
"""First numbers of the addresses that are worth a closer look."""
_GLOBAL_UNICAST_V6 = range(0x2000 << 112, 0x4000 << 112)
_IETF_V6 = range(0x2001 << 112, (0x2001 << 112) + (1 << 105))  # 2001::/23


def public_ip(text: str) -> str | None:
    """Return the public address in ``text``, IPv6 in its short form, ``None`` for any other.

    A port is cut off, an IPv4 address inside an IPv6 one taken out. The ranges reserved for
    documentation pass: nothing on the internet comes from them, and tests do.
    """
    text = text.strip()
    try:
        if socket.inet_pton(socket.AF_INET, text)[0] not in _DELICATE_OCTETS:
            return text
    except (OSError, ValueError):
        pass  # IPv6, with a port, or no address at all
    address = _address(text) if len(text) <= 100 else None
    if isinstance(address, ipaddress.IPv6Address):
        mapped = address.ipv4_mapped
        if mapped is None:
            number = int(address)
            public = number in _GLOBAL_UNICAST_V6 and number not in _IETF_V6
            inner = address.sixtofour  # 2002::/16 is as public as the IPv4 address in it
            return str(address) if public and (inner is None or _is_public_v4(inner)) else None
        address = mapped
    if address is None:
        return None
    return str(address) if _is_public_v4(address) else None


def _is_public_v4(address: ipaddress.IPv4Address) -> bool:
    number = int(address)
    return number > _V4_ENDS[bisect_right(_V4_STARTS, number) - 1]


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        return None if "%" in text else ipaddress.ip_address(text)
    except ValueError:
        return None
