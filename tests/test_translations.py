"""The admin in other languages: complete, and found where Django looks."""

from __future__ import annotations

import ast
import gettext
import re
from pathlib import Path

import pytest
from django.utils import translation

from wagtail_metapixel.models import MetaPixel, State

LOCALE = Path(__file__).resolve().parents[1] / "wagtail_metapixel" / "locale"
CATALOGUES = sorted(LOCALE.glob("*/LC_MESSAGES/django.po"))


def test_the_admin_speaks_german():
    with translation.override("de"):
        assert str(MetaPixel._meta.get_field("pixel_id").verbose_name) == "Pixel-ID"
        assert State.PENDING.label == "Wartet"


@pytest.mark.parametrize("path", CATALOGUES, ids=lambda path: path.parts[-3])
def test_no_text_is_left_untranslated(path):
    entries = path.read_text(encoding="utf-8").split("\n\n")[1:]
    assert entries
    assert [entry for entry in entries if re.search(r'msgstr ""\n?\Z', entry.rstrip() + "\n")] == []
    assert [entry for entry in entries if "#, fuzzy" in entry] == []


@pytest.mark.parametrize("path", CATALOGUES, ids=lambda path: path.parts[-3])
def test_every_catalogue_is_compiled(path):
    compiled = path.with_suffix(".mo")
    assert compiled.is_file()


def texts_of_the_admin():
    """Each text between ``_(`` and ``)``, as Python reads it."""
    for path in LOCALE.parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") in {"_", "gettext"}:
                yield ast.literal_eval(node.args[0])
    for path in LOCALE.parent.rglob("templates/**/*.html"):
        source = path.read_text(encoding="utf-8")
        yield from re.findall(r'{% translate "(.+?)"', source)
        for text in re.findall(r"{% blocktranslate[^%]* trimmed %}(.+?){% end", source, re.DOTALL):
            lines = " ".join(line.strip() for line in text.strip().splitlines())
            yield re.sub(r"{{ (\w+) }}", r"%(\1)s", lines)


@pytest.mark.parametrize("path", CATALOGUES, ids=lambda path: path.parts[-3])
def test_every_text_of_the_admin_is_translated(path):
    with path.with_suffix(".mo").open("rb") as file:
        translated = gettext.GNUTranslations(file)._catalog
    wanted = set(texts_of_the_admin())
    assert wanted
    assert sorted(wanted - translated.keys()) == []
