from __future__ import annotations

import datetime
import gzip
import json
import logging
import socket
import ssl
import threading
import time
import tracemalloc
from pathlib import Path

import pytest
import requests
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from django.views.debug import ExceptionReporter

from tests.factories import PIXEL_ID, TOKEN
from wagtail_metapixel import exchange, graph_api, payloads
from wagtail_metapixel.access_tokens import AccessToken
from wagtail_metapixel.graph_api import Kind
from wagtail_metapixel.sandbox.server import SandboxServer

META = json.loads(Path(__file__).with_name("data").joinpath("meta_events.json").read_text())
ERRORS = META["errors"]

BODY = payloads.request_body(
    [
        (
            b'{"event_name":"Lead","event_time":%d,"event_id":"1","action_source":"website",'
            b'"event_source_url":"https://testserver/"}' % time.time(),
            b'{"client_ip_address":"192.0.2.7","client_user_agent":"Mozilla/5.0","fbp":"fb.1.1.1"}',
        )
    ]
)
ACCEPTED = b'{"events_received":1,"messages":[],"fbtrace_id":"trace"}'


class Script:
    """A server that writes what it is told, byte for byte, and keeps what it read."""

    def __init__(self, *answers):
        self.answers = list(answers)
        self.received = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._serve, daemon=True)

    @property
    def url(self):
        return f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_exc):
        self._stop.set()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join(5)
        self._listener.close()

    def _serve(self):
        for answer in self.answers:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with connection:
                self.received.append(read_request(connection))
                try:
                    self._write(connection, answer)
                except OSError:
                    continue

    def _write(self, connection, answer):
        for part in [answer] if isinstance(answer, bytes) else answer:
            if isinstance(part, bytes):
                connection.sendall(part)
            elif self._stop.wait(part):
                return


def read_request(connection):
    with connection.makefile("rb") as reader:
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            line = reader.readline()
            if not line:
                return head
            head += line
        length = head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0]
        return head + reader.read(int(length or 0))


