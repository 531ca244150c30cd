from __future__ import annotations

import pytest
from django.apps import apps
from django.core.management import call_command


@pytest.mark.django_db
def test_models_and_migrations_say_the_same():
    call_command("makemigrations", "wagtail_metapixel", check=True, dry_run=True)


def test_no_column_points_to_page_because_a_site_may_swap_it():
    pointers = [
        f"{field.model.__name__}.{field.name}"
        for model in apps.get_app_config("wagtail_metapixel").get_models()
        for field in model._meta.get_fields()
        if field.related_model and field.related_model.__name__ == "Page"
    ]
    assert pointers == []
