"""The recipe of how-to/invalidate-from-outside: the database itself says what has changed."""

import re
import threading
from pathlib import Path

import pytest
from django.db import connections

from querycache import invalidate
from querycache.recorder import record_reads
from tests.testapp.models import Tag
from tests.threads import elsewhere

PAGE = Path(__file__).parents[2] / "docs/how-to/invalidate-from-outside.md"


def outcome(using):
    with record_reads() as reads:
        found = sorted(tag.name for tag in Tag.objects.using(using))
    return found, reads[0].outcome


@pytest.mark.parametrize("using", ["postgresql"], indirect=True)
def test_a_trigger_notifies_and_a_process_listens(using):
    (recipe,) = re.findall(r"```postgresql\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    recipe = recipe.replace("shop_product", "testapp_tag").replace("shop.Product", "testapp.Tag")
    assert "connection.connection.notifies()" in PAGE.read_text(encoding="utf-8")
    heard, listens = threading.Event(), threading.Event()

    def listen():
        connection = connections[using]
        connection.ensure_connection()
        connection.connection.execute("LISTEN querycache")
        listens.set()
        for notification in connection.connection.notifies(timeout=30, stop_after=1):
            invalidate(notification.payload, using=using)
        heard.set()
        connection.close()

    driver = connections[using]
    driver.ensure_connection()
    driver.connection.execute(recipe)  # past Django, as all that follows
    try:
        Tag.objects.using(using).bulk_create([])
        outcome(using)
        thread = threading.Thread(target=listen)
        thread.start()
        assert listens.wait(10)
        elsewhere(another_program, using)
        assert heard.wait(10)
        thread.join()
        assert outcome(using) == (["of another program"], "miss")
    finally:
        driver.connection.execute("DROP FUNCTION tell_querycache CASCADE")


def another_program(using):
    connections[using].ensure_connection()
    connections[using].connection.execute(
        "INSERT INTO testapp_tag (name) VALUES ('of another program')"
    )
