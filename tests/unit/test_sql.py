"""What is understood of a statement, and what is not."""

import pytest

from querycache import sql
from querycache.exceptions import Reason, Uncacheable
from querycache.statements import change_of

VENDORS = ["sqlite", "postgresql", "mysql"]


@pytest.mark.parametrize("vendor", VENDORS)
@pytest.mark.parametrize(
    ("statement", "tables"),
    [
        ("SELECT a.x FROM a WHERE a.y = %s", {"a"}),
        ("SELECT COUNT(*) FROM a INNER JOIN B ON a.x = B.x", {"a", "b"}),
        ("SELECT x FROM a WHERE EXISTS(SELECT 1 FROM b WHERE b.x = a.x)", {"a", "b"}),
        ("SELECT (SELECT MAX(y) FROM c) FROM a", {"a", "c"}),
        ("SELECT x FROM a UNION SELECT x FROM b ORDER BY 1", {"a", "b"}),
        ("SELECT x FROM (SELECT x FROM d LIMIT 3) AS t", {"d"}),
        ("WITH t AS (SELECT x FROM e) SELECT x FROM t", {"e"}),
        ("SELECT x FROM a WHERE x IN (%s, %s, %s)", {"a"}),
        ("SELECT CASE WHEN x > %s THEN COALESCE(y, %s) ELSE NULL END FROM a", {"a"}),
        ("SELECT ROW_NUMBER() OVER (PARTITION BY x ORDER BY y) FROM a", {"a"}),
        ("SELECT CAST(x AS VARCHAR(10)) FROM a", {"a"}),
        ("SELECT x FROM a WHERE y = 'SELECT random() FROM b'", {"a"}),
        ("SELECT x FROM a WHERE y = 'it''s ; DELETE FROM b'", {"a"}),
        ("SELECT x FROM a -- FROM b\n/* FROM c */ WHERE y = 1", {"a"}),
    ],
)
def test_a_select_names_its_tables(vendor, statement, tables):
    assert sql.tables_read(statement, vendor) == tables


def test_names_are_unquoted_unqualified_and_case_folded():
    assert sql.tables_read('SELECT 1 FROM "Shop"."Product"', "postgresql") == {"product"}
    assert sql.tables_read("SELECT 1 FROM `Product`", "mysql") == {"product"}


@pytest.mark.parametrize("vendor", VENDORS)
@pytest.mark.parametrize(
    "call",
    [
        "RANDOM()",
        "random ( )",
        "NOW()",
        "CURRENT_TIMESTAMP",
        "current_date",
        "CURRENT_USER",
        "my_function(x)",
        '"my_function"(x)',
        "other_schema.lower(x)",
        "COALESCE(x, UUID())",
        "strftime('%%Y', 'now')",
        "nextval('s')",
        "writer_(x)",
        "lower$(x)",
        "conflict(x)",
    ],
)
def test_a_function_that_is_not_known_to_be_deterministic_is_not_cacheable(vendor, call):
    if vendor == "mysql":
        call = call.replace('"', "`")
    with pytest.raises(Uncacheable) as caught:
        sql.tables_read(f"SELECT {call} FROM a", vendor)
    assert caught.value.reason is Reason.UNKNOWN_FUNCTION


@pytest.mark.parametrize(
    ("statement", "reason"),
    [
        ("SELECT x FROM a FOR UPDATE", Reason.LOCKING),
        ("SELECT x FROM a FOR SHARE", Reason.LOCKING),
        ("SELECT x INTO b FROM a", Reason.UNKNOWN_SQL),
        ("DELETE FROM a", Reason.UNKNOWN_SQL),
        ("WITH d AS (DELETE FROM a RETURNING x) SELECT x FROM d", Reason.UNKNOWN_SQL),
        ("SELECT 1 FROM a; SELECT 2 FROM b", Reason.UNKNOWN_SQL),
        ("SELECT x FROM generate_series(1, 3) AS x", Reason.UNKNOWN_FUNCTION),
        ("SELECT ((((", Reason.UNKNOWN_SQL),
        ("CALL something()", Reason.UNKNOWN_SQL),
        ("", Reason.UNKNOWN_SQL),
    ],
)
def test_what_is_not_a_plain_select_is_not_cacheable(statement, reason):
    with pytest.raises(Uncacheable) as caught:
        sql.tables_read(statement, "postgresql")
    assert caught.value.reason is reason


