from django.db import models


class Category(models.Model):
    name = models.CharField(max_length=80)


class Tag(models.Model):
    name = models.CharField(max_length=40)


class Product(models.Model):
    """Nine columns of the kinds that most tables have."""

    category = models.ForeignKey(Category, on_delete=models.CASCADE, related_name="products")
    name = models.CharField(max_length=120)
    slug = models.SlugField(max_length=140, unique=True)
    description = models.CharField(max_length=500)
    price = models.DecimalField(max_digits=8, decimal_places=2)
    stock = models.IntegerField()
    active = models.BooleanField()
    created = models.DateTimeField()
    tags = models.ManyToManyField(Tag, related_name="products")


class Review(models.Model):
    product = models.ForeignKey(Product, on_delete=models.CASCADE, related_name="reviews")
    rating = models.IntegerField()
    title = models.CharField(max_length=120)


class Note(models.Model):
    """The model that no variant caches."""

    text = models.CharField(max_length=200)
