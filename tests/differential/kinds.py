"""
What a column can hold, by kind: values, lookups and functions, as Python source.

Source and not objects, so that a generated read is made anew each time it is run, and so that the
smallest one that fails can be pasted into a test.
"""

from django.db.models import Field

_TEXTS = (
    "Dune", "dune", "Herbert", "desert", "on Dune", "e", "", " ", "1", "O'Brien", '"', "100%",
    "a_b", "\\", "%s", "%%", "%(x)s", "📚", "İß", "--", "/* */", "; SELECT", "NULL",
    "FROM testapp_secret", "\n", "\x00", "x" * 300,
)  # fmt: skip
_INTEGERS = "412 183 99 0 1 -1 True '412' 412.0 Decimal(99) 2**31 -2**31-1 2**63-1 2**63 -10**30"
_DECIMALS = "'12.50' '12.5' '4' '3.20' '-0.00' '1E+2' '80.00' '0.005' '99999999.99' '-1E+20' 'NaN'"
_UTC = "tzinfo=datetime.UTC"
_TOKYO = "tzinfo=ZoneInfo('Asia/Tokyo')"
_BERLIN = "tzinfo=ZoneInfo('Europe/Berlin')"

LITERALS: dict[str, list[str]] = {
    "text": [repr(text) for text in _TEXTS],
    "int": _INTEGERS.split(),
    "decimal": [*(f"Decimal({text})" for text in _DECIMALS.split()), "4", "12.5", "'12.50'"],
    "float": [
        "4.25", "4.5", "0.0", "-0.0", "4.2500000001", "1e308", "-1e-308", "nan", "inf", "4",
        "'4.25'",
    ],
    "bool": ["True", "False", "1", "0"],
    "datetime": [
        f"datetime.datetime(2024, 3, 31, 23, 30, 15, 123456, {_UTC})",
        f"datetime.datetime(2024, 4, 1, 8, 30, 15, 123456, {_TOKYO})",
        f"datetime.datetime(2024, 3, 31, 23, 30, 15, {_UTC})",
        f"datetime.datetime(2024, 10, 27, 2, 30, {_BERLIN})",
        f"datetime.datetime(2024, 10, 27, 2, 30, fold=1, {_BERLIN})",
        f"datetime.datetime(1, 1, 1, {_UTC})",
        f"datetime.datetime(9999, 12, 31, 23, 59, 59, 999999, {_UTC})",
        "'2024-03-31T23:30:15.123456Z'",
    ],
    "date": [
        "datetime.date(2024, 3, 31)",
        "datetime.date(1920, 10, 8)",
        "datetime.date(1, 1, 1)",
        "datetime.date(9999, 12, 31)",
        "'2025-05-06'",
    ],
    "time": [
        "datetime.time(8, 15, 30)",
        "datetime.time(0)",
        "datetime.time(23, 59, 59, 999999)",
        "'08:15:30'",
    ],
    "duration": [
        "datetime.timedelta(hours=1)",
        "datetime.timedelta(days=1, hours=2, microseconds=5)",
        "datetime.timedelta(0)",
        "-datetime.timedelta(microseconds=1)",
        "datetime.timedelta(days=100_000)",
    ],
    "uuid": [
        "uuid.UUID('5e2f8a4e-6c3c-4f0f-8f7c-0d6f3a1b2c3d')",
        "uuid.UUID('11111111-2222-4333-8444-555555555555')",
        "'a1b2c3d4-0000-4000-8000-00000000000f'",
        "uuid.UUID(int=0)",
    ],
    "bytes": [r"b'\x00\xffcover'", "b''", "memoryview(b'cover')", "bytearray(b'cover')"],
    "json": [
        "'Hugo'", "None", "{'prize': 'Hugo'}", "{'prize': None}", "{}", "[]", "[1, 2]", "1", "True",
        "0.5", "-0.0", "'1'", "{'deep': None}", "[[1], (2,)]", """{"it's": '"'}""", "2**63", "'📚'",
    ],
    # What stands on the right of some lookups only
    "flag": ["True", "False"],
    "year": ["2024", "2025", "1", "9999", "0"],
    "part": ["3", "1", "0", "23", "31", "-1"],
    "pattern": ["'^D'", "'e$'", "'u.e'", "''", r"'\\w+'", "'[ae]'", '"\'"', "'📚'"],
    "keys": ["['prize']", "['prize', 'ratio']", "[]", '["it\'s", \'a"b\']'],
}  # fmt: skip
"""Values of each kind, of its own type and of others that Django takes for it."""

FIELDS = {
    "text": "CharField(max_length=200)",
    "int": "BigIntegerField()",
    "decimal": "DecimalField(max_digits=20, decimal_places=4)",
    "float": "FloatField()",
    "bool": "BooleanField()",
    "datetime": "DateTimeField()",
    "date": "DateField()",
    "time": "TimeField()",
    "duration": "DurationField()",
    "uuid": "UUIDField()",
    "bytes": "BinaryField()",
    "json": "JSONField()",
}
"""A field of each kind that a column may be of."""