@pytest.mark.parametrize("word", ["'now'", "' Today '::date", "DATE 'tomorrow'", "'10:00 today'"])
def test_a_word_that_postgresql_takes_for_the_time_is_not_cacheable(word):
    with pytest.raises(Uncacheable) as caught:
        sql.tables_read(f"SELECT x FROM a WHERE y < {word}", "postgresql")
    assert caught.value.reason is Reason.UNKNOWN_FUNCTION


@pytest.mark.parametrize("params", [["now"], (1, "a\ntoday 10:00"), [["yesterday"]], [b"now"]])
def test_a_parameter_that_postgresql_may_take_for_the_time_is_not_cacheable(params):
    with pytest.raises(Uncacheable) as caught:
        sql.refuse_clock(params)
    assert caught.value.reason is Reason.UNKNOWN_FUNCTION


def test_a_parameter_in_which_a_word_only_contains_such_a_word_is_cacheable():
    sql.refuse_clock(["%known%", "snowboots", 5, None, ["nowhere"]])


@pytest.mark.parametrize("cast", ["CAST(x AS DATETIME(6))", "CONVERT(x, DATE)", "TIMESTAMP(x)"])
def test_what_mysql_makes_a_date_of_is_not_cacheable_since_it_may_be_a_time(cast):
    with pytest.raises(Uncacheable) as caught:
        sql.tables_read(f"SELECT {cast} FROM a", "mysql")
    assert caught.value.reason is Reason.UNKNOWN_FUNCTION


def test_what_django_truncates_on_mysql_is_cacheable():
    truncated = "CAST(DATE_FORMAT(`x`, '%%Y-%%m-01') AS DATETIME)"
    assert sql.tables_read(f"SELECT {truncated} FROM a", "mysql") == {"a"}


def test_a_table_of_sqlite_that_stands_for_its_rows_is_not_cacheable():
    with pytest.raises(Uncacheable):
        sql.tables_read("SELECT x FROM a WHERE x IN b", "sqlite")
    assert sql.tables_read("SELECT x FROM a WHERE x IN (b)", "sqlite") == {"a"}


def test_user_variables_of_mysql_are_not_cacheable():
    with pytest.raises(Uncacheable):
        sql.tables_read("SELECT @x FROM a", "mysql")
    with pytest.raises(Uncacheable):
        sql.tables_read("SELECT @@sql_mode FROM a", "mysql")


def test_a_table_of_a_schema_is_no_cte():
    statement = "WITH a AS (SELECT x FROM b) SELECT x FROM s.a"
    assert sql.tables_read(statement, "postgresql") == {"a", "b"}


def test_a_table_of_another_database_is_not_cacheable_on_mysql():
    with pytest.raises(Uncacheable, match="other"):
        sql.tables_read("SELECT x FROM `other`.`a`", "mysql")
    assert sql.tables_read('SELECT x FROM "schema"."a"', "postgresql") == {"a"}
    change = change_of("UPDATE other.a SET x = 1", "mysql")
    assert (change.tables, change.databases) == ({"a"}, {"other"})
    assert change_of("UPDATE a SET x = 1", "mysql").databases == set()


def test_long_lists_of_parameters_have_one_skeleton():
    def skeleton(length):
        return sql.skeleton(f"SELECT x FROM a WHERE x IN ({', '.join(['%s'] * length)})")

    assert skeleton(10) == skeleton(11) == skeleton(5000)
    assert len(skeleton(5000)) < 100
    assert skeleton(2) == "SELECT x FROM a WHERE x IN (NULL, NULL)"
    assert sql.skeleton("x LIKE '%%z' AND y = %(name)s") == "x LIKE '%z' AND y = NULL"


