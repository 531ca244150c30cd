from __future__ import annotations

import socket
import threading

import pytest

from tests.factories import PixelFactory
from wagtail_metapixel import echo_probe, site_settings
from wagtail_metapixel.diagnosis import Level

pytestmark = pytest.mark.django_db

COOKIE = "metapixel_e_probe=; Path=/; SameSite=Lax"


@pytest.fixture
def answered():
    """Serve one answer, and return what the doctor says of the site it comes from."""
    listeners = []

    def examine(status="200 OK", *headers):
        listener = socket.create_server(("127.0.0.1", 0))
        listeners.append(listener)
        lines = [f"HTTP/1.1 {status}", "Content-Length: 0", "Connection: close", *headers, "", ""]

        def serve():
            connection, _address = listener.accept()
            with connection:
                connection.recv(65536)
                connection.sendall("\r\n".join(lines).encode())

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        found = echo_probe.examine("shop", site(listener.getsockname()[1]))
        thread.join(5)
        return found

    yield examine
    for listener in listeners:
        listener.close()


def site(port):
    pixel = PixelFactory()
    site_settings.refresh()
    config = site_settings.current().site(pixel.settings.site_id)
    return config._replace(hostname="127.0.0.1", port=port)


def test_a_cookie_that_arrives_as_it_was_sent_is_fine(answered):
    found = answered("200 OK", f"Set-Cookie: {COOKIE}", "Set-Cookie: other=1; HttpOnly")
    assert found.level is Level.OK


@pytest.mark.parametrize("word", ["HttpOnly", "httponly", "HTTPONLY"])
def test_a_cookie_that_became_http_only_on_the_way_is_a_problem(answered, word):
    found = answered("200 OK", f"Set-Cookie: {COOKIE}; {word}")
    assert found.level is Level.PROBLEM
    assert "HttpOnly" in found.fact
    assert "proxy_cookie_flags" in found.advice


def test_a_cookie_that_does_not_arrive_is_a_problem(answered):
    found = answered("200 OK")
    assert found.level is Level.PROBLEM
    assert "do not arrive" in found.fact


@pytest.mark.parametrize("status", ["301 Moved", "403 Forbidden", "502 Bad Gateway"])
def test_another_answer_is_told_and_not_judged(answered, status):
    found = answered(status)
    assert found.level is Level.NOTE
    assert status[:3] in found.fact


def test_a_site_that_does_not_answer_is_told_and_not_judged():
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        found = echo_probe.examine("shop", site(deaf.getsockname()[1]))
    assert found.level is Level.NOTE
    assert "could not be asked from here" in found.fact


@pytest.mark.parametrize(
    ("port", "root"),
    [(80, "http://a.example"), (443, "https://a.example"), (8000, "http://a.example:8000")],
)
def test_the_site_is_asked_where_wagtail_says_it_is(port, root):
    assert echo_probe._root(site(port)._replace(hostname="a.example")) == root
