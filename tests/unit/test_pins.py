"""Where the text of a statement says which rows of a table it is about, and where it does not."""

import uuid
from types import SimpleNamespace

import pytest
from django.db import models

from querycache import plans
from querycache.pins import Proof, pins_of_select, pins_of_write
from querycache.plans import Shape, is_complete, scopes_of
from querycache.scopes import ANY, MOST_VALUES, NEW, Column, Scope, column_of, merged

VENDORS = ["sqlite", "postgresql", "mysql"]
KEY = Column("id", (-(2**63), 2**63 - 1))
KIND = Column("kind", (-(2**31), 2**31 - 1))
UUIDS = Column("id", None)
COLUMNS = {"t": (KEY, KIND), "u": (KEY,)}
MANY = ", ".join(["%s"] * (MOST_VALUES + 1))


def pins_of(statement, vendor="sqlite"):
    pinned = pins_of_select(statement, vendor, COLUMNS)
    return [(pin.table, pin.column.name, pin.positions) for pin in pinned.pins]


@pytest.mark.parametrize("vendor", VENDORS)
@pytest.mark.parametrize(
    ("statement", "pins"),
    [
        ("SELECT t.x FROM t WHERE t.id = %s", [("t", "id", (0,))]),
        ("SELECT t.x FROM t WHERE %s = t.id", [("t", "id", (0,))]),
        ("SELECT t.x FROM t WHERE (t.x = %s AND t.id = %s)", [("t", "id", (1,))]),
        ("SELECT t.x FROM t WHERE ((t.x = %s OR t.y = %s) AND t.id = %s)", [("t", "id", (2,))]),
        ("SELECT t.x FROM t WHERE (NOT (t.x = %s) AND t.id = %s)", [("t", "id", (1,))]),
        ("SELECT t.x FROM t WHERE t.id IN (%s, %s, %s)", [("t", "id", (0, 1, 2))]),
        ("SELECT t.x FROM t WHERE t.id IN (%s)", [("t", "id", (0,))]),
        ("SELECT x.y FROM t x WHERE x.id = %s", [("t", "id", (0,))]),
        ("SELECT t.x + %s FROM t WHERE t.id = %s LIMIT 21", [("t", "id", (1,))]),
        ("SELECT t.x FROM t WHERE t.y = '100%%s' AND t.id = %s", [("t", "id", (0,))]),
        ("SELECT t.x FROM t WHERE t.y LIKE '%%' AND t.id = %s", [("t", "id", (0,))]),
        ("SELECT t.x FROM t WHERE t.kind = %s", [("t", "kind", (0,))]),
        ("SELECT t.x FROM t WHERE t.kind = %s AND t.id = %s", [("t", "id", (1,))]),
        ("SELECT t.x FROM t INNER JOIN o ON (t.o = o.id) WHERE t.id = %s", [("t", "id", (0,))]),
        ("SELECT t.x FROM t LEFT JOIN o ON (t.o = o.id) WHERE t.id = %s", [("t", "id", (0,))]),
        ("SELECT o.x FROM o INNER JOIN t ON (t.o = o.id) WHERE t.id = %s", [("t", "id", (0,))]),
        (
            "SELECT t.x FROM t INNER JOIN u ON (t.other = u.id) WHERE t.id = %s AND u.id = %s",
            [("t", "id", (0,)), ("u", "id", (1,))],
        ),
        ("SELECT COUNT(*) FROM t WHERE t.id = %s", [("t", "id", (0,))]),
        ("SELECT t.x FROM t WHERE t.id = %s AND EXISTS(SELECT 1 FROM o WHERE o.of = t.id)",
         [("t", "id", (0,))]),
    ],
)  # fmt: skip
def test_a_condition_on_a_parameter_pins_a_table(vendor, statement, pins):
    assert pins_of(statement, vendor) == pins


