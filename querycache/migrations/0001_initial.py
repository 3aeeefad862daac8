from django.db import migrations, models


class Migration(migrations.Migration):
    """Tells Django of the model's permissions; creates no table."""

    initial = True
    dependencies = []
    operations = [
        migrations.CreateModel(
            name="QueryCache",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
            ],
            options={
                "verbose_name": "query cache",
                "verbose_name_plural": "query cache",
                "permissions": (("flush_querycache", "Can flush the query cache"),),
                "managed": False,
                "default_permissions": ("view",),
            },
        ),
    ]
