"""The strict value types of cookies and public addresses."""

from __future__ import annotations

import ipaddress
import json
import random
import time
from pathlib import Path

import pytest

from wagtail_metapixel.identifiers import Fbc, Fbp, public_ip

FBP = "fb.1.1736063807103.526608478763752515"
FBC = "fb.1.1736063807103.IwAR2F4-dbP0l7Mn1_aem_Q"
VECTORS = json.loads((Path(__file__).parent / "data" / "vectors.json").read_text(encoding="utf-8"))


def test_the_parts_of_a_cookie_have_names():
    assert Fbc.parse("fb.2.1500000000000.Ab-C.AQIAAQMC") == Fbc(
        index=2, created_ms=1_500_000_000_000, payload="Ab-C", appendix="AQIAAQMC"
    )
    assert Fbp.parse("fb.1.1500000000000.99") == Fbp(1, 1_500_000_000_000, "99", None)


@pytest.mark.parametrize("cookie", [Fbc.parse(FBC), Fbp.parse(FBP)], ids=["fbc", "fbp"])
def test_a_cookie_cannot_be_changed(cookie):
    with pytest.raises(AttributeError):
        cookie.payload = "other"


def test_a_clock_may_be_wrong_by_a_day():  # row 87
    now = int(time.time() * 1000)
    hour = 3_600_000
    assert Fbp.parse(f"fb.1.{now + 23 * hour}.1") is not None
    assert Fbp.parse(f"fb.1.{now + 25 * hour}.1") is None


@pytest.mark.parametrize(
    ("fbclid", "accepted"),
    [
        pytest.param("IwAR2_-x", True, id="88: usual"),
        pytest.param("", False, id="88: empty"),
        pytest.param("a" * 1024, False, id="88: 1 kB"),
        pytest.param("a.b", False, id="a dot would become an appendix"),
    ],
)
def test_a_click_id_is_made_of_a_query_parameter(fbclid, accepted):
    made = Fbc.from_fbclid(fbclid, created_ms=1_736_063_807_103)
    assert (str(made) if made else None) == (f"fb.1.1736063807103.{fbclid}" if accepted else None)


def test_public_addresses_are_what_python_calls_global_save_for_documentation():
    documentation = [
        ipaddress.ip_network(text) for text in ("192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24")
    ]
    chance = random.Random(1)
    for _ in range(2000):
        address = ipaddress.IPv4Address(chance.getrandbits(32))
        expected = address.is_global and not address.is_multicast
        expected |= any(address in network for network in documentation)
        # The relay anycast range was public for most of the lives of the Pythons we run on.
        if address not in ipaddress.ip_network("192.88.99.0/24"):
            assert (public_ip(str(address)) is not None) == expected, address


@pytest.mark.parametrize(
    ("address", "is_public"),
    [
        ("2002:a00:1::1", False),
        ("2002:c0a8:101::1", False),
        ("2002:7f00:1::", False),
        ("2002:808:808::1", True),
        ("2001:0:5ef5:79fb::1", False),
        ("2a00:1450:4001:80b::200e", True),
    ],
)
def test_an_address_of_6to4_is_as_public_as_the_one_in_it(address, is_public):
    assert public_ip(address) == (address if is_public else None)


@pytest.mark.parametrize(
    ("vector"),
    [vector for vector in VECTORS if vector["param"] == "client_ip_address"],
    ids=lambda vector: ascii(vector["normalized"]),
)
def test_the_address_meta_s_builder_picks_is_public_here_too(vector):
    if vector["normalized"]:
        assert public_ip(vector["normalized"]) == vector["normalized"]
    else:
        assert public_ip(vector["raw"]["remote"]) is None
