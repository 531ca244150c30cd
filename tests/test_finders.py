from __future__ import annotations

import contextlib
import json
import posixpath
from pathlib import Path

import pytest
from bs4 import BeautifulSoup
from django.contrib.staticfiles import finders as django_finders
from django.contrib.staticfiles.views import serve
from django.core.management import call_command

from wagtail_metapixel import browser, finders, script_files
from wagtail_metapixel.checks import SCRIPT_FINDER
from wagtail_metapixel.site_settings import PixelConfig, SiteConfig, Snapshot

OWN = Path(finders.__file__).with_name("static") / "wagtail_metapixel"
CORE = str(OWN / "metapixel.js")
SITE = SiteConfig(
    site_pk=1,
    hostname="testserver",
    port=80,
    is_default=True,
    consent_provider="cookiebot",
    pixels=(PixelConfig(pixel_id="11111", hosts=frozenset({"testserver"}), events=None),),
    browser_matching=("em",),
    html_attributes=True,
    single_page=True,
)
STORAGES = {
    "plain": "django.contrib.staticfiles.storage.StaticFilesStorage",
    "manifest": "django.contrib.staticfiles.storage.ManifestStaticFilesStorage",
}


@pytest.fixture
def named(settings):
    """A site that gave our scripts names of its own."""
    settings.WAGTAIL_METAPIXEL = {"SCRIPT_PATH": "assets/part-{}.js"}
    settings.STATICFILES_FINDERS = [*settings.STATICFILES_FINDERS, SCRIPT_FINDER]
    return settings


@pytest.fixture(autouse=True)
def snapshot(monkeypatch):
    """A snapshot without a database."""
    kept = Snapshot()
    monkeypatch.setattr(browser, "current", lambda: kept)


def paths_of_a_page():
    """The scripts of a page that loads as many of them as one can."""
    page = BeautifulSoup(browser.head_markup(SITE, "testserver"), "html.parser")
    return [script["src"] for script in page.find_all("script", src=True)]


def test_every_script_has_a_number_and_keeps_it():
    assert set(script_files.SCRIPTS) == {path.name for path in OWN.glob("*.js")}
    assert script_files.SCRIPTS[:3] == ("metapixel.js", "first_party_cookies.js", "meta_script.js")
    assert script_files.SCRIPTS[15] == "consent_function.js"
    assert len(set(script_files.SCRIPTS)) == len(script_files.SCRIPTS)


def test_each_numbered_path_is_the_script_of_that_number(named):
    for number, name in enumerate(script_files.SCRIPTS, start=1):
        assert django_finders.find(f"assets/part-{number}.js") == str(OWN / name)


@pytest.mark.parametrize("path", ["assets/part-0.js", "assets/part-01.js", "part-1.js", "", "../x"])
def test_any_other_path_is_not_ours(named, path):
    assert finders.ScriptFinder().find(path) == []
    assert django_finders.find("assets/part-99.js") is None


def test_all_matches_are_a_list_by_the_name_of_either_django(named):
    finder = finders.ScriptFinder()
    assert django_finders.find("assets/part-1.js", find_all=True) == [CORE]
    assert finder.find("assets/part-1.js", all=True) == [CORE]
    with pytest.raises(TypeError):
        finder.find("assets/part-1.js", al=True)


def test_a_search_in_vain_names_our_folder(named):
    django_finders.find("nowhere.js")
    assert str(OWN.parent) in django_finders.searched_locations


@pytest.mark.parametrize("value", ["", "assets/part.js", ["assets/part-{}.js"]])
def test_without_a_usable_path_there_is_nothing_to_find(named, value):
    named.WAGTAIL_METAPIXEL = {"SCRIPT_PATH": value}
    assert list(finders.ScriptFinder().list([])) == []
    assert django_finders.find("assets/part-1.js") is None
    assert paths_of_a_page()[-1] == "/static/wagtail_metapixel/metapixel.js"


def test_patterns_leave_out_what_they_match(named):
    def listed(patterns):
        return [path for path, _storage in finders.ScriptFinder().list(patterns)]

    everything = [f"assets/part-{n}.js" for n in range(1, len(script_files.SCRIPTS) + 1)]
    assert listed([]) == listed(None) == everything
    assert listed(["*.js"]) == []


def test_the_development_server_serves_them(named, rf):
    answer = serve(rf.get("/static/assets/part-1.js"), "assets/part-1.js", insecure=True)
    with contextlib.closing(answer.file_to_stream):
        assert answer.getvalue() == Path(CORE).read_bytes()
    assert answer["Content-Type"].startswith("text/javascript")


@pytest.mark.parametrize("kind", STORAGES)
def test_collected_files_are_those_that_a_page_names(named, kind, tmp_path):
    named.STORAGES = {**named.STORAGES, "staticfiles": {"BACKEND": STORAGES[kind]}}
    named.STATIC_ROOT = tmp_path
    # Of all the others, Wagtail's alone take seconds.
    named.STATICFILES_FINDERS = [SCRIPT_FINDER]
    call_command("collectstatic", interactive=False, verbosity=0)

    paths = paths_of_a_page()
    assert len(paths) == len(set(paths)) == len(browser.scripts(SITE, SITE.pixels))
    for path in paths:
        assert path.startswith("/static/assets/part-")
        assert "meta" not in path.lower()
        assert "pixel" not in path.lower()
    collected = [tmp_path / posixpath.relpath(path, "/static") for path in paths]
    assert collected[-1].read_text() == Path(CORE).read_text()
    assert all(path.is_file() for path in collected)
    if kind == "manifest":
        names = json.loads((tmp_path / "staticfiles.json").read_text())["paths"]
        assert f"/static/{names['assets/part-1.js']}" == paths[-1] != "/static/assets/part-1.js"


def test_a_second_collection_copies_nothing(named, tmp_path, capsys):
    named.STATIC_ROOT = tmp_path
    named.STATICFILES_FINDERS = [SCRIPT_FINDER]
    count = len(script_files.SCRIPTS)
    for _round in range(2):
        call_command("collectstatic", interactive=False)
    first, second = [
        line for line in capsys.readouterr().out.splitlines() if " static file" in line
    ]
    assert first.startswith(f"{count} static files copied")
    assert f"{count} unmodified" in second


def test_links_lead_to_our_files(named, tmp_path):
    named.STATIC_ROOT = tmp_path
    named.STATICFILES_FINDERS = [SCRIPT_FINDER]
    call_command("collectstatic", interactive=False, link=True, verbosity=0)
    assert (tmp_path / "assets/part-1.js").resolve() == Path(CORE)
