from __future__ import annotations

from django.db import migrations, models
from django.db.models import Q

HELD = "Held back: it may have been sent before this database was copied or restored."
INDEXES = {
    "metapixel_outbox_claim": ["pixel_id", "rank", "id"],
    "metapixel_outbox_deadline": ["pixel_id", "deadline"],
}


def mark_what_is_held(apps, schema_editor):
    """Until now the reason alone told it."""
    rows = apps.get_model("wagtail_metapixel", "OutboxEvent").objects
    waiting = rows.using(schema_editor.connection.alias).filter(state="pending")
    waiting.filter(reason=HELD).update(held=True)


class Migration(migrations.Migration):
    """What is held back stands in no index that a claim goes through."""

    dependencies = [("wagtail_metapixel", "0008_rights")]

    operations = [
        migrations.AddField(
            model_name="outboxevent",
            name="held",
            field=models.BooleanField(default=False, db_default=False),
        ),
        migrations.RunPython(mark_what_is_held, migrations.RunPython.noop),
        *(
            migrations.RemoveIndex(model_name="outboxevent", name=name)
            for name in INDEXES
        ),
        *(
            migrations.AddIndex(
                model_name="outboxevent",
                index=models.Index(
                    fields=fields, condition=Q(state="pending", held=False), name=name
                ),
            )
            for name, fields in INDEXES.items()
        ),
        migrations.AddIndex(
            model_name="outboxevent",
            index=models.Index(
                fields=["pixel_id", "deadline"],
                condition=Q(state="pending", held=True),
                name="metapixel_outbox_held",
            ),
        ),
    ]
