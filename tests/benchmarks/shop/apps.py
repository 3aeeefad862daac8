from django.apps import AppConfig


class ShopConfig(AppConfig):
    name = "tests.benchmarks.shop"
    label = "bench"