def test_rows_of_parameters_have_one_skeleton():
    rows = sql.skeleton("INSERT INTO a (x, y) VALUES (%s, %s), (%s, %s), (%s, %s)")
    assert rows == "INSERT INTO a (x, y) VALUES (NULL, NULL)"


def test_the_arguments_of_a_function_are_kept():
    assert sql.tables_read("SELECT REPEAT(%s, %s) FROM a", "sqlite") == {"a"}


@pytest.mark.parametrize("vendor", VENDORS)
@pytest.mark.parametrize(
    ("statement", "tables"),
    [
        ("INSERT INTO a (x) VALUES (%s)", {"a"}),
        ("insert into A (x) select x from B", {"a", "b"}),
        ("UPDATE a SET x = %s WHERE y = %s", {"a"}),
        ("DELETE FROM a WHERE x = %s", {"a"}),
        ("/* a comment */ DELETE FROM a", {"a"}),
        ("-- a comment\nUPDATE a SET x = 1", {"a"}),
        ("DELETE FROM a; UPDATE b SET x = 1", {"a", "b"}),
        ("DROP TABLE a", {"a"}),
        ("ALTER TABLE a ADD COLUMN x integer NULL", {"a"}),
        ("CREATE INDEX i ON a (x)", {"a"}),
    ],
)
def test_a_write_changes_the_tables_that_it_names(vendor, statement, tables):
    change = change_of(statement, vendor)
    assert change.tables == tables
    assert not change.everything


@pytest.mark.parametrize(
    ("statement", "tables"),
    [
        ("TRUNCATE a, b", {"a", "b"}),
        ('UPDATE ONLY public."A" SET x = 1 FROM b WHERE b.x = "A".x', {"a", "b"}),
        ("WITH t AS (DELETE FROM a RETURNING x) INSERT INTO b SELECT x FROM t", {"a", "b"}),
        ("WITH t AS (DELETE FROM a RETURNING x) SELECT x FROM t", {"a"}),
        ("INSERT INTO a (x) VALUES (1) ON CONFLICT (x) DO UPDATE SET x = EXCLUDED.x", {"a"}),
        ("MERGE INTO a USING b ON a.x = b.x WHEN MATCHED THEN DELETE", {"a", "b"}),
        ("COPY a FROM STDIN", {"a"}),
        ('copy public."A" (x) from stdin with (format csv)', {"a"}),
        ("CREATE TABLE b AS SELECT x FROM a", {"a", "b"}),
        ("CREATE MATERIALIZED VIEW b AS SELECT x FROM a", {"a", "b"}),
        ("ALTER TABLE a RENAME TO b", {"a", "b"}),
        ("UPDATE a SET x = $tag$ it's $$ $tag$; DELETE FROM b", {"a", "b"}),
        ("UPDATE a SET x = E'it\\'s'; DELETE FROM b", {"a", "b"}),
        ("UPDATE a SET x = 'it\\'; DELETE FROM b", {"a", "b"}),
        ("/* /* nested */ SELECT 1 */ DELETE FROM a", {"a"}),
        ("SELECT x INTO b FROM a", {"a", "b"}),
    ],
)
def test_writes_of_postgresql(statement, tables):
    change = change_of(statement, "postgresql")
    assert change.tables == tables
    assert not change.everything


@pytest.mark.parametrize(
    ("statement", "tables"),
    [
        ("INSERT INTO `a` (`x`) VALUES (%s) ON DUPLICATE KEY UPDATE `x` = VALUES(`x`)", {"a"}),
        ("DELETE `a` FROM `a` INNER JOIN `b` ON a.x = b.x", {"a", "b"}),
        ("UPDATE `a`, `b` SET a.x = 1, b.x = 2", {"a", "b"}),
        ("TRUNCATE `a`", {"a"}),
        ("INSERT IGNORE a SET x = 1", {"a"}),
        ("DELETE FROM a, b USING a JOIN b JOIN c", {"a", "b", "c"}),
        ("DELETE t FROM a AS t", {"a", "t"}),
        ("CREATE TABLE b LIKE a", {"a", "b"}),
        ("# why; SELECT 1\nDELETE FROM a", {"a"}),
        ("SELECT 'it\\'s'; DELETE FROM a", {"a"}),
        ("UPDATE a SET x = '\\\\'; UPDATE b SET x = 1", {"a", "b"}),
        ('SELECT "a\\"; DELETE FROM a"; DELETE FROM b', {"b"}),
    ],
)
def test_writes_of_mysql(statement, tables):
    assert change_of(statement, "mysql").tables == tables


