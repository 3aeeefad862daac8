"""Whatever is read, and whatever is written in between, every read is that of the database."""

import re
import uuid
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.contrib.contenttypes.models import ContentType
from django.core.cache import caches
from hypothesis import strategies as st

import querycache
from querycache import bypass, hooks
from querycache.recorder import record_reads
from tests.differential.examples import PAIRS, Raised, taken, try_out
from tests.differential.expressions import all_models
from tests.differential.generated_writes import names_for_writes, stories, writes
from tests.differential.picture import picture
from tests.differential.querysets import families, namespace
from tests.differential.shelf import Copy, Library
from tests.differential.writes import MODES

VOLATILE = re.compile(r"\b(NOW|RAND|RANDOM|CURRENT_TIMESTAMP|STATEMENT_TIMESTAMP)\b")
"""Words of SQL that make each answer another one; parameters are not among them."""
NOT_OPTED_IN = "testapp_secret"


@contextmanager
def statements_of(using: str, count_sql: Any) -> Iterator[list[str]]:
    """Content types are read from the default database, whatever they are needed for."""
    statements: list[str] = []
    with count_sql("default") as there, count_sql(using) as here:
        yield statements
    statements += here if using == "default" else there + here


@pytest.fixture
def library(using, store):
    library = Library(using)
    library.build()
    return library


@pytest.mark.parametrize(("using", "store_alias"), PAIRS, indirect=True)
def test_any_read_is_the_same_without_the_cache_at_first_and_from_it(library, using, count_sql):
    names = namespace(using)
    counts: Counter[str] = Counter()
    reasons: Counter[str] = Counter()

    def check(family, number):
        querycache.flush()
        for read in family:
            counts[check_one(read, number)] += 1

    def check_one(read, number):
        with bypass(), statements_of(using, count_sql) as asked:
            without = taken(read, names)
        with record_reads() as found:
            assert taken(read, names) == without
        with statements_of(using, count_sql) as again:
            assert taken(read, names) == without
        if may_not_be_cached(asked):
            assert again
            return "must not be cached"
        if not asked:
            return "no SQL"
        if any(one.reason for one in found):
            reasons.update(str(one.reason) for one in found if one.reason)
            return "not cached"
        if is_raised(without) and sum(one.outcome == "miss" for one in found) < len(asked):
            return "raised"
        assert again == []
        models = models_in(asked)
        for alias in {using, "default"}:  # where content types are read from
            querycache.invalidate(models[number % len(models)], using=alias)
        with statements_of(using, count_sql) as again:
            assert taken(read, names) == without
        assert again
        return "hit" if has_rows(without) else "hit of nothing"

    try_out(check, families(), st.integers(0, 5), examples=100, of=using)
    print(using, counts, reasons)
    cached = counts["hit"] + counts["hit of nothing"]
    assert cached > (counts.total() - counts["no SQL"]) * 0.7
    assert counts["hit"] > cached / 2


def may_not_be_cached(statements):
    sql = " ".join(statements)
    return bool(VOLATILE.search(sql)) or NOT_OPTED_IN in sql


def has_rows(result):
    return not is_raised(result) and result != picture([]) and result != []


def is_raised(result):
    return isinstance(result, Raised)


def models_in(statements):
    """The models whose tables the statements name."""
    sql = " ".join(statements)
    tables = {model: model._meta.db_table.strip('"') for model in all_models().values()}
    return [model for model, table in tables.items() if re.search(rf"\b{re.escape(table)}\b", sql)]


@pytest.mark.parametrize(("using", "store_alias"), PAIRS, indirect=True)
def test_any_read_is_that_of_the_database_after_any_write(library, using, store, count_sql):
    names = names_for_writes(namespace(using), library)
    counts: Counter[str] = Counter()

    def look(read):
        with bypass():
            without = taken(read, names)
        with record_reads() as found:
            assert taken(read, names) == without
        counts.update(one.outcome for one in found)
        return without

    def look_at_all(chosen):
        seen = [look(read) for read in chosen]
        assert [look(read) for read in chosen] == seen
        return seen

    def run(write, chosen):
        """Write, and look before the transaction ends. That the write fails is no matter."""
        try:
            with MODES[write.mode].run(using):
                write.run(names)
                for read in chosen:
                    with bypass():
                        without = taken(read, names)
                    if is_raised(without):  # which may break the transaction
                        break
                    assert taken(read, names) == without
        except AssertionError:
            raise
        except Exception:  # noqa: BLE001
            counts["failed"] += 1

    def check(story):
        chosen, writes = story
        copy.put_back()
        caches[store].clear()
        before = look_at_all(chosen)
        for write in writes:
            run(write, chosen)
            now = look_at_all(chosen)
            counts["changed" if now != before else "unchanged"] += 1
            before = now

    with Copy(using) as copy:
        try_out(check, stories(using), examples=60, of=using)
        copy.put_back()
    print(using, counts)
    assert counts["changed"] > 30


@pytest.mark.parametrize(("using", "store_alias"), PAIRS, indirect=True)
def test_any_write_does_what_it_does_without_querycache(library, using):
    names = names_for_writes(namespace(using), library)
    counts: Counter[str] = Counter()

    def outcome_of(write):
        copy.put_back()
        querycache.flush()
        ContentType.objects.clear_cache()
        try:
            with MODES[write.mode].run(using):
                result = type(write.run(names))
        except Exception as error:  # noqa: BLE001  to raise is an outcome, too
            result = type(error)
        return result, rows_without_keys(using)

    def check(write):
        hooks.uninstall()
        try:
            without = outcome_of(write)
        finally:
            hooks.install()
        assert outcome_of(write) == without
        counts["raised" if issubclass(without[0], Exception) else "written"] += 1

    with Copy(using) as copy:
        try_out(check, writes(using), examples=100, of=using)
        copy.put_back()
    print(using, counts)
    assert counts["written"] > 50


@bypass()
def rows_without_keys(using):
    """All rows, without what the database chooses anew each time."""
    return {model: rows_of(model, using) for model in all_models().values()}


def rows_of(model, using):
    try:
        return sorted(repr(given_values(row)) for row in model._base_manager.using(using))
    except ArithmeticError as error:  # SQLite keeps decimals that Django cannot read again
        return repr(error)


def given_values(row):
    return [
        getattr(row, field.attname) is None if field.is_relation else getattr(row, field.attname)
        for field in row._meta.concrete_fields
        if not (field.primary_key or field.has_db_default() or field.default is uuid.uuid4)
    ]
