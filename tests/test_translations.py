"""The admin in other languages: complete, and found where Django looks."""

from __future__ import annotations

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
