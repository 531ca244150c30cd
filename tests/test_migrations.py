from __future__ import annotations

import pytest
from django.apps import apps
from django.core.management import call_command
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.operations import AddField

# The last one of the oldest Wagtail we support, 7.4: makemigrations names that of the newest.
NEWEST_OF_WAGTAIL = "0097"


@pytest.mark.django_db
def test_models_and_migrations_say_the_same():
    call_command("makemigrations", "wagtail_metapixel", check=True, dry_run=True)


def test_what_a_release_adds_to_the_settings_has_a_value_where_an_older_one_writes():
    """Two releases run side by side while one is rolled out: the older knows no new column."""
    loader = MigrationLoader(None, ignore_no_migrations=True)
    added = [
        operation
        for (label, name), migration in loader.disk_migrations.items()
        if label == "wagtail_metapixel" and not name.startswith("0001")
        for operation in migration.operations
        if isinstance(operation, AddField)
    ]
    assert {"consent_category", "consent_vendor_id", "html_attributes", "single_page"} <= {
        operation.name for operation in added
    }
    helpless = [
        operation.name
        for operation in added
        if not (
            operation.field.null or operation.field.has_db_default() or operation.field.generated
        )
    ]
    assert helpless == []


def test_no_column_points_to_page_because_a_site_may_swap_it():
    pointers = [
        f"{field.model.__name__}.{field.name}"
        for model in apps.get_app_config("wagtail_metapixel").get_models()
        for field in model._meta.get_fields()
        if field.related_model and field.related_model.__name__ == "Page"
    ]
    assert pointers == []


def test_migrations_depend_on_nothing_newer_than_the_oldest_wagtail():
    loader = MigrationLoader(None, ignore_no_migrations=True)
    too_new = [
        f"{name} depends on {app}.{needed}"
        for (label, name), migration in loader.disk_migrations.items()
        for app, needed in migration.dependencies
        if label == "wagtail_metapixel" and app == "wagtailcore" and needed[:4] > NEWEST_OF_WAGTAIL
    ]
    assert too_new == []
