"""``make demo`` and ``make walk`` as programs: what they say, and how they end."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys

import demo
import pytest
from walking import chromium, processes

from tests.browser.conftest import EXAMPLE_SITE, until

pytestmark = pytest.mark.browser


@pytest.fixture
def listening():
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def options(port, sandbox_port):
    return demo.arguments([f"--port={port}", f"--sandbox-port={sandbox_port}"])


def test_taken_port_is_named_with_a_way_out(listening):
    with pytest.raises(demo.PortTaken) as raised:
        demo.refuse_taken_ports(options(listening, processes.free_port()))
    text = str(raised.value)
    assert f"Port {listening} of this machine is taken" in text
    assert re.search(r"make demo EXAMPLE_PORT=\d+$", text)


def test_highest_port_that_is_taken_has_a_way_out_too(monkeypatch):
    taken = {*range(65_000, 65_536), 8080}
    monkeypatch.setattr(demo.processes, "is_taken", taken.__contains__)
    assert demo.other_ports({"EXAMPLE_PORT": 65_500}) == {"EXAMPLE_PORT": 8081}


@pytest.mark.parametrize("port", ["0", "-5", "65536", "70000", "x", ""])
def test_what_is_no_port_is_refused_with_what_is_one(port, capsys):
    with pytest.raises(SystemExit):
        demo.arguments(["--port", port])
    assert "a port is a number from 1 to 65535" in capsys.readouterr().err


def test_free_ports_are_fine():
    assert demo.refuse_taken_ports(options(processes.free_port(), processes.free_port())) is None


def test_without_chromium_the_package_to_install_is_named(monkeypatch):
    monkeypatch.delenv("METAPIXEL_CHROMIUM", raising=False)
    monkeypatch.setattr(chromium.shutil, "which", lambda _name: None)
    monkeypatch.setattr(chromium, "PLACES", ())
    monkeypatch.setattr(chromium, "_playwrights_own", lambda: None)
    with pytest.raises(chromium.NoBrowser, match="apt-get install chromium"):
        chromium.find()


def test_walk_without_chromium_ends_with_2():
    done = subprocess.run(
        [sys.executable, EXAMPLE_SITE / "walk.py"],
        check=False,
        capture_output=True,
        text=True,
        env=os.environ | {"METAPIXEL_CHROMIUM": "/nowhere/chromium"},
    )
    assert done.returncode == 2
    assert "METAPIXEL_CHROMIUM is /nowhere/chromium" in done.stderr


def test_demo_goes_on_without_chromium_and_ends_cleanly_on_ctrl_c(new_shop, tmp_path):
    shop, sandbox_port = new_shop("demo"), processes.free_port()
    said = tmp_path / "said.txt"
    with said.open("w") as out:
        process = subprocess.Popen(
            [sys.executable, EXAMPLE_SITE / "demo.py"],
            stdout=out,
            stderr=out,
            env=os.environ
            | {
                "EXAMPLE_PORT": str(shop.port),
                "EXAMPLE_SANDBOX_PORT": str(sandbox_port),
                "EXAMPLE_DB": shop.database,
                "METAPIXEL_CHROMIUM": "/nowhere/chromium",
            },
        )
    try:
        until(lambda: "Ctrl-C ends" in said.read_text() or process.poll() is not None, 60)
        process.send_signal(signal.SIGINT)
        assert process.wait(10) == 0, said.read_text()
    finally:
        process.kill()
    text = said.read_text()
    for line in (f"{shop.url}/", f"http://127.0.0.1:{sandbox_port}/", "admin / admin"):
        assert line in text
    assert "The demo goes on without the shopper." in text
    assert text.endswith("Stopped. The shop keeps its database for the next time.\n")
    assert "Traceback" not in text
    assert not processes.is_taken(shop.port)