@pytest.mark.parametrize("vendor", VENDORS)
@pytest.mark.parametrize(
    "statement",
    [
        "SELECT t.x FROM t",
        "SELECT t.x FROM t WHERE t.x = %s",
        "SELECT t.x FROM t WHERE t.id = 5",
        "SELECT t.x FROM t WHERE t.id = 5 AND t.x = %s",
        "SELECT t.x FROM t WHERE t.id IN (1, %s)",
        "SELECT t.x FROM t WHERE t.id = %s OR t.x = %s",
        "SELECT t.x FROM t WHERE NOT (t.id = %s)",
        "SELECT t.x FROM t WHERE NOT (t.id = %s AND t.x = %s)",
        "SELECT t.x FROM t WHERE t.id <> %s",
        "SELECT t.x FROM t WHERE t.id >= %s",
        "SELECT t.x FROM t WHERE t.id NOT IN (%s)",
        "SELECT t.x FROM t WHERE t.id + 0 = %s",
        "SELECT t.x FROM t WHERE t.id = %s + 1",
        "SELECT t.x FROM t WHERE t.id = -%s",
        "SELECT t.x FROM t WHERE t.id = CAST(%s AS INTEGER)",
        "SELECT t.x FROM t WHERE t.id = t.x AND t.y = %s",
        "SELECT t.x FROM t WHERE (CASE WHEN t.id = %s THEN 1 ELSE 0 END) = 1",
        "SELECT t.x FROM t WHERE id = %s",
        f"SELECT t.x FROM t WHERE t.id IN ({MANY})",
        "SELECT t.x FROM t WHERE t.id IN (SELECT o.id FROM o WHERE o.x = %s)",
        "SELECT t.x FROM t HAVING t.id = %s",
        "SELECT a.x FROM t a INNER JOIN t b ON (a.x = b.x) WHERE a.id = %s",
        "SELECT t.x FROM t WHERE t.id = %s AND EXISTS(SELECT 1 FROM t y WHERE y.x = t.x)",
        "SELECT t.x, (SELECT MAX(T.x) FROM T) FROM t WHERE t.id = %s",
        "SELECT o.x FROM o LEFT OUTER JOIN t ON (o.t = t.id) WHERE t.id = %s",
        "SELECT o.x FROM o RIGHT JOIN t ON (o.t = t.id) WHERE t.id = %s",
        "SELECT t.x FROM t RIGHT JOIN o ON (o.t = t.id) WHERE t.id = %s",
        "SELECT t.x FROM t WHERE t.id = %s UNION SELECT o.x FROM o",
        "SELECT x FROM (SELECT t.x FROM t WHERE t.id = %s) s",
        "SELECT COUNT(*) FROM (SELECT t.x FROM t WHERE t.id = %s) s WHERE s.x = %s",
        "SELECT s.x FROM (SELECT * FROM t) s WHERE s.id = %s",
        "WITH t AS (SELECT * FROM o) SELECT t.x FROM t WHERE t.id = %s",
        "WITH w AS (SELECT * FROM t) SELECT t.x FROM t WHERE t.id = %s",
        "SELECT o.x FROM o WHERE EXISTS(SELECT 1 FROM t WHERE t.id = %s)",
        "SELECT t.x FROM t WHERE t.id = %s AND t.y = (SELECT 1 FROM other.t)",
        "SELECT t.x FROM other.t WHERE t.id = %s",
        "SELECT t.x FROM t WHERE",
    ],
)
def test_what_may_read_other_rows_pins_nothing(vendor, statement):
    assert pins_of(statement, vendor) == []


@pytest.mark.parametrize("statement", ["SELECT t.x FROM t NATURAL JOIN o WHERE t.id = %s",
    "SELECT t.x FROM t FULL OUTER JOIN o ON (t.o = o.id) WHERE t.id = %s",
    "SELECT t.x FROM ONLY t WHERE t.id = %s",
    "SELECT t.x FROM t JOIN o USING (id) WHERE t.id = %s",
    "SELECT t.x FROM t TABLESAMPLE SYSTEM (10) WHERE t.id = %s",
    "SELECT t.x FROM t, LATERAL (SELECT * FROM o) s WHERE t.id = %s"])  # fmt: skip
