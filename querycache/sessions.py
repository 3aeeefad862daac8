"""
What a session was told that the SQL of a query does not show.

``SET search_path``, ``SET ROLE``, a variable that row-level security looks at, ``USE``: two
sessions share entries only if they were told the same, in the same order.
"""

import re
from hashlib import blake2b
from typing import Any, Final, Literal, NamedTuple

Lasts = Literal["session", "transaction", "unknown"]


class Told(NamedTuple):
    """
    What a statement tells the session.

    ``name`` is the variable that it sets, and takes the place of what was told of it before; empty
    where that is not known, ``"*"`` for all that there are.
    """

    name: str
    lasts: Lasts = "session"


_PRAGMAS: Final = (
    "table_info|table_xinfo|table_list|foreign_key_list|foreign_key_check|foreign_keys|index_list|"
    "index_info|index_xinfo|integrity_check|quick_check|optimize|busy_timeout|cache_size|mmap_size|"
    "journal_mode|synchronous|temp_store|wal_autocheckpoint|wal_checkpoint|defer_foreign_keys"
)
"""Those of SQLite that change no answer of a SELECT."""
_VARIABLES_OF_POSTGRESQL: Final = (
    "statement_timeout|lock_timeout|idle_in_transaction_session_timeout|application_name|"
    "client_min_messages|synchronous_commit|work_mem|maintenance_work_mem|log_statement"
)
_VARIABLES_OF_MYSQL: Final = (
    "foreign_key_checks|unique_checks|autocommit|sql_log_bin|sql_notes|wait_timeout|"
    "lock_wait_timeout|innodb_lock_wait_timeout|max_statement_time|max_execution_time"
)
"""Those of the others that change none either."""
TEMPORARY: Final = "temporary"
"""What stands for a temporary table, which may hide another of its name."""
_COMMENTS: Final = re.compile(
    r"(?:\s+|--[^\n]*(?:\n|$)|#[^\n]*(?:\n|$)|/\*(?!!).*?\*/)+", re.DOTALL
)
USE: Final = "use"
"""What stands for the variable that USE sets: the database of the session."""
_NAME: Final = r"[\"`]?([\w.@]+)[\"`]?"
_PATTERNS: Final[dict[str, list[tuple[str, Told | None]]]] = {
    "postgresql": [
        (r"SET\s+(TRANSACTION|CONSTRAINTS|SESSION\s+CHARACTERISTICS)\b", None),
        (rf"SET\s+(?:(?:SESSION|LOCAL)\s+)?(?:{_VARIABLES_OF_POSTGRESQL})\b", None),
        (r"SET\s+LOCAL\s+(?:TIME\s+(ZONE)\b|" + _NAME + ")", Told("", "transaction")),
        (r"SET\s+(?:SESSION\s+)?(?:TIME\s+(ZONE)\b|" + _NAME + ")", Told("")),
        (r"(?:RESET|DISCARD)\s+ALL\b", Told("*")),
        (r"RESET\s+" + _NAME, Told("")),
    ],
    "mysql": [
        (r"SET\s+(GLOBAL|PERSIST|PERSIST_ONLY|TRANSACTION|PASSWORD|DEFAULT)\b", None),
        (rf"SET\s+(?:(?:SESSION|LOCAL)\s+)?(?:{_VARIABLES_OF_MYSQL})\s*:?=[^,]*$", None),
        (r"SET\s+(?:(?:SESSION|LOCAL)\s+)?" + _NAME + r"\s*:?=[^,]*$", Told("")),
        (r"SET\s", Told("")),
        (r"USE\s", Told(USE)),
        (r"/\*!.*\b(?:SET|USE)\s", Told("")),
    ],
    "sqlite": [
        (r"PRAGMA\s+[\w.]+\s*$", None),
        (rf"PRAGMA\s+(?:\w+\.)?({_PRAGMAS})\b", None),
        (r"PRAGMA\s+" + _NAME + r"\s*(?:=|\()", Told("")),
        (r"(ATTACH|DETACH)\b", Told("", "unknown")),
    ],
    "oracle": [(r"ALTER\s+SESSION\b", Told("", "unknown"))],
}
"""By vendor, what the first of these that matches says. The name is what a group has matched."""
_FLAGS: Final = re.IGNORECASE | re.DOTALL

_SET_CONFIG: Final = re.compile(
    r"\bSET_CONFIG\s*\(\s*(?:'([^']*)'|[^,]*),.*?(?:,\s*(TRUE|FALSE)\s*)?\)", _FLAGS
)