@pytest.mark.parametrize(
    ("statement", "tables"),
    [
        ("INSERT OR REPLACE INTO main.a VALUES (1)", {"a"}),
        ("UPDATE [a] SET x = 1", {"a"}),
        ("DELETE FROM 'a'", {"a"}),
        (";; DELETE FROM a", {"a"}),
        ("SELECT ';' -- it's\n; DELETE FROM a", {"a"}),
        ("SELECT '\\'; DELETE FROM a", {"a"}),
        ("UPDATE a SET x = 1 FROM b", {"a", "b"}),
    ],
)
def test_writes_of_sqlite(statement, tables):
    assert change_of(statement, "sqlite").tables == tables


@pytest.mark.parametrize(
    ("vendor", "statement"),
    [
        ("postgresql", "CALL refresh(1)"),
        ("postgresql", "DO $$ BEGIN DELETE FROM a; END $$"),
        ("postgresql", "SELECT refresh_totals()"),
        ("postgresql", "SELECT 'x', my_schema.count(1)"),
        ("postgresql", "SELECT writer/**/(1)"),
        ("postgresql", "SELECT writer -- why\n(1)"),
        ("postgresql", "TRUNCATE a CASCADE"),
        ("postgresql", "DROP TABLE a CASCADE"),
        ("postgresql", "EXPLAIN ANALYZE DELETE FROM a"),
        ("postgresql", "COMMIT PREPARED 'x'"),
        ("postgresql", "PREPARE x AS DELETE FROM a"),
        ("postgresql", "EXECUTE x (1)"),
        ("postgresql", "REFRESH MATERIALIZED VIEW a"),
        ("postgresql", "DROP SCHEMA a CASCADE"),
        ("postgresql", "ALTER TABLE a ATTACH PARTITION b DEFAULT"),
        ("postgresql", "CREATE RULE r AS ON UPDATE TO a DO INSTEAD DELETE FROM b"),
        ("postgresql", "COPY (DELETE FROM a RETURNING x) TO STDOUT"),
        ("postgresql", "TRUNCATE a RESTART IDENTITY CASCADE"),
        ("postgresql", "VALUES (writer(1))"),
        ("postgresql", "(SELECT writer(1))"),
        ("postgresql", "SELECT x FROM a, LATERAL writer(a.x)"),
        ("postgresql", 'SELECT U&"wr\\0069ter" (1)'),
        ("mysql", "EXECUTE IMMEDIATE 'DELETE FROM a'"),
        ("mysql", "DO writer(1)"),
        ("mysql", "SELECT BENCHMARK(1, writer(1))"),
        ("mysql", "SELECT @x := writer(1)"),
        ("mysql", "SELECT x FROM a INTO OUTFILE 'x'"),
        ("mysql", "HANDLER a OPEN"),
        ("mysql", "RENAME TABLE a TO b"),
        ("mysql", "ALTER TABLE a EXCHANGE PARTITION p WITH TABLE b"),
        ("mysql", "UPDATE IGNORE a SET x = 1"),
        ("mysql", "IF 1 THEN DELETE FROM a; END IF"),
        ("mysql", "UPDATE a SET x = '\\'; UPDATE b SET x = 1"),
        ("sqlite", "ATTACH DATABASE 'x' AS y"),
        ("sqlite", "SELECT load_extension('x')"),
        ("sqlite", "CREATE TRIGGER t AFTER INSERT ON a BEGIN DELETE FROM b; END"),
        ("sqlite", "\ufeffDELETE FROM a"),
        ("sqlite", "DELETE FROM a /* without an end"),
        ("mysql", "LOAD DATA INFILE 'x' INTO TABLE a"),
        ("sqlite", "REPLACE INTO a VALUES (1)"),
        ("sqlite", "this is not SQL ((("),
    ],
)
def test_a_statement_that_is_not_understood_changes_everything(vendor, statement):
    assert change_of(statement, vendor).everything


