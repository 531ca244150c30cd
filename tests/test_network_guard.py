from __future__ import annotations

import socket

import pytest

from tests.conftest import is_local

# Reserved for documentation (RFC 5737, RFC 3849): nobody answers there.
OUTSIDE = [("192.0.2.1", 443), ("2001:db8::1", 443, 0, 0), ("graph.facebook.com", 443)]


@pytest.mark.parametrize("address", OUTSIDE)
def test_other_machines_are_outside(address):
    assert not is_local(address)


@pytest.mark.parametrize(
    "address", [("127.0.0.1", 80), ("::1", 80, 0, 0), ("localhost", 80), ("", 80), "/run/socket"]
)
def test_this_machine_is_not(address):
    assert is_local(address)


def test_connecting_outside_fails_even_where_errors_are_swallowed():
    def careless():
        try:
            socket.create_connection(("192.0.2.1", 443), timeout=0.01)
        except Exception:  # noqa: BLE001 - what the guard has to get through
            return "as if nothing had happened"

    with pytest.raises(pytest.fail.Exception, match=r"192\.0\.2\.1"):
        careless()


def test_looking_a_name_up_fails():
    with pytest.raises(pytest.fail.Exception, match=r"graph\.facebook\.com"):
        socket.getaddrinfo("graph.facebook.com", 443)


def test_connecting_to_this_machine_works():
    with socket.create_server(("127.0.0.1", 0)) as server:
        socket.create_connection(server.getsockname()).close()
