"""An app that is not opted in: nothing that reads it may be cached."""

from django.db import models

from tests.testapp.models import Author


class Plain(models.Model):
    name = models.CharField(max_length=100)
    author = models.ForeignKey(Author, models.CASCADE, null=True, related_name="plain")

    def __str__(self) -> str:
        return self.name
