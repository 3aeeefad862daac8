"""Rows that carry a version, and every kind of relation between them."""

from django.db import models


class Shelf(models.Model):
    version = models.BigIntegerField()


class Tag(models.Model):
    """A binary digit: the tags of a book are the number of their version."""


class Book(models.Model):
    shelf = models.ForeignKey(Shelf, models.CASCADE, related_name="books")
    version = models.BigIntegerField()
    tags = models.ManyToManyField(Tag, related_name="books")


class Leaflet(models.Model):
    """Comes and goes: it is deleted and made again."""

    shelf = models.ForeignKey(Shelf, models.CASCADE, related_name="leaflets")
    version = models.BigIntegerField()


class Scrap(models.Model):
    """What readers write, so that they read in transactions that have written."""

    version = models.BigIntegerField()
