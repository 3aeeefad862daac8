"""Fills the shop: the same rows each time, made by the database itself."""

from django.core.management import call_command
from django.db import connection

CATEGORIES = 20
TAGS = 50
NOTES = 10

STATEMENTS = """
INSERT INTO bench_category (id, name) SELECT i, 'Category ' || i
    FROM generate_series(1, %(categories)s) i;
INSERT INTO bench_tag (id, name) SELECT i, 'Tag ' || i FROM generate_series(1, %(tags)s) i;
INSERT INTO bench_note (id, text) SELECT i, 'Note ' || i FROM generate_series(1, %(notes)s) i;
INSERT INTO bench_product
    (id, category_id, name, slug, description, price, stock, active, created)
    SELECT i, 1 + i %% %(categories)s, 'Product ' || i, 'product-' || i,
        repeat('Fine goods of number ' || i || '. ', 6), (i * 7 %% 10000) / 100.0, i %% 50,
        i %% 10 > 0, timestamptz '2025-01-01 00:00+00' + i * interval '1 minute'
    FROM generate_series(1, %(products)s) i;
INSERT INTO bench_product_tags (product_id, tag_id)
    SELECT i, 1 + (i + j * 7) %% %(tags)s
    FROM generate_series(1, %(products)s) i, generate_series(1, 3) j;
INSERT INTO bench_review (id, product_id, rating, title)
    SELECT i, 1 + i %% %(products)s, 1 + i %% 5, 'Review ' || i
    FROM generate_series(1, %(reviews)s) i
"""


def stock_up(*, products: int, reviews: int) -> None:
    call_command("migrate", run_syncdb=True, verbosity=0)
    numbers = {
        "categories": CATEGORIES,
        "tags": TAGS,
        "notes": NOTES,
        "products": products,
        "reviews": reviews,
    }
    with connection.cursor() as cursor:
        for statement in STATEMENTS.split(";"):
            cursor.execute(statement, numbers)
        # The server of the benchmarks has no autovacuum, which would run in the middle of a round.
        cursor.execute("VACUUM ANALYZE")
    connection.close()  # a database that is to be copied has no sessions
