from django.apps import AppConfig


class MagazineConfig(AppConfig):
    name = "tests.thirdparty.magazine"
    label = "magazine"
