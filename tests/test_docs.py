"""What the README says, held against the code. The last test types its install steps."""

from __future__ import annotations

import ast
import importlib
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from django.dispatch import Signal

from wagtail_metapixel import conf, diagnostics, signals

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
DELIVERY = (ROOT / "docs" / "delivery.md").read_text(encoding="utf-8")


def code(language: str) -> list[str]:
    """The README's code blocks of one language."""
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def first_screen() -> str:
    return README.split("## What happens to an event")[0]


def test_first_screen_is_a_screen_and_holds_the_two_commands():
    assert len(first_screen().splitlines()) <= 40
    assert "make demo" in first_screen()
    assert "make test" in first_screen()


def test_every_make_target_named_exists():
    makefile = (ROOT / "Makefile").read_text()
    targets = set(re.search(r"\.PHONY: (.*)", makefile)[1].split())
    assert set(re.findall(r"(?:^|`)make (\w+)", README, re.MULTILINE)) <= targets


def test_every_management_command_named_exists():
    for name in re.findall(r"manage\.py (metapixel_\w+)", README):
        importlib.import_module(f"wagtail_metapixel.management.commands.{name}")


def test_settings_table_equals_the_code():
    rows = re.findall(r'^\| `"(\w+)"` \| `(.*?)` \|', README, re.MULTILINE)
    assert {name: ast.literal_eval(default) for name, default in rows} == dict(conf.DEFAULTS)


def test_delivery_drivers_named_are_the_ones_there_are():
    assert set(re.findall(r'"DELIVERY": "(\w+)"', README)) == set(conf.DRIVERS)


def test_every_module_named_exists():
    table = README.split("## Where is what")[1].split("\n## ")[0]
    for name in re.findall(r"`([\w/]+\.(?:py|js))`", table):
        place = ROOT if name.startswith("tests/") else ROOT / "wagtail_metapixel"
        assert (place / name).is_file(), name


def test_every_link_to_a_file_leads_to_one():
    for document in [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]:
        for target in re.findall(r"\]\(([^)#:]+)\)", document.read_text(encoding="utf-8")):
            found = document.parent / target
            assert found.exists(), f"{document.name}: {target}"
            assert found.is_dir() or found.stat().st_size, f"{document.name}: {target} is empty"


def test_policy_names_every_source_that_metas_script_needs():
    policy = dict(
        line.split(" ", 1) for line in code("text")[-1].replace(";", "").strip().splitlines()
    )
    assert policy["script-src"] == "'self' https://connect.facebook.net"
    for directive in ("img-src", "connect-src", "frame-src", "form-action"):
        assert "https://www.facebook.com" in policy[directive].split(), directive
    assert "https://connect.facebook.net" in policy["connect-src"].split()


def test_every_signal_is_in_the_page_on_delivery():
    named = {name for name, value in vars(signals).items() if isinstance(value, Signal)}
    section = DELIVERY.partition("## Signals")[2]
    assert named == set(re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE))


def test_python_examples_are_python():
    for block in code("python"):
        # A line of a list, shown alone, ends in a comma; an ellipsis stands for what is yours.
        text = block.replace("[…]", "[]").replace("...", "")
        compile(text, "README.md", "exec")


STARTED_BASE = "django.middleware.security.SecurityMiddleware"


@pytest.mark.packaging
def test_install_steps_work_when_typed(tmp_path):
    """A fresh `wagtail start` project, the README's blocks put where the README says."""
    site = tmp_path / "store"
    _run(tmp_path, sys.executable, "-m", "wagtail.bin.wagtail", "start", "store")
    steps = README.split("## Install")[1]
    blocks = re.findall(r"```(\w+)\n(.*?)```", steps, re.DOTALL)
    settings_block, middleware_block, urls_block = [b for kind, b in blocks if kind == "python"][:3]
    head = next(block for kind, block in blocks if kind == "django")

    base = site / "store" / "settings" / "base.py"
    line = re.search(r'^ *"(wagtail_metapixel\.middleware\.\w+)",$', middleware_block, re.MULTILINE)
    assert line[1] == diagnostics.MIDDLEWARE
    text = base.read_text()
    security = re.search(rf'^ *"{re.escape(STARTED_BASE)}",\n', text, re.MULTILINE)
    assert security, "wagtail start has changed; look where SecurityMiddleware stands now"
    text = text[: security.end()] + line[0] + "\n" + text[security.end() :]
    base.write_text(text + "\n" + settings_block)

    urls = site / "store" / "urls.py"
    ours = re.search(r'^ *path\("metapixel/".*$', urls_block, re.MULTILINE)[0]
    urls.write_text(urls.read_text().replace("urlpatterns = [\n", f"urlpatterns = [\n{ours}\n", 1))

    template = site / "store" / "templates" / "base.html"
    load, tag = head.strip().splitlines()
    page = template.read_text().replace("</head>", f"{load}\n{tag}\n</head>", 1)
    template.write_text(page)

    _run(site, sys.executable, "manage.py", "migrate", "--verbosity", "0")
    doctor = _run(site, sys.executable, "manage.py", "metapixel_doctor", "--offline", ok={0, 1})
    assert "MetaPixelMiddleware stands above sessions and caches." in doctor
    assert "The browser posts to /metapixel/collect/." in doctor
    assert "No pixel is set." in doctor
    assert '"transaction_mode": "IMMEDIATE"' in doctor
    for_sqlite = next(block for _kind, block in blocks if "transaction_mode" in block)
    base.write_text(f"{base.read_text()}\n{for_sqlite}")
    doctor = _run(site, sys.executable, "manage.py", "metapixel_doctor", "--offline", ok={0, 1})
    assert "transaction_mode" not in doctor
    page = _run(site, sys.executable, "-c", SEE_A_PAGE)
    assert "metapixel-config" in page
    assert "metapixel.js" in page


SEE_A_PAGE = """
import os
os.environ["DJANGO_SETTINGS_MODULE"] = "store.settings.dev"
import django
django.setup()
from django.test import Client
from wagtail.models import Site
from wagtail_metapixel.models import MetaPixel, MetaPixelSettings
site = Site.objects.get()
settings = MetaPixelSettings.objects.create(site=site, consent_provider="cookie")
MetaPixel.objects.create(settings=settings, pixel_id="1234567890123456", hosts="testserver")
print(Client(SERVER_NAME="testserver").get("/").content.decode())
"""


def _run(folder: Path, *command: object, ok: frozenset[int] | set[int] = frozenset({0})) -> str:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    environment.pop("DJANGO_SETTINGS_MODULE", None)
    done = subprocess.run(
        [str(part) for part in command],
        cwd=folder,
        check=False,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=environment,
    )
    assert done.returncode in ok, done.stdout
    return done.stdout