@pytest.mark.parametrize("vendor", VENDORS)
@pytest.mark.parametrize(
    ("statement", "tables"),
    [
        ("WITH a AS (SELECT x FROM a) SELECT x FROM a", {"a"}),
        (
            "SELECT (WITH b AS (SELECT 1 AS x) SELECT x FROM b), (SELECT x FROM b) FROM a",
            {"a", "b"},
        ),
        ("WITH b AS (SELECT x FROM c), c AS (SELECT x FROM a) SELECT b.x FROM b, c", {"a", "c"}),
        ("WITH RECURSIVE b AS (SELECT x FROM a UNION SELECT x FROM b) SELECT x FROM b", {"a"}),
        ("SELECT x FROM a ORDER BY (x)", {"a"}),
        ("SELECT SUM(x) OVER (PARTITION BY (y) ORDER BY (z)) FROM a GROUP BY (x)", {"a"}),
    ],
)
def test_the_name_of_a_cte_hides_a_table_only_where_it_is_in_scope(vendor, statement, tables):
    assert sql.tables_read(statement, vendor) == tables


@pytest.mark.parametrize(
    ("vendor", "statement"),
    [
        ("postgresql", "WITH b AS (SELECT x FROM c) DELETE FROM b"),
        ("postgresql", "WITH b AS (DELETE FROM b RETURNING x) INSERT INTO c SELECT x FROM b"),
        ("postgresql", "SELECT pg_temp.writer(1)"),
        ("postgresql", "SELECT current_number(1)"),
        ("postgresql", "SELECT has_been_written(1)"),
        ("postgresql", "SELECT writer_(1)"),
        ("postgresql", "SELECT lower$(1)"),
        ("postgresql", "SELECT key(1)"),
        ("postgresql", "DECLARE c CURSOR WITH HOLD FOR SELECT writer(1)"),
        ("postgresql", "INSERT INTO c SELECT writer(1)"),
        ("postgresql", "UPDATE c SET x = writer(1)"),
        ("mysql", "/*!50000 DELETE FROM b */"),
        ("mysql", "/*M!100100 DELETE FROM b */"),
        ("mysql", "SELECT 1 /*! INTO OUTFILE 'x' */"),
        ("mysql", "SET STATEMENT max_statement_time = 1 FOR DELETE FROM b"),
        ("mysql", "SET @x = (SELECT writer(1))"),
        ("mysql", "ANALYZE DELETE FROM b"),
        ("mysql", "ANALYZE FORMAT=JSON UPDATE b SET x = 1"),
        ("mysql", "UPDATE LOW_PRIORITY b SET x = 1"),
        ("mysql", "SELECT writer#\n(1)"),
        ("sqlite", "SELECT pg_writer(1)"),
    ],
)
def test_a_change_is_seen_wherever_it_hides(vendor, statement):
    change = change_of(statement, vendor)
    assert change.everything or "b" in change.tables


@pytest.mark.parametrize(
    ("vendor", "statement"),
    [
        ("postgresql", "/* why */ BEGIN"),
        ("postgresql", "BEGIN -- why"),
        ("postgresql", "BEGIN ISOLATION LEVEL READ COMMITTED, READ WRITE"),
        ("postgresql", "BEGIN NOT DEFERRABLE"),
        ("postgresql", "BEGIN; DELETE FROM a"),
        ("postgresql", "COMMIT; BEGIN"),
        ("postgresql", "COMMIT AND CHAIN"),
        ("mysql", "ROLLBACK AND CHAIN"),
        ("mysql", "SET autocommit = 0"),
    ],
)
def test_a_transaction_is_seen_to_begin(vendor, statement):
    assert change_of(statement, vendor).begins_transaction


@pytest.mark.parametrize(
    ("vendor", "statement"),
    [
        ("postgresql", "COMMIT /* back to normal */"),
        ("postgresql", "PREPARE TRANSACTION 'x'"),
        ("mysql", "SET autocommit = 1"),
    ],
)
def test_a_transaction_is_seen_to_end(vendor, statement):
    assert change_of(statement, vendor).ends_transaction


