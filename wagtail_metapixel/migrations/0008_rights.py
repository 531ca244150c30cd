from __future__ import annotations

from django.db import migrations


class Migration(migrations.Migration):
    """The right to change a token: a permission, and no table."""

    dependencies = [("wagtail_metapixel", "0007_key_by_event_id")]

    operations = [
        migrations.AlterModelOptions(
            name="metapixelsettings",
            options={
                "permissions": [
                    ("change_token_metapixelsettings", "Can change Meta Pixel access tokens")
                ],
                "verbose_name": "Meta Pixel",
                "verbose_name_plural": "Meta Pixel settings",
            },
        ),
    ]
