"""What people get from ``pip install``: the wheel's contents, and that it works on its own.

Run by the suite ``wheel``: the last test installs the wheel with all it depends on.
"""

from __future__ import annotations

import json
import subprocess
import sys
import venv
import zipfile
from email.parser import Parser
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "wagtail_metapixel"
# Written by tools, or only for translators.
NOT_SHIPPED = {".pyc", ".po", ".pot"}

pytestmark = pytest.mark.packaging

# What a fresh site does: start Django with the package, and find its templates and static files.
FRESH_SITE = """
import json, sys
import django
from django.conf import settings
from django.contrib.staticfiles import finders
from django.template.loader import get_template

static, templates, modules = json.load(sys.stdin)
apps = "contrib.settings documents images sites users admin".split()
settings.configure(
    SECRET_KEY="fresh",
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:",
                           "OPTIONS": {"transaction_mode": "IMMEDIATE"}}},
    DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
    INSTALLED_APPS=["wagtail_metapixel", *(f"wagtail.{app}" for app in apps), "wagtail",
                    "modelcluster", "taggit", "django.contrib.auth",
                    "django.contrib.contenttypes", "django.contrib.sessions",
                    "django.contrib.messages", "django.contrib.staticfiles"],
    TEMPLATES=[{"BACKEND": "django.template.backends.django.DjangoTemplates", "APP_DIRS": True}],
    STATIC_URL="/static/", WAGTAILADMIN_BASE_URL="http://localhost", USE_TZ=True,
)
django.setup()
from importlib import import_module
from django.core.management import call_command
for name in modules:
    import_module(name)
for name in templates:
    get_template(name)
missing = [name for name in static if not finders.find(name)]
assert not missing, missing
call_command("migrate", verbosity=0)
import wagtail_metapixel
print(wagtail_metapixel.__file__)
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    # The sdist first and the wheel from it, as a release does it.
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", folder, ROOT)
    return next(folder.glob("*.whl"))


@pytest.fixture(scope="module")
def contents(wheel) -> set[str]:
    return set(zipfile.ZipFile(wheel).namelist())


@pytest.fixture(scope="module")
def metadata(wheel, contents):
    name = next(name for name in contents if name.endswith(".dist-info/METADATA"))
    return Parser().parsestr(zipfile.ZipFile(wheel).read(name).decode())


def run(*command: object, **options) -> str:
    done = subprocess.run(
        [str(part) for part in command],
        check=False,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        **options,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


def shipped(*folders: str) -> set[str]:
    """The files of the checkout below the package, or below folders of it."""
    return {
        str(path.relative_to(ROOT))
        for folder in (PACKAGE / name for name in folders or [""])
        for path in folder.rglob("*")
        if path.is_file() and path.suffix not in NOT_SHIPPED
    }


OF_EXTRAS = {
    # Loaded by pytest, which a shop has in its tests and not in its service.
    "wagtail_metapixel.pytest_plugin",
    "wagtail_metapixel.jinja2tags",
    "wagtail_metapixel.drivers.celery",
}


def modules() -> set[str]:
    """Modules that have to import with nothing but the declared dependencies."""
    return {
        name.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
        for name in shipped()
        if name.endswith(".py") and "/migrations/" not in name
    }


def test_wheel_holds_every_file_of_the_package(contents):
    assert shipped() - contents == set()


def test_wheel_holds_nothing_but_the_package(contents):
    assert {name.split("/")[0] for name in contents} == {
        "wagtail_metapixel",
        next(name.split("/")[0] for name in contents if ".dist-info/" in name),
    }


def test_wheel_is_typed_and_carries_its_licence(contents, metadata):
    assert "wagtail_metapixel/py.typed" in contents
    assert any(name.endswith("/licenses/LICENSE") for name in contents)
    assert metadata["License-Expression"] == "BSD-3-Clause"


def test_dependencies_have_no_upper_bounds(metadata):
    requirements = [line.split(";")[0] for line in metadata.get_all("Requires-Dist")]
    assert [text for text in requirements if any(sign in text for sign in ("<", "==", "~="))] == []


def test_wheel_works_in_a_fresh_environment(wheel, tmp_path):
    venv.create(tmp_path / "venv", with_pip=True)
    python = tmp_path / "venv" / "bin" / "python"
    run(python, "-m", "pip", "install", "--quiet", wheel)
    run(python, "-m", "pip", "check")
    files = [
        sorted(name.split("/static/", 1)[1] for name in shipped("static")),
        sorted(name.split("/templates/", 1)[1] for name in shipped("templates")),
        sorted(modules() - OF_EXTRAS),
    ]
    # -P and another folder: the checkout must not stand in for what the wheel forgot.
    answer = run(python, "-P", "-c", FRESH_SITE, input=json.dumps(files), cwd=tmp_path)
    assert str(tmp_path) in answer.splitlines()[-1]
