"""A model without a table: it carries the permissions, and the entry in the admin."""

from django.db import models


class QueryCache(models.Model):  # noqa: DJ008  no instance of it is ever shown
    """What may be viewed and flushed in the admin. There are no rows of it."""

    class Meta:
        managed = False
        default_permissions = ("view",)
        permissions = (("flush_querycache", "Can flush the query cache"),)
        verbose_name = "query cache"
        verbose_name_plural = "query cache"