@pytest.mark.parametrize(
    ("vendor", "statement"),
    [
        ("mysql", "CREATE TEMPORARY TABLE a (x integer)"),
        ("mysql", "DROP TEMPORARY TABLE a"),
        ("mysql", "BEGIN NOT ATOMIC DELETE FROM a; END"),
        ("sqlite", "CREATE TRIGGER t AFTER INSERT ON a BEGIN DELETE FROM b; DELETE FROM c; END"),
        ("postgresql", "BEGIN; DELETE FROM a; COMMIT; BEGIN"),
    ],
)
def test_a_transaction_is_seen_to_go_on(vendor, statement):
    change = change_of(statement, vendor)
    assert change.begins_transaction or not change.ends_transaction


@pytest.mark.parametrize(
    "statement",
    [
        "/* why */ SET TRANSACTION ISOLATION LEVEL REPEATABLE READ",
        "SELECT 1; SET TRANSACTION ISOLATION LEVEL REPEATABLE READ",
        "BEGIN TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY",
        "SELECT set_config('transaction_isolation', 'serializable', true)",
    ],
)
def test_a_snapshot_is_seen_to_be_taken(statement):
    assert change_of(statement, "postgresql").takes_snapshot


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT x FROM a",
        "SELECT version()",
        "SELECT pg_try_advisory_lock(1)",
        "  select count(*) from a where b in (select c from d)",
        "SELECT x FROM a WHERE y = 'DELETE FROM b'",
        "PRAGMA foreign_keys = ON",
        "SET CONSTRAINTS ALL IMMEDIATE",
        "DISCARD ALL",
        "RESET ALL",
        "UNLISTEN *",
        "LOCK TABLE a IN SHARE MODE",
        "TABLE a",
        "SELECT $$ ; DELETE FROM b $$",
        "SELECT x FROM a WHERE y = E'it\\'s; DELETE FROM b'",
        "SELECT 1 -- ; DELETE FROM b",
        "SHOW server_version",
        'SAVEPOINT "s1"',
        'RELEASE SAVEPOINT "s1"',
        "VACUUM",
    ],
)
def test_a_statement_that_only_reads_changes_nothing(statement):
    assert not change_of(statement, "postgresql")


def test_transaction_control_is_told_apart():
    def change(statement, vendor="postgresql"):
        return change_of(statement, vendor)

    assert change("BEGIN").begins_transaction
    assert change("start transaction").begins_transaction
    assert change("BEGIN IMMEDIATE", "sqlite").begins_transaction
    assert not change("START SLAVE", "mysql").begins_transaction
    assert not change("BEGIN NOT ATOMIC SELECT 1; END", "mysql").begins_transaction
    assert change("COMMIT;").ends_transaction
    assert change("END").ends_transaction
    assert change("ROLLBACK").ends_transaction
    assert change("ROLLBACK").rolls_back
    assert change("ROLLBACK TO SAVEPOINT x").rolls_back
    assert not change("ROLLBACK TO SAVEPOINT x").ends_transaction
    assert change("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ").takes_snapshot
    assert change("BEGIN ISOLATION LEVEL SERIALIZABLE").takes_snapshot
    assert not change("SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED").takes_snapshot
    assert change("DROP TABLE a", "mysql").ends_transaction
    assert not change("DROP TABLE a", "postgresql").ends_transaction


def test_rows_of_a_returning_statement_must_be_fetched_on_sqlite_only():
    statement = "INSERT INTO a (x) VALUES (1) RETURNING x"
    assert change_of(statement, "sqlite").is_unfinished
    assert not change_of(statement, "postgresql").is_unfinished


def test_what_the_parser_has_to_say_is_not_logged(caplog):
    change_of("CREATE TRIGGER t AFTER INSERT ON a BEGIN DELETE FROM b; END", "sqlite")
    change_of("SHOW GRANTS; FLUSH TABLES", "mysql")
    assert not caplog.records