_KINDS = {
    "CharField": "text",
    "TextField": "text",
    "DecimalField": "decimal",
    "FloatField": "float",
    "BooleanField": "bool",
    "DateTimeField": "datetime",
    "DateField": "date",
    "TimeField": "time",
    "DurationField": "duration",
    "UUIDField": "uuid",
    "BinaryField": "bytes",
    "JSONField": "json",
}


def kind_of(field: Field) -> str | None:
    """The kind of a column; None if it is no column."""
    name = field.get_internal_type()
    return "int" if name.endswith(("IntegerField", "AutoField")) else _KINDS.get(name)


def _lookups(kind: str, names: str, **others: str) -> dict[str, str]:
    return {
        "exact": kind,
        "in": f"list {kind}",
        "isnull": "flag",
        **dict.fromkeys(names.split(), kind),
        **others,
    }


_ORDERED = "gt gte lt lte"
_TEXT = f"{_ORDERED} iexact contains icontains startswith istartswith endswith iendswith"
_DATE_PARTS = dict.fromkeys(
    ["month", "day", "week", "week_day", "iso_week_day", "quarter", "month__gte", "day__lt"], "part"
)
_YEARS = dict.fromkeys(["year", "year__gt", "year__lte", "iso_year", "iso_year__lt"], "year")
_TIME_PARTS = dict.fromkeys(["hour", "minute", "second", "hour__gte"], "part")

LOOKUPS: dict[str, dict[str, str]] = {
    "text": _lookups("text", _TEXT, regex="pattern", iregex="pattern", range="pair text"),
    "int": _lookups("int", _ORDERED, range="pair int", contains="text"),
    "decimal": _lookups("decimal", _ORDERED, range="pair decimal"),
    "float": _lookups("float", _ORDERED, range="pair float"),
    "bool": _lookups("bool", "lt"),
    "datetime": _lookups(
        "datetime",
        _ORDERED,
        range="pair datetime",
        date="date",
        date__lt="date",
        time="time",
        time__gt="time",
        **_YEARS | _DATE_PARTS | _TIME_PARTS,
    ),
    "date": _lookups("date", _ORDERED, range="pair date", **_YEARS | _DATE_PARTS),
    "time": _lookups("time", _ORDERED, range="pair time", **_TIME_PARTS),
    "duration": _lookups("duration", _ORDERED, range="pair duration"),
    "uuid": _lookups("uuid", "gt lt", icontains="text", startswith="text"),
    "bytes": _lookups("bytes", ""),
    "json": _lookups(
        "json",
        "contains contained_by prize parts parts__0 missing it's a\"b 100% 📚",
        has_key="text",
        has_keys="keys",
        has_any_keys="keys",
        prize__icontains="text",
        prize__iexact="text",
        prize__in="list json",
        prize__isnull="flag",
        parts__2__deep__isnull="flag",
        ratio__gt="float",
        ratio__lte="float",
    ),
}
"""The lookups of a column of each kind, and what is on their right."""

KEY_LOOKUPS = ["exact", "in", "isnull", *_ORDERED.split()]
"""Those of a foreign key."""

_DECIMAL = "DecimalField(max_digits=30, decimal_places=3)"

FUNCTIONS: dict[str, list[str]] = {
    "text": [
        "Lower({text})", "Upper({text})", "Concat({text}, Value(' – '), {text})", "Trim({text})",
        "Substr({text}, 2, 3)", "Left({text}, 2)", "Right({text}, 2)", "Reverse({text})",
        "Replace({text}, Value('e'), Value(\"'\"))", "Repeat({text}, 2)", "MD5({text})",
        "SHA256({text})", "LPad({text}, 9, Value('*'))", "RPad({text}, 3)", "LTrim({text})",
        "Cast({int}, CharField(max_length=40))", "Cast({uuid}, CharField(max_length=40))",
        "Cast({date}, CharField(max_length=40))", "Func({text}, function='UPPER')",
        "Func({text}, Value('-'), function='CONCAT', output_field=TextField())",
    ],
    "int": [
        "Length({text})", "StrIndex({text}, Value('e'))", "Ord({text})", "Abs({int})",
        "Sign({int})", "Mod({int}, 7)", "({int} + {int})", "({int} - 1)", "({int} * 3)",
        "(-{int})", "({int} % 7)", "{int}.bitand(6)", "{int}.bitor(1)",
        "Cast({float}, IntegerField())", "Cast({bool}, IntegerField())", "ExtractYear({datetime})",
        "ExtractMonth({date})", "Extract({datetime}, 'week_day')", "ExtractHour({time})",
        "ExtractQuarter({date})", "Extract({datetime}, 'day', " + _TOKYO + ")",
        "ExpressionWrapper({int} / 2, output_field=IntegerField())",
    ],
    "decimal": [
        "Abs({decimal})", "Round({decimal}, 1)", "Cast({int}, " + _DECIMAL + ")",
        "({decimal} + {decimal})",
        "ExpressionWrapper({decimal} * {int}, output_field=" + _DECIMAL + ")", "Floor({decimal})",
    ],
    "float": [
        "Sqrt(Abs({float}))", "Sin({float})", "Exp(Sin({float}))", "Round({float})",
        "Ceil({float})", "Cast({int}, FloatField())", "Power(Sin({float}), 2)", "Degrees({float})",
        "Pi()", "({float} * 0.5)",
    ],
    "bool": [
        "ExpressionWrapper({q}, output_field=BooleanField())", "{exists}",
        "GreaterThan({int}, {int})", "IsNull({text}, True)", "Exact({uuid}, {uuid})",
        "In({int}, [1, 99])",
    ],
    "datetime": [
        "TruncDay({datetime})", "TruncMonth({datetime}, " + _TOKYO + ")", "TruncHour({datetime})",
        "Trunc({datetime}, 'week', " + _BERLIN + ")", "({datetime} + {duration})",
        "ExpressionWrapper({date} + {duration}, output_field=DateTimeField())",
    ],
    "date": [
        "TruncDate({datetime})", "TruncYear({date})", "TruncWeek({date})",
        "TruncDate({datetime}, " + _TOKYO + ")", "Cast({datetime}, DateField())",
    ],
    "time": ["TruncTime({datetime})", "TruncHour({time})", "TruncMinute({time})"],
    "duration": ["({duration} + {duration})", "({datetime} - {datetime})", "({date} - {date})"],
    "uuid": ["Cast({uuid}, UUIDField())"],
    "bytes": [],
    "json": [
        "JSONObject(a={int}, b={text})", "JSONArray({int}, {text})", "Cast({json}, JSONField())",
    ],
}  # fmt: skip
"""
Expressions of each kind; in braces, what they are made of. q is a condition, exists a subquery.
"""