def test_what_only_some_databases_have_pins_nothing(statement):
    assert pins_of(statement, "postgresql") == []


def test_what_mysql_takes_for_another_operator_pins_nothing():
    assert pins_of("SELECT t.x FROM t WHERE t.x XOR t.y AND t.id = %s", "mysql") == []
    assert pins_of("SELECT t.x FROM t WHERE t.x || t.id = %s", "mysql") == []
    assert pins_of("SELECT t.x FROM t WHERE t.x = t.id = %s", "mysql") == []
    assert pins_of("SELECT t.x FROM t WHERE t.id <=> %s", "mysql") == []


def test_a_comment_that_mysql_runs_pins_nothing():
    assert pins_of("SELECT t.x FROM t WHERE t.id = %s /*! OR 1 = 1 */", "mysql") == []


def test_the_parser_alone_is_not_believed():
    """The parser is another's work: a word that it takes for something else counts."""
    assert pins_of("SELECT t.x FROM t WHERE t.id = %s AND t.x = (TABLE t)", "postgresql") == []
    assert pins_of("SELECT t.x AS t FROM t WHERE t.id = %s") == []


@pytest.mark.parametrize(
    ("statement", "proof"),
    [
        ("SELECT t.x FROM t WHERE t.id = %s", Proof.ROWS),
        ("SELECT 1 AS a FROM t WHERE t.id = %s LIMIT 1", Proof.ROWS),
        ("SELECT LOWER(t.x) FROM t WHERE t.id = %s", Proof.ROWS),
        ("SELECT DISTINCT t.x FROM t WHERE t.id = %s", Proof.ROW),
        ("SELECT t.x FROM t INNER JOIN o ON (t.o = o.id) WHERE t.id = %s", Proof.ROW),
        ("SELECT COUNT(*) FROM t WHERE t.id = %s", Proof.NONE),
        ("SELECT MAX(t.x) FROM t WHERE t.id = %s", Proof.NONE),
        ("SELECT GROUP_CONCAT(t.x) FROM t WHERE t.id = %s", Proof.NONE),
        ("SELECT EVERY(t.x) FROM t WHERE t.id = %s", Proof.NONE),
        ("SELECT of_some_kind(t.x) FROM t WHERE t.id = %s", Proof.NONE),
        ("SELECT t.x FROM t WHERE t.id = %s GROUP BY t.x", Proof.NONE),
        ("SELECT 1 FROM t WHERE t.id = %s HAVING 1 = 1", Proof.NONE),
        ("SELECT t.x FROM t WHERE t.id = %s ORDER BY COUNT(*)", Proof.NONE),
        ("SELECT (SELECT COUNT(t.x) FROM o) FROM t WHERE t.id = %s", Proof.NONE),
        ("SELECT ROW_NUMBER() OVER (ORDER BY t.x) FROM t WHERE t.id = %s", Proof.NONE),
    ],
)
def test_rows_prove_that_pinned_rows_are_there_unless_they_may_come_of_none(statement, proof):
    assert pins_of_select(statement, "sqlite", COLUMNS).proof == proof


# UPDATE and DELETE --------------------------------------------------------------------------------


def write_of(statement, vendor="sqlite"):
    plans.forget_plans()
    found = pins_of_write(statement, vendor, "t", COLUMNS["t"])
    return found and ([(pin.column.name, pin.positions) for pin in found.pins], dict(found.sets))


