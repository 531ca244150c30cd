from __future__ import annotations

import pytest

from wagtail_metapixel import conf, deployment


def test_every_setting_is_read_by_one_of_the_readers():
    assert set(deployment._READERS) == set(conf.DEFAULTS)


def test_without_settings_there_is_no_mistake(settings):
    del settings.WAGTAIL_METAPIXEL
    assert list(deployment.mistakes()) == []


def test_all_mistakes_are_found_the_unknown_names_first(settings):
    settings.WAGTAIL_METAPIXEL = {"POLL_INTERVAL": "a", "DELIVRY": 1, "TRUSTED_PROXIES": 1}
    unknown, unusable = deployment.mistakes()
    assert (unknown.is_unknown, unknown.advice) == (True, 'Did you mean "DELIVERY"?')
    assert (unusable.is_unknown, "POLL_INTERVAL" in unusable.fact) == (False, True)
    assert unusable.advice == "Without it, the default holds: 1.0."


@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("tests.no_such_module.f", "importing it raised ModuleNotFoundError"),
        ("tests.factories.no_such_function", "importing it raised ImportError"),
        ("..x", "importing it raised"),
        (".x", "importing it raised"),
        ("tests.breaks_on_import.f", "importing it raised ZeroDivisionError"),
        ("os.sep", "what is there cannot be called"),
    ],
)
def test_a_function_that_cannot_be_had_is_a_mistake_that_says_why(settings, monkeypatch, path, why):
    def fail(_path):
        raise ZeroDivisionError

    if "breaks" in path:
        monkeypatch.setattr(conf, "import_string", fail)
    settings.WAGTAIL_METAPIXEL = {"CONSENT_PROVIDER": path}
    (mistake,) = deployment.mistakes()
    assert "CONSENT_PROVIDER" in mistake.fact
    assert f"; {why}" in mistake.fact


def test_a_name_that_is_no_text_is_a_mistake_and_no_crash(settings):
    settings.WAGTAIL_METAPIXEL = {1: 2}
    (mistake,) = deployment.mistakes()
    assert mistake.is_unknown
