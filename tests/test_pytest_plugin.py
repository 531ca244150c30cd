"""The fixtures, and docs/testing.md: every block of the page is run, in a shop made for it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from wagtail_metapixel import testing
from wagtail_metapixel.delivery import deliver_due
from wagtail_metapixel.tracking import track

pytest_plugins = ["wagtail_metapixel.pytest_plugin"]

ROOT = Path(__file__).resolve().parents[1]
PAGE = (ROOT / "docs" / "testing.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python\n# (\w+\.py)\n(.*?)```", PAGE, re.DOTALL)

SHOP = {
    "shop_settings.py": """
from tests.settings import *
ROOT_URLCONF = "shop.urls"
DATABASES["default"]["TEST"]["MIGRATE"] = False  # in a third of the time, and without Wagtail's site
""",
    "shop/__init__.py": "",
    "test_memory.py": """
from wagtail_metapixel import site_settings
from wagtail_metapixel.testing import use_pixel

def test_settings_are_read(db):
    use_pixel()
    assert site_settings.current().sites[0].pixels

def test_settings_of_the_test_before_are_forgotten(db):
    assert site_settings.current().sites == ()
""",
    "shop/models.py": "from taggit.models import Tag as Order",
    "shop/urls.py": """
from decimal import Decimal
from functools import partial
from django.db import transaction
from django.http import HttpResponse
from django.template import engines
from django.urls import path
from shop.models import Order
from wagtail_metapixel.tracking import track

MUGS = {"value": Decimal("59.00"), "currency": "EUR"}

def checkout(request):
    if request.method == "POST":
        with transaction.atomic():
            order = Order.objects.create(name="A-17")
            contents = [{"id": "mug", "quantity": 2, "item_price": Decimal("29.50")}]
            person = {"email": request.POST["email"]}
            track("Purchase", request, key=order, user_data=person, contents=contents, **MUGS)
            if "stock" in request.POST:
                transaction.set_rollback(True)
    return HttpResponse()

def add(request):
    track("AddToCart", request, value="29.50", currency="EUR", content_ids=["mug"])
    return HttpResponse()

def paid(request):
    track("Purchase", request, key=Order.objects.get(pk=request.POST["order"]), **MUGS)
    return HttpResponse()

PAGE = '''{% load metapixel %}<html><head>{% metapixel %}</head>
{% metapixel_event "ViewContent" value="29.50" currency="EUR" content_ids=ids %}</html>'''

def mug(request):
    page = engines["django"].from_string(PAGE)
    return HttpResponse(page.render({"ids": [Order(pk=17, name="A-17")]}, request))

def newsletter(request):
    transaction.on_commit(partial(track, "Lead", request))
    return HttpResponse()

urlpatterns = [
    path("checkout/", checkout),
    path("cart/add/", add),
    path("paid/", paid),
    path("newsletter/", newsletter),
    path("mug/", mug),
]
""",
}


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    """A folder with a shop, and the page's blocks as its tests."""
    folder = tmp_path_factory.mktemp("shop")
    for name, text in [*SHOP.items(), *BLOCKS]:
        file = folder / name
        file.parent.mkdir(exist_ok=True)
        file.write_text(text, encoding="utf-8")
    return folder


def run(shop, *command):
    """Run a test command in the shop with tables of its own; return its exit code and words."""
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(shop), str(ROOT)]),
        "DJANGO_SETTINGS_MODULE": "shop_settings",
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    for name in ("METAPIXEL_TEST_DATABASE", "PYTEST_CURRENT_TEST", "PYTEST_ADDOPTS"):
        environment.pop(name, None)
    done = subprocess.run(
        [sys.executable, *command],
        cwd=shop,
        check=False,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=environment,
        timeout=120,
    )
    return done.returncode, done.stdout


def pytest_in(shop, *arguments):
    return run(
        shop, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-c", os.devnull,
        f"--rootdir={shop}", "-W", "error", *arguments,
    )  # fmt: skip


# The page


def test_page_is_short_and_every_block_is_a_file():
    assert len(PAGE.splitlines()) <= 150
    assert len(BLOCKS) == PAGE.count("```python")


@pytest.mark.processes
def test_every_test_of_the_page_passes_with_pytest(shop):
    code, words = pytest_in(shop)
    expected = sum(text.count("def test_") for _name, text in [*SHOP.items(), *BLOCKS])
    assert f"{expected} passed" in words, words
    assert code == 0


@pytest.mark.processes
def test_unittest_needs_no_pytest(shop):
    """Django's own runner, in a process where importing pytest fails."""
    no_pytest = (
        "import sys; sys.modules['pytest'] = None; sys.argv = ['manage.py', 'test', 'test_cart'];"
        "from django.core.management import execute_from_command_line as run; run(sys.argv)"
    )
    code, words = run(shop, "-c", no_pytest)
    assert "Ran 3 tests" in words, words
    assert code == 0


def test_failure_of_the_page_is_what_a_failure_looks_like(metapixel):
    request = testing.visitor_request(consent="denied")
    track("Purchase", request, value=59, currency="EUR")
    with pytest.raises(AssertionError) as failed:
        metapixel.assert_tracked("Purchase")
    assert re.search(r"```text\n(.*?)```", PAGE, re.DOTALL)[1].strip() == str(failed.value)