@pytest.mark.parametrize("vendor", VENDORS)
@pytest.mark.parametrize(
    ("statement", "pins"),
    [
        ("UPDATE t SET x = %s WHERE t.id = %s", ([("id", (1,))], {"x": 0})),
        ("UPDATE t SET x = %s, y = (t.y + %s) WHERE t.id IN (%s, %s)",
         ([("id", (2, 3))], {"x": 0, "y": None})),
        ("UPDATE t SET id = %s WHERE t.id = %s", ([("id", (1,))], {"id": 0})),
        ("UPDATE t SET x = CASE WHEN (t.id = %s) THEN %s ELSE NULL END WHERE t.id IN (%s)",
         ([("id", (2,))], {"x": None})),
        ("DELETE FROM t WHERE t.id = %s", ([("id", (0,))], {})),
        ("DELETE FROM t WHERE (t.id = %s AND t.kind = %s)",
         ([("id", (0,)), ("kind", (1,))], {})),
    ],
)  # fmt: skip
def test_a_write_is_pinned_as_a_read_is(vendor, statement, pins):
    assert write_of(statement, vendor) == pins


@pytest.mark.parametrize("vendor", VENDORS)
@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE t SET x = %s",
        "UPDATE t SET x = %s WHERE t.x = %s",
        "UPDATE t SET x = %s WHERE t.id = %s OR t.x = %s",
        "UPDATE t SET x = %s WHERE NOT (t.id = %s)",
        f"UPDATE t SET x = 1 WHERE t.id IN ({MANY})",
        "UPDATE t SET x = %s WHERE t.id IN (SELECT o.t FROM o WHERE o.id = %s)",
        "UPDATE t SET x = (SELECT o.x FROM o WHERE o.id = %s) WHERE t.id = %s",
        "UPDATE o SET x = %s WHERE o.id = %s",
        "DELETE FROM t",
        "DELETE FROM t WHERE t.id = 5",
        "INSERT INTO t (id) SELECT o.id FROM o WHERE o.id = %s",
        "DELETE FROM t WHERE t.id = %s; DELETE FROM t WHERE t.id > %s",
    ],
)
def test_a_write_of_rows_that_are_not_known_is_pinned_by_nothing(vendor, statement):
    assert write_of(statement, vendor) is None


def test_a_delete_of_mysql_that_joins_is_pinned_by_nothing():
    assert write_of("DELETE t FROM t INNER JOIN o ON (t.o = o.id) WHERE t.id = %s", "mysql") is None


# Values -------------------------------------------------------------------------------------------


class Whole(int):
    pass


@pytest.mark.parametrize(
    ("column", "parameter", "value"),
    [
        (KEY, 5, 5),
        (KEY, -5, -5),
        (KEY, 2**70, 2**70),
        (KEY, True, None),
        (KEY, 5.0, None),
        (KEY, "5", None),
        (KEY, None, None),
        (KEY, Whole(5), None),
        (KEY, uuid.UUID(int=5), None),
        (UUIDS, uuid.UUID(int=5), "0" * 31 + "5"),
        (UUIDS, "0" * 31 + "5", "0" * 31 + "5"),
        (UUIDS, "A" * 32, None),
        (UUIDS, str(uuid.UUID(int=5)), None),
        (UUIDS, "5", None),
        (UUIDS, 5, None),
    ],
)
def test_only_a_parameter_of_the_type_of_the_column_names_a_value(column, parameter, value):
    assert column.value(parameter) == value
    found = pins_of_select("SELECT t.x FROM t WHERE t.id = %s", "sqlite", {"t": (column,)})
    scopes = scopes_of(Shape(("t",), pinned=found), [parameter])
    values = [Scope("t", "id", one) for one in (ANY, value, NEW)]
    assert scopes == (() if value is None else tuple(values))


def test_the_numbers_of_psycopg_are_numbers():
    numeric = pytest.importorskip("psycopg.types.numeric")
    assert KEY.value(numeric.Int4(5)) == KEY.value(numeric.Int8(5)) == 5


def test_a_number_that_the_column_has_no_room_for_is_stored_as_nobody_knows_what():
    assert KIND.stored([2**31 - 1, 5]) == {2**31 - 1, 5}
    assert KIND.stored([2**31, 5]) is None
    assert KIND.value(2**31) == 2**31


def test_null_is_stored_where_the_column_takes_it():
    assert KIND.stored([None, 5]) is None
    assert KIND._replace(takes_null=True).stored([None, 5]) == {5}