def reply(status=200, body=ACCEPTED, **headers):
    lines = [f"HTTP/1.1 {status} Text", f"Content-Length: {len(body)}", "Connection: close"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode() + body


@pytest.fixture(autouse=True)
def _no_connection_left():
    yield
    graph_api.close()


@pytest.fixture
def post(settings):
    """Send BODY to a server that answers by the script; gives the answer and the server."""

    def send(*answers, body=BODY, **options):
        with Script(*answers) as server:
            settings.WAGTAIL_METAPIXEL = {"SANDBOX": server.url, **options}
            answer = graph_api.post_events(PIXEL_ID, AccessToken(TOKEN), body, count=1)
        return answer, server

    return send


@pytest.fixture
def sandbox(settings):
    with SandboxServer(pixels={PIXEL_ID: TOKEN}) as server:
        settings.WAGTAIL_METAPIXEL = {"SANDBOX": server.url}
        yield server


# What goes out


def test_events_arrive_and_are_acknowledged(sandbox):
    answer = graph_api.post_events(PIXEL_ID, AccessToken(TOKEN), BODY, count=1)
    assert (answer.kind, answer.events_received, answer.message) == (Kind.ACCEPTED, 1, "")
    assert answer.trace_id
    assert [event["event_name"] for event in sandbox.events()] == ["Lead"]
    assert [request.path for request in sandbox.requests] == [f"/v26.0/{PIXEL_ID}/events"]


def test_version_is_a_setting(post):
    _, server = post(reply(), GRAPH_VERSION="v27.1")
    assert server.received[0].startswith(b"POST /v27.1/%b/events " % PIXEL_ID.encode())


def test_token_travels_in_the_header_and_nowhere_else(post):
    _, server = post(reply())
    [request] = server.received
    assert request.count(TOKEN.encode()) == 1
    assert f"\r\nAuthorization: Bearer {TOKEN}\r\n".encode() in request


def test_one_connection_serves_many_requests(sandbox):
    for _ in range(3):
        graph_api.post_events(PIXEL_ID, AccessToken(TOKEN), BODY, count=1)
    assert len({request.client for request in sandbox.requests}) == 1


def test_closed_connection_is_made_anew(sandbox):
    for _ in range(2):
        assert (
            graph_api.post_events(PIXEL_ID, AccessToken(TOKEN), BODY, count=1).kind is Kind.ACCEPTED
        )
        graph_api.close()
    assert len({request.client for request in sandbox.requests}) == 2


def test_redirect_is_not_followed(post):
    with Script(reply()) as elsewhere:
        answer, _ = post(reply(307, b"", Location=elsewhere.url))
        assert elsewhere.received == []
    assert answer.kind is Kind.ACCESS


def test_netrc_does_not_override_the_token(post, tmp_path, monkeypatch):
    netrc = tmp_path / ".netrc"
    netrc.write_text("machine 127.0.0.1 login stranger password wrong\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    # Only addresses beyond this machine read the environment; this one has to pass for such.
    monkeypatch.setattr(graph_api.conf, "is_loopback", lambda url: False)
    monkeypatch.setattr(graph_api.conf, "sandbox_url", lambda: graph_api.conf.get("SANDBOX"))
    _, server = post(reply())
    assert f"Authorization: Bearer {TOKEN}\r\n".encode() in server.received[0]


def test_proxy_of_the_environment_does_not_come_between_us_and_the_sandbox(post, monkeypatch):
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    answer, _ = post(reply())
    assert answer.kind is Kind.ACCEPTED


# The token is seen by nobody

FAULTS = {
    "hung up": [b""],
    "reset": [[0.0]],
    "garbage": [b"not HTTP at all\r\n\r\n"],
    "html": [reply(502, b"<html>")],
    "denied": [reply(401, b'{"error":{"code":190,"message":"Bad token"}}')],
    "cut": [b"HTTP/1.1 200 OK\r\nContent-Length: 999\r\n\r\n{"],
    "redirect": [reply(302, b"", Location="http://127.0.0.1:9/")],
}


@pytest.mark.parametrize("fault", FAULTS)
def test_token_stands_in_no_log_answer_or_address(post, caplog, fault):
    caplog.set_level(logging.DEBUG)
    answer, server = post(*FAULTS[fault])
    assert TOKEN not in caplog.text
    assert TOKEN not in repr(answer)
    assert TOKEN.encode() not in b"".join(server.received).split(b"\r\n")[0]


def test_token_stands_in_no_error_report_with_its_variables(post, monkeypatch):
    def broken(*_args, **_kwargs):
        raise MemoryError

    monkeypatch.setattr(requests.Session, "request", broken)
    with pytest.raises(MemoryError) as raised:
        post(reply())
    report = ExceptionReporter(None, raised.type, raised.value, raised.tb).get_traceback_html()
    assert "_exchange" in report
    assert TOKEN not in report


# What comes back


def test_reply_is_read_only_up_to_its_cap(post, monkeypatch):
    monkeypatch.setattr(exchange, "REPLY_BYTES", 100_000)
    read = []
    monkeypatch.setattr(graph_api, "_json", lambda text: read.append(len(text)))
    answer, _ = post([reply(200, b" " * 5_000_000)])
    assert read == [100_000]
    assert answer.kind is Kind.UNKNOWN


def test_reply_that_is_packed_is_unpacked_only_up_to_its_cap(post, monkeypatch):
    monkeypatch.setattr(exchange, "REPLY_BYTES", 100_000)
    read = []
    monkeypatch.setattr(graph_api, "_json", lambda text: read.append(len(text)))
    packed = gzip.compress(b" " * 50_000_000)
    tracemalloc.start()
    answer, _ = post([reply(200, packed, **{"Content-Encoding": "gzip"})])
    _size, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert (read, answer.kind) == ([100_000], Kind.UNKNOWN)
    assert peak < 10_000_000


def drip(*parts, byte=b" ", pause=0.05):
    return [*parts, *[item for _ in range(100) for item in (byte, pause)]]


@pytest.mark.parametrize(
    "answer",
    [
        [5.0],
        drip(b"HTTP/1.1 200 OK\r\nX-Slow: ", byte=b"x"),
        drip(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n"),
        drip(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", byte=b"1\r\n \r\n"),
    ],
    ids=["silence", "headers", "body", "chunks"],
)
def test_reply_that_does_not_end_is_cut_at_the_deadline(post, answer):
    started = time.monotonic()
    found, _ = post(answer, REQUEST_TIMEOUT=0.4)
    assert 0.35 < time.monotonic() - started < 4  # the slowest would take five seconds
    assert found.kind is Kind.UNKNOWN


@pytest.mark.parametrize("fault", ["garbage", "cut", "reset"])
def test_connection_that_breaks_after_the_request_leaves_it_unknown(post, fault):
    assert post(*FAULTS[fault])[0].kind is Kind.UNKNOWN


def test_connection_that_was_never_made_carried_nothing(settings):
    with socket.socket() as deaf:  # bound and not listening, so that nobody else may
        deaf.bind(("127.0.0.1", 0))
        settings.WAGTAIL_METAPIXEL = {"SANDBOX": f"http://127.0.0.1:{deaf.getsockname()[1]}"}
        answer = graph_api.post_events(PIXEL_ID, AccessToken(TOKEN), BODY, count=1)
    assert answer.kind is Kind.TRANSIENT


def test_certificate_that_cannot_be_verified_carried_nothing(settings, tls_server):
    settings.WAGTAIL_METAPIXEL = {"SANDBOX": tls_server}
    answer = graph_api.post_events(PIXEL_ID, AccessToken(TOKEN), BODY, count=1)
    assert answer.kind is Kind.TRANSIENT


@pytest.fixture
def tls_server(tmp_path):
    """The address of a server with a certificate that nobody signed."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    today = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), 1, today, today.replace(year=2099))
        .sign(key, hashes.SHA256())
        .public_bytes(serialization.Encoding.PEM)
    )
    pem = tmp_path / "server.pem"
    pem.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        + certificate
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)

    def serve():
        connection, _ = listener.accept()
        with connection:
            try:
                context.wrap_socket(connection, server_side=True).close()
            except OSError:
                return

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"https://127.0.0.1:{listener.getsockname()[1]}"
        thread.join(5)


# Classes of answers


def expected(error):
    if error["http_status"] >= 500:
        return Kind.UNKNOWN
    if error["transient"]:
        return Kind.THROTTLED
    if error["code"] == 100 and error["subcode"] not in (None, 33):
        return Kind.INVALID
    return Kind.ACCESS


@pytest.mark.parametrize(
    "error", ERRORS, ids=[f"{error['code']}/{error['subcode']}" for error in ERRORS]
)
def test_each_error_of_metas_has_its_class(error):
    body = {
        "code": error["code"],
        "error_subcode": error["subcode"],
        "message": "Some text",
        "is_transient": error["transient"],
        "fbtrace_id": "trace",
    }
    answer = classify(error["http_status"], {"error": body})
    assert answer.kind is expected(error)
    assert (answer.code, answer.subcode, answer.trace_id) == (
        error["code"],
        error["subcode"],
        "trace",
    )


def classify(status, value, count=1, **headers):
    body = value if isinstance(value, bytes) else json.dumps(value).encode()
    named = {name.replace("_", "-"): text for name, text in headers.items()}
    return graph_api.classify(status, body, named, count=count)


def error(code, subcode=None, **more):
    return {"error": {"code": code, "error_subcode": subcode, **more}}


@pytest.mark.parametrize(
    ("status", "value", "kind"),
    [
        (200, {"events_received": 1}, Kind.ACCEPTED),
        (200, {"events_received": 2}, Kind.ACCEPTED),
        (200, {"events_received": 0}, Kind.UNKNOWN),
        (200, {"events_received": "1"}, Kind.UNKNOWN),
        (200, {}, Kind.UNKNOWN),
        (200, [], Kind.UNKNOWN),
        (200, None, Kind.UNKNOWN),
        (200, b"", Kind.UNKNOWN),
        (200, b"<html>log in</html>", Kind.UNKNOWN),
        (200, b"\xff\xfe", Kind.UNKNOWN),
        (200, b"[" * 100_000, Kind.UNKNOWN),
        (204, b"", Kind.UNKNOWN),
        (302, b"", Kind.ACCESS),
        (400, b"", Kind.ACCESS),
        (403, b"<html>", Kind.ACCESS),
        (404, {"error": "text"}, Kind.ACCESS),
        (429, b"", Kind.THROTTLED),
        (429, error(190), Kind.THROTTLED),
        (502, b"<html>", Kind.UNKNOWN),
        (503, error(100, 2804003), Kind.UNKNOWN),
        (400, error(1), Kind.TRANSIENT),
        (400, error(12345, is_transient=True), Kind.TRANSIENT),
        (400, error(12345), Kind.ACCESS),
        (400, error(100, 2804999), Kind.INVALID),
        (400, error(100, 2805000), Kind.ACCESS),
        (400, error(100, message="Unexpected key on param \"$['data'][3]\""), Kind.INVALID),
        (400, error(200, message="No right to ['data']"), Kind.ACCESS),
        (400, error(True), Kind.ACCESS),
        (400, error("100", 2804003), Kind.ACCESS),
    ],
)
def test_answer_has_its_class(status, value, kind):
    assert classify(status, value).kind is kind


def test_success_for_fewer_events_than_were_sent_is_none():
    assert classify(200, {"events_received": 9}, count=10).kind is Kind.UNKNOWN


def test_message_holds_codes_and_title_but_not_the_text_that_may_repeat_what_was_sent():
    answer = classify(
        400,
        error(100, 2804003, message="jane@example.com", error_user_title="Too Old" + "!" * 500),
    )
    assert answer.message.startswith("Meta error 100/2804003: Too Old!")
    assert len(answer.message) < 200
    assert "jane" not in answer.message


def test_text_of_metas_that_no_database_takes_is_made_plain():
    body = error(1, error_user_title="Too\x00 Old\ud800\n", fbtrace_id="a\x00b" + "c" * 99)
    answer = classify(400, body)
    assert answer.message == "Meta error 1: Too Old"
    assert answer.trace_id == "ab" + "c" * 62
    assert classify(200, {"events_received": 1, "fbtrace_id": "a\x00b"}).trace_id == "ab"


USAGE = '{"1":[{"estimated_time_to_regain_access":7},{"estimated_time_to_regain_access":3}]}'


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, 60),
        ({"Retry_After": "120"}, 120),
        ({"Retry_After": "0"}, 1),
        ({"Retry_After": "-5"}, 1),
        ({"Retry_After": "1000000000"}, 3600),
        ({"Retry_After": "inf"}, 3600),
        ({"Retry_After": "nan"}, 60),
        ({"Retry_After": "Fri, 31 Dec 1999 23:59:59 GMT"}, 1),
        ({"Retry_After": "Fri, 31 Dec 9999 23:59:59 GMT"}, 3600),
        ({"Retry_After": "Fri, 31 Dec 99999 23:59:59 GMT"}, 60),
        ({"Retry_After": "tomorrow"}, 60),
        ({"Retry_After": "soon"}, 60),
        ({"X_Business_Use_Case_Usage": USAGE}, 420),
        ({"X_Business_Use_Case_Usage": USAGE, "Retry_After": "5"}, 420),
        ({"X_Business_Use_Case_Usage": USAGE, "Retry_After": "500"}, 500),
        ({"X_Business_Use_Case_Usage": '{"1":[{}]}'}, 60),
        ({"X_Business_Use_Case_Usage": '{"1":[7],"2":7}'}, 60),
        ({"X_Business_Use_Case_Usage": "[]"}, 60),
        ({"X_Business_Use_Case_Usage": "ü"}, 60),
    ],
)
def test_pause_lasts_as_long_as_meta_says_within_an_hour(headers, seconds):
    assert classify(429, error(4), **headers).wait_seconds == seconds


@pytest.mark.parametrize("zone", ["GMT", "-0000", "+0000"])
def test_pause_until_a_date_is_as_long_as_the_date_is_away(monkeypatch, zone):
    monkeypatch.setattr(time, "time", lambda: 1_795_348_800.0)  # 22 November 2026, 12:00
    date = f"Sun, 22 Nov 2026 12:02:30 {zone}"
    assert classify(429, error(4), Retry_After=date).wait_seconds == 150


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, 0),
        ({"X_App_Usage": '{"call_count":94,"total_time":1,"total_cputime":0}'}, 0),
        ({"X_App_Usage": '{"call_count":1,"total_time":95,"total_cputime":0}'}, 60),
        ({"X_App_Usage": '{"call_count":1,"total_cputime":99.5}', "Retry_After": "9"}, 9),
        ({"X_Business_Use_Case_Usage": '{"1":[{"call_count":97}]}'}, 60),
        (
            {
                "X_Business_Use_Case_Usage": '{"1":[{"total_time":100,'
                '"estimated_time_to_regain_access":3}]}'
            },
            180,
        ),
        ({"X_App_Usage": '{"call_count":"99","total_time":true}'}, 0),
        ({"X_App_Usage": "[99]"}, 0),
    ],
)
def test_a_limit_that_is_nearly_used_up_names_a_time_too(headers, seconds):
    answer = classify(200, {"events_received": 1}, **headers)
    assert (answer.kind, answer.wait_seconds) == (Kind.ACCEPTED, seconds)
    assert ("slowing down" in answer.message) == bool(seconds)


def test_only_throttling_names_a_time():
    assert classify(401, error(190), Retry_After="99").wait_seconds == 0


# The connection check


def test_pixel_that_can_be_read_answers(sandbox):
    assert graph_api.get_pixel(PIXEL_ID, AccessToken(TOKEN)).kind is Kind.ACCEPTED


def test_pixel_that_cannot_be_read_says_why(sandbox):
    answer = graph_api.get_pixel(PIXEL_ID, AccessToken("wrong"))
    assert (answer.kind, answer.code) == (Kind.ACCESS, 190)