OF_ANY_KIND = [
    "Coalesce({kind}, {kind})",
    "NullIf({kind}, {kind})",
    "Greatest({kind}, {kind})",
    "Least({kind}, {kind})",
    "Case(When({q}, then={kind}), default={kind})",
    "Case(When({q}, then={kind}), When({q}, then={kind}))",
    "Subquery({kind subquery})",
]
"""Expressions that are of the kind of their parts."""

_FILTERED = ["", "", "", ", filter={q}"]
AGGREGATES: dict[str, list[str]] = {
    "int": [
        "Count('pk'{filter})", "Count('*'{filter})", "Count({text}, distinct=True{filter})",
        "Count({uuid}{filter})", "Count({json}{filter})", "Sum({int}{filter})",
        "Sum({int}, default=0{filter})", "Max({int}{filter})", "Min({int}{filter})",
        "Sum(Case(When({q}, then=1), default=0))",
    ],
    "float": ["Avg({float}{filter})", "StdDev({int}{filter})", "Variance({float}{filter})"],
    "decimal": [
        "Sum({decimal}{filter})", "Avg({decimal}{filter})", "Max({decimal}{filter})",
        "Sum({decimal}, distinct=True{filter})",
    ],
    "text": ["Max({text}{filter})", "Min({text}{filter})"],
    "datetime": ["Max({datetime}{filter})", "Min({datetime}{filter})"],
    "date": ["Max({date}{filter})"],
    "duration": ["Sum({duration}{filter})", "Avg({duration}{filter})", "Max({duration}{filter})"],
}  # fmt: skip
FILTERS_OF_AGGREGATES = _FILTERED

_OVER = ", partition_by={partition}, order_by=[{int}, 'pk']"
WINDOWS: dict[str, list[str]] = {
    "int": [
        f"Window(RowNumber(){_OVER})", f"Window(Rank(){_OVER})", f"Window(DenseRank(){_OVER})",
        f"Window(Ntile(2){_OVER})", f"Window(Sum({{int}}){_OVER})", "Window(Count('*'))",
        f"Window(Lag({{int}}, default=-1){_OVER})",
        f"Window(Max({{int}}){_OVER}, frame=RowRange(start=-1, end=1))",
        "Window(Sum({int}), order_by='pk', frame=ValueRange(start=None, end=0))",
    ],
    "float": [f"Window(CumeDist(){_OVER})", f"Window(PercentRank(){_OVER})"],
    "text": [
        f"Window(Lead({{text}}, 2){_OVER})", f"Window(FirstValue({{text}}){_OVER})",
        f"Window(NthValue({{text}}, 2){_OVER})", f"Window(LastValue({{text}}){_OVER})",
    ],
    "decimal": [f"Window(Avg({{decimal}}){_OVER})"],
}  # fmt: skip

VOLATILE = [
    "Now()", "Random()", "(Now() - datetime.timedelta(days=1))", "TruncDay(Now())",
    "Coalesce(Now(), {datetime})", "Cast(Now(), DateField())", "ExtractYear(Now())",
    "Case(When({q}, then=Random()), default=0.5)", "Greatest(Random(), {float})",
    "RawSQL('CURRENT_TIMESTAMP', [], DateTimeField())", "Cast(Random(), CharField(max_length=9))",
    "Window(Max(Random()))",
]  # fmt: skip
"""Expressions that are another value each time, and never NULL."""