def test_a_list_is_known_by_its_different_values():
    found = pins_of_select("SELECT t.x FROM t WHERE t.id IN (%s, %s, %s)", "sqlite", COLUMNS)
    scopes = scopes_of(Shape(("t",), pinned=found), [3, 1, 3])
    assert [scope.value for scope in scopes] == [ANY, 3, 1, NEW]
    assert scopes_of(Shape(("t",), pinned=found), [3, 1, "x"]) == ()
    assert scopes_of(Shape(("t",), pinned=found), [3, 1]) == ()


def test_a_row_that_is_inserted_matters_to_reads_by_primary_key_only():
    found = pins_of_select("SELECT t.x FROM t WHERE t.kind = %s", "sqlite", COLUMNS)
    scopes = scopes_of(Shape(("t",), pinned=found), [3])
    assert [scope.value for scope in scopes] == [ANY, 3]


@pytest.mark.parametrize(
    ("statement", "params", "rows", "complete"),
    [
        ("SELECT t.x FROM t WHERE t.id = %s", [1], [("x",)], True),
        ("SELECT t.x FROM t WHERE t.id = %s", [1], [], False),
        ("SELECT 1 AS a FROM t WHERE t.id = %s LIMIT 1", [1], (1,), True),
        ("SELECT 1 AS a FROM t WHERE t.id = %s LIMIT 1", [1], None, False),
        ("SELECT COUNT(*) FROM t WHERE t.id = %s", [1], (0,), False),
        ("SELECT t.x FROM t WHERE t.id IN (%s, %s)", [1, 2], [(1,), (2,)], True),
        ("SELECT t.x FROM t WHERE t.id IN (%s, %s)", [1, 1], [(1,)], True),
        ("SELECT t.x FROM t WHERE t.id IN (%s, %s)", [1, 2], [(1,)], False),
        ("SELECT t.x FROM t INNER JOIN o ON t.o = o.id WHERE t.id IN (%s, %s)", [1, 2],
         [(1,), (1,)], False),
        ("SELECT t.x FROM t INNER JOIN o ON t.o = o.id WHERE t.id = %s", [1], [(1,), (1,)], True),
        ("SELECT t.x FROM t INNER JOIN u ON t.other = u.id WHERE t.id = %s AND u.id = %s", [1, 2],
         [(1,)], False),
    ],
)  # fmt: skip
def test_an_answer_is_complete_if_all_its_rows_are_there(statement, params, rows, complete):
    shape = Shape(("t", "u"), pinned=pins_of_select(statement, "sqlite", COLUMNS))
    assert is_complete(shape, scopes_of(shape, params), rows) == complete


def test_many_values_of_a_column_are_any():
    few = [Scope("t", "id", number) for number in range(MOST_VALUES)]
    assert merged(few) == set(few)
    assert merged([*few, Scope("t", "id", -1), Scope("u", "id", 1)]) == {
        Scope("t", "id", ANY),
        Scope("u", "id", 1),
    }
    assert merged([*few, Scope("t", "id", ANY)]) == {Scope("t", "id", ANY)}


class OwnIntegerField(models.IntegerField):
    def db_type(self, connection):
        return "varchar(10)"


def test_only_fields_of_django_itself_have_values_that_are_compared_exactly():
    field = models.BigAutoField()
    field.set_attributes_from_name("id")
    assert column_of(field) == Column("id", (-(2**63), 2**63 - 1))
    for other in (OwnIntegerField(), models.CharField(max_length=3), models.DecimalField()):
        other.set_attributes_from_name("x")
        assert column_of(other) is None


def test_no_view_of_a_table_is_forgotten_for_its_pin():
    config = SimpleNamespace(depends_on={"v": frozenset({"t"})}, scopes=COLUMNS)
    statement = "SELECT t.x FROM t INNER JOIN v ON (t.x = v.x) WHERE t.id = %s"
    assert plans._pinned(Shape(("t", "v")), statement, "sqlite", config).pins == ()
    assert plans._pinned(Shape(("t",)), statement, "sqlite", config).pins