def test_every_fixture_and_assert_of_the_page_exists(request):
    table = re.findall(r"^\| `(metapixel\w*)` \|", PAGE, re.MULTILINE)
    assert sorted(table) == ["metapixel", "metapixel_client", "metapixel_sandbox"]
    for name in re.findall(r"`(assert_\w+)\(", PAGE):
        assert hasattr(testing.EventCapture, name), name


@pytest.mark.parametrize("name", sorted(testing.MetaPixelTestMixin.__dict__))
def test_everything_the_mixin_offers_is_on_the_page(name):
    if not name.startswith("_") and name != "setUp":
        assert name in PAGE


# What a failing test shows

FAILING = """
from django.test import TestCase
from wagtail_metapixel import testing
from wagtail_metapixel.testing import *

class Failing(MetaPixelTestMixin, TestCase):
    def test_own(self):
        self.assert_tracked("Lead")  # own line
    def test_capture(self):
        self.metapixel.assert_not_declared("", "Search")
        self.metapixel.assert_declared("", "Search")  # own line
    def test_plain(self):
        assert_tracked("Lead")  # own line
"""
MISTAKEN = """
from wagtail_metapixel.testing import *
def test_name(metapixel):
    metapixel.assert_tracked("lead")  # own line
def test_key(metapixel):
    assert_tracked("Lead", user_data={"emial": 1})  # own line
def test_choice(db):
    use_pixel(content_id_scheme="sku")  # own line
"""


@pytest.fixture
def broken(shop):
    """A folder of the shop with tests that fail."""
    folder = shop / "broken"
    folder.mkdir()
    (folder / "__init__.py").touch()
    (folder / "test_broken.py").write_text(FAILING)
    (folder / "test_wrong.py").write_text(MISTAKEN)
    yield folder
    shutil.rmtree(folder)


@pytest.mark.processes
def test_failures_show_the_tests_line_and_none_of_ours(shop, broken):
    code, words = pytest_in(shop, "broken")
    assert (code, words.count("# own line\n")) == (1, words.count(">   ")), words
    assert "6 failed" in words
    assert not re.search(r"^\S*wagtail_metapixel/\S+:\d+", words, re.MULTILINE), words
    run_tests = "import sys; sys.argv = ['manage.py', 'test', 'broken.test_broken'];"
    execute = "from django.core.management import execute_from_command_line as run; run(sys.argv)"
    code, words = run(shop, "-c", run_tests + execute)
    assert (code, words.count("# own line\n")) == (1, 3), words
    assert "wagtail_metapixel/" not in words


# Loading


@pytest.mark.processes
def test_plugin_may_be_loaded_before_django_is_set_up(shop):
    late = shop / "late"
    late.mkdir()
    (late / "conftest.py").write_text(
        'pytest_plugins = ["wagtail_metapixel.pytest_plugin"]\n'
        "def pytest_configure():\n"
        "    import os, django\n"
        '    os.environ["DJANGO_SETTINGS_MODULE"] = "shop_settings"\n'
        "    django.setup()\n"
    )
    (late / "test_nothing.py").write_text("def test_nothing():\n    pass\n")
    code, words = pytest_in(
        shop, "-p", "no:django", "-p", "wagtail_metapixel.pytest_plugin", "late"
    )
    assert "1 passed" in words, words
    assert code == 0


# The fixtures


def test_capture_runs_and_has_a_pixel(metapixel):
    assert track("Lead", testing.visitor_request())
    metapixel.assert_tracked("Lead", pixel_id=testing.PIXEL_ID)
    testing.assert_tracked("Lead")


def test_client_carries_what_meta_matches_by(metapixel_client):
    assert metapixel_client.cookies.keys() == {"metapixel_consent", "_fbp"}
    assert metapixel_client.defaults["REMOTE_ADDR"] == testing.CLIENT_IP_ADDRESS


def test_sandbox_takes_what_is_delivered_with_the_pixels_token(metapixel, metapixel_sandbox):
    track("Lead", testing.visitor_request())
    assert deliver_due().by_state["sent"] == 1
    [request] = metapixel_sandbox.requests
    assert request.headers["authorization"] == f"Bearer {testing.ACCESS_TOKEN}"
    metapixel.assert_tracked("Lead", state="sent")


def test_settings_are_the_shops_own_after_the_sandbox(db, settings):
    assert not hasattr(settings, "WAGTAIL_METAPIXEL")


@pytest.mark.django_db(transaction=True)
def test_fixtures_work_with_real_transactions(metapixel, metapixel_sandbox):
    track("Lead", testing.visitor_request())
    deliver_due()
    metapixel.assert_tracked("Lead", state="sent")
    assert len(metapixel_sandbox.events()) == 1


@pytest.mark.django_db(transaction=True)
def test_live_server_works(metapixel, live_server):
    assert live_server.url.startswith("http://localhost:")
    host = live_server.thread.host
    track("Lead", testing.visitor_request(host=host))
    metapixel.assert_tracked("Lead")


def test_package_does_not_load_the_plugin_by_itself():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert "pytest11" not in project["project"].get("entry-points", {})