def told_by(statement: str, vendor: str) -> Told | None:
    """Return what a statement tells the session, None if it tells nothing."""
    text = statement.strip().rstrip("; \t\r\n")
    if ";" in text:  # several statements, or a string
        parts = [told for part in text.split(";") if (told := told_by(part, vendor))]
        all_last = all(told.lasts == "session" for told in parts)
        return Told("", "session" if all_last else "unknown") if parts else None
    if leading := _COMMENTS.match(text):
        text = text[leading.end() :]
    if re.match(r"CREATE\s+(?:GLOBAL\s+|LOCAL\s+|OR\s+REPLACE\s+)?TEMP(?:ORARY)?\s", text, _FLAGS):
        return Told(TEMPORARY, "unknown")
    for pattern, told in _PATTERNS.get(vendor, ()):
        if match := re.match(pattern, text, _FLAGS):
            name = next((group for group in match.groups() if group), "")
            return told and (told if told.name else told._replace(name=name.casefold()))
    if vendor == "postgresql" and (call := _SET_CONFIG.search(text)):
        return _told_by_set_config(call)
    return None


def _told_by_set_config(call: re.Match[str]) -> Told:
    name, is_local = call.groups()
    lasts: dict[str | None, Lasts] = {"true": "transaction", "false": "session"}
    return Told((name or "").casefold(), lasts.get(is_local and is_local.lower(), "unknown"))


Log = dict[str, bytes]
"""What was told last of each variable, in this order."""
MANY: Final = 1000
"""Things that a session was told, after which nobody keeps count."""


class Session:
    """All that one session was told, by statements that were seen."""

    __slots__ = ("_before", "_lasting", "_savepoints", "_transient", "apart", "database")

    def __init__(self) -> None:
        self._lasting: Log = {}
        self._transient: Log = {}
        self._before: Log | None = None
        """What was told before the open transaction, if that has told something that lasts."""
        self._savepoints: list[tuple[str, Log, Log]] = []
        self.apart: tuple[Any, ...] | None = ()
        """What tells this session apart from others, None if that is not known any more."""
        self.database = ""
        """The name of the database that USE has chosen."""

    def tell(self, told: Told, statement: Any, params: Any, *, in_transaction: bool) -> None:
        """Remember what a statement has told; it was run, and did not fail."""
        text = repr((statement, params))
        item = told.name or text, blake2b(text.encode(errors="replace"), digest_size=12).digest()
        if told.lasts == "transaction":
            if in_transaction:  # otherwise it lasts as long as the statement
                self._transient = _with(self._transient, item)
        else:
            if in_transaction and self._before is None:
                self._before = self._lasting
            self._lasting = _with({} if told.name == "*" else self._lasting, item)
        if told.name == USE:
            self.database = str(statement).strip("; \t\r\n").split(None, 1)[-1].strip("`")
        if told.lasts == "unknown" or len(self._lasting) + len(self._transient) > MANY:
            self.apart = None
        self._work_out()

    def set_savepoint(self, name: str) -> None:
        """Remember what was told so far."""
        self._savepoints.append((name, self._lasting, self._transient))

    def release_savepoint(self, name: str) -> None:
        """Forget a savepoint, and those that were set after it."""
        del self._savepoints[self._position_of(name) :]

    def roll_back_to_savepoint(self, name: str) -> None:
        """What was told since then is taken back."""
        position = self._position_of(name)
        if position < len(self._savepoints):
            _, self._lasting, self._transient = self._savepoints[position]
            del self._savepoints[position + 1 :]
            self._work_out()

    def _position_of(self, name: str) -> int:
        positions = range(len(self._savepoints) - 1, -1, -1)
        return next((at for at in positions if self._savepoints[at][0] == name), len(positions))

    def end_transaction(self, *, takes_back: bool) -> None:
        """
        Forget what was told for the transaction.

        ``takes_back`` says that what was told in it, and lasts, is taken back.
        """
        if self._before is not None and takes_back:
            self._lasting = self._before
        self._savepoints.clear()
        if self._before is not None or self._transient:
            self._before, self._transient = None, {}
            self._work_out()

    def _work_out(self) -> None:
        if self.apart is not None:
            self.apart = (*self._lasting.items(), *self._transient.items())


def _with(log: Log, item: tuple[str, bytes]) -> Log:
    """Return a log in which an item comes last, instead of what it had under that name."""
    return {name: told for name, told in log.items() if name != item[0]} | dict([item])
