from __future__ import annotations

import pytest

from wagtail_metapixel.redaction import shown_id, shown_word

EMAIL = "anna@example.com"
DIGEST = "a5" * 32


@pytest.mark.parametrize(
    ("word", "shown"),
    [
        ("Purchase", "Purchase"),
        ("My own-event_2", "My own-event_2"),
        (EMAIL, "?"),
        ("tel48601234567", "?"),
        ("48601234567", "?"),
        ("x" * 51, "?"),
        (7, "?"),
    ],
)
def test_a_word_that_may_be_personal_is_not_shown(word, shown):
    assert shown_word(word) == shown


@pytest.mark.parametrize(
    ("event_id", "shown"),
    [("a-1", True), (DIGEST, True), (EMAIL, False), ("48601234567", False), ("a b", False)],
)
def test_an_id_that_may_be_personal_is_not_shown(event_id, shown):
    assert shown_id(event_id) == (event_id if shown else "")
