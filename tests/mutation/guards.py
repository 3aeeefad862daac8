"""
The guards: what in the code keeps the promise, and which test fails where it is missing.

Each is a piece of text that stands once in a module, and what takes its place.
"""

from typing import NamedTuple


class Guard(NamedTuple):
    """``test`` is what pytest is given: a module, and a part of a test's name."""

    about: str
    module: str
    text: str
    without: str
    test: tuple[str, str]


INTERLEAVINGS = "tests/concurrency/test_interleavings.py"
FORGETS = "tests/concurrency/test_a_server_that_forgets.py"
CUT = "tests/concurrency/test_cut.py"
OUTAGE = "tests/integration/test_outage.py"
TRANSACTIONS = "tests/integration/test_transactions.py"
REPLICAS = "tests/integration/test_replicas.py"
VERIFICATION = "tests/integration/test_verification.py"
DATABASE_CACHE = "tests/integration/test_database_cache.py"
SESSIONS = "tests/integration/test_sessions.py"
TESTING = "tests/integration/test_testing.py"
DECLARED = "tests/integration/test_declared.py"
PROMISE = "querycache/generations.py"
STATE = "querycache/transactions.py"
WRITES = "querycache/invalidation.py"
READS = "querycache/reads.py"
PLANS = "querycache/plans.py"
PINS = "querycache/pins.py"
SCOPES = "tests/integration/test_scopes.py"

GUARDS = [
    Guard(
        "the fence comes before the COMMIT",
        WRITES,
        "        writer = generations.fence(dependencies)\n",
        '        writer = "nobody"\n',
        (INTERLEAVINGS, "commit_window"),
    ),
    Guard(
        "a fence holds the writers that are there already",
        "querycache/stores/base.py",
        "    writers = _writers(value, now)\n    writers[writer] =",
        "    writers = {}\n    writers[writer] =",
        ("tests/stores/test_django.py", "first_of_two_writers"),
    ),
    Guard(
        "the script's fence holds the writers that are there already",
        "querycache/stores/redis.py",
        "others .. ARGV[1] .. ':' .. deadline",
        "'!' .. ARGV[1] .. ':' .. deadline",
        ("tests/stores/test_redis.py", "no_mark_of_many_writers"),
    ),
    Guard(
        "a release leaves the fence of another writer",
        "querycache/stores/redis.py",
        "if others == '!' then",
        "if true then",
        (INTERLEAVINGS, "in_the_middle_of_another"),
    ),
    Guard(
        "a release gives a new generation",
        "querycache/stores/redis.py",
        "    redis.call('SET', KEYS[1], ARGV[2], 'EX', ARGV[3])\nelse",
        "    redis.call('SET', KEYS[1], '0123456789abcdef', 'EX', ARGV[3])\nelse",
        ("tests/stores/test_redis.py", "a_release_gives_a_new_token"),
    ),
    Guard(
        "writers beyond their deadline are dropped",
        "querycache/stores/redis.py",
        "elseif (tonumber(deadline) or 0) > now then",
        "else",
        ("tests/stores/test_redis.py", "writer_who_died"),
    ),
    Guard(
        "a generation that is not there is not left out",
        PROMISE,
        '    if is_fenced:\n        return Look(None, b"")\n',
        "",
        (OUTAGE, "an_empty_generation"),
    ),
    Guard(
        "foreign bytes are nothing to fill under",
        PROMISE,
        "    if set(map(len, found.tokens)) != {TOKEN_SIZE}:",
        "    if False:",
        (OUTAGE, "lengths_add_up"),
    ),
    Guard(
        "an entry is fresh under the current generations only",
        PROMISE,
        "is_fresh(found.entry, tokens):",
        "True:",
        (TRANSACTIONS, "published_at_commit"),
    ),
    Guard(
        "what the transaction has written is read from the database",
        READS,
        "    if state.has_written(shape.tables):\n",
        "    if False:\n",
        (TRANSACTIONS, "sees_its_own_writes"),
    ),
    Guard(
        "a snapshot neither reads nor fills",
        READS,
        "    if state.snapshot or is_snapshot(connection):\n",
        "    if False:\n",
        (TRANSACTIONS, "reads_a_snapshot"),
    ),
    Guard(
        "an isolation level that a statement chooses is seen",
        "querycache/transactions.py",
        "        self.snapshot |= change.takes_snapshot\n",
        "",
        (TRANSACTIONS, "reads_a_snapshot"),
    ),
    Guard(
        "a SELECT in a half-read statement's snapshot is not stored",
        READS,
        "    if has_open_statement(connection):\n",
        "    if False:\n",
        (INTERLEAVINGS, "half_read"),
    ),
    Guard(
        "a broken transaction is not answered",
        READS,
        "    if connection.needs_rollback or state.broken:\n",
        "    if False:\n",
        (TRANSACTIONS, "still_aborts_postgresql"),
    ),
    Guard(
        "rows that may yet be rolled back are not stored",
        READS,
        '    if connection.vendor == "mysql" and reads_uncommitted(connection):\n',
        "    if False:\n",
        (TRANSACTIONS, "not_committed_is_never_cached"),
    ),
    Guard(
        "a rollback publishes nothing",
        WRITES,
        "        rollback(connection)\n        state = state_of",
        "        with publishing(connection, state_of(connection).written()):\n"
        "            rollback(connection)\n        state = state_of",
        (TRANSACTIONS, "a_rollback_publishes_nothing"),
    ),
    Guard(
        "a failed COMMIT keeps the journal",
        WRITES,
        "        with publishing(connection, state.written()):\n            commit(connection)\n",
        "        with publishing(connection, state.written()):\n            state.forget()\n"
        "            commit(connection)\n",
        (TRANSACTIONS, "tried_again_is_published"),
    ),
    Guard(
        "a fence stays where nobody knows the outcome",
        WRITES,
        "        is_over = not until_deadline and knows_outcome(connection, error)\n",
        "        is_over = not until_deadline\n",
        (TRANSACTIONS, "takes_effect_after_its_connection_was_lost"),
    ),
    Guard(
        "a fence does not stay where the server has answered",
        "querycache/_django.py",
        '        return not state.startswith(("08", "57P"))\n',
        "        return False\n",
        (TRANSACTIONS, "that_the_server_refuses_is_over"),
    ),
    Guard(
        "a raw RETURNING on SQLite stays fenced",
        WRITES,
        "until_deadline=change.is_unfinished and not is_in_test):\n",
        "until_deadline=False):\n",
        (TRANSACTIONS, "raw_returning"),
    ),
    Guard(
        "DDL that commits implicitly publishes what came before it",
        WRITES,
        "is_over = change.ends_transaction or",
        "is_over =",
        (TRANSACTIONS, "ddl_that_commits"),
    ),
    Guard(
        "what SQLite commits by itself is published",
        WRITES,
        "        state.unbegun = not change.begins_transaction\n        return True\n",
        "        state.unbegun = not change.begins_transaction\n",
        (TRANSACTIONS, "sqlite_commits_by_itself"),
    ),
    Guard(
        "the release of a savepoint that began a transaction of SQLite is a commit",
        WRITES,
        " or (state.unbegun and change.releases_savepoint)",
        "",
        (TRANSACTIONS, "ended_a_transaction_of_sqlite_is_a_transaction"),
    ),
    Guard(
        "what a deadlock has left to autocommit is published",
        WRITES,
        "return is_lost or",
        "return",
        (TRANSACTIONS, "deadlock"),
    ),
    Guard(
        "a process in debt reads nothing",
        PROMISE,
        "    if _debts or _unfenced:\n        pay_debts()\n    found",
        "    found",
        (OUTAGE, "never_read_stale_afterwards"),
    ),
    Guard(
        "a process whose fence failed reads nothing before the release",
        PROMISE,
        '    if _unfenced:\n        raise StoreFailed("a write',
        '    if False:\n        raise StoreFailed("a write',
        (OUTAGE, "could_not_fence"),
    ),
    Guard(
        "a release that failed is a debt",
        PROMISE,
        "        if lost is None:\n            _owe(dependencies, writer)\n        elif",
        "        if",
        (CUT, "between_commit_and_release"),
    ),
    Guard(
        "a release is settled before the next look",
        PROMISE,
        "    if get_store().unsettled:\n        settle()\n",
        "",
        ("tests/stores/test_redis.py", "a_release_is_not_waited_for"),
    ),
    Guard(
        "a release whose script was lost is a debt",
        "querycache/stores/redis.py",
        "        if any(isinstance(answer, Exception) for answer in answers):",
        "        if False:",
        ("tests/stores/test_redis.py", "script_was_lost"),
    ),
    Guard(
        "a forked process leaves the answer to its parent",
        "querycache/stores/redis.py",
        "            os.register_at_fork(after_in_child=self._begin)",
        "            pass",
        ("tests/stores/test_redis.py", "forked"),
    ),
    Guard(
        "a release is unsettled until it is done",
        "querycache/stores/redis.py",
        "sent, lost = self.unsettled[0], None\n"
        "                try:\n"
        "                    lost = self._answer_to(sent)\n"
        "                finally:\n"
        "                    sent.done(lost)\n"
        "                    self.unsettled.popleft()\n",
        "sent = self.unsettled.popleft()\n                sent.done(self._answer_to(sent))\n",
        ("tests/stores/test_redis.py", "fence_was_lost_reads_what_it_wrote"),
    ),
    Guard(
        "who looks waits for the thread that settles",
        "querycache/stores/redis.py",
        "        with self._settling:\n",
        "        if True:\n",
        ("tests/stores/test_redis.py", "one_of_two_threads"),
    ),
    Guard(
        "a thread that is told to end leaves a debt",
        "querycache/stores/redis.py",
        "        except BaseException as error:\n            self._connections.discard",
        "        except Exception as error:\n            self._connections.discard",
        ("tests/stores/test_redis.py", "told_to_end"),
    ),
    Guard(
        "what cannot be sent keeps no connection",
        "querycache/stores/connections.py",
        "            self.discard(connection)\n            raise\n        return connection\n",
        "            raise\n        return connection\n",
        ("tests/stores/test_redis.py", "keeps_no_connection"),
    ),
    Guard(
        "there is one store",
        "querycache/stores/__init__.py",
        "return _stores.setdefault(alias, store)",
        "return store",
        ("tests/stores/test_redis.py", "given_one_store"),
    ),
    Guard(
        "debts are paid by whoever publishes counts",
        PROMISE,
        "    settle()\n    if _debts or _unfenced:\n        pay_debts()\n    _ask_unless",
        "    _ask_unless",
        (OUTAGE, "reads_nothing_pays_its_debts"),
    ),
    Guard(
        "a write that cannot be published is refused",
        PROMISE,
        "        if get_config().refuses_writes:\n",
        "        if False:\n",
        (OUTAGE, "cannot_be_published"),
    ),
    Guard(
        "an incarnation is a generation",
        PROMISE,
        "in another life is stale.\n    tokens = found.incarnation + b",
        "\n    found = found._replace(incarnation=b'')\n    tokens = b",
        (FORGETS, "old_dump"),
    ),
    Guard(
        "a server that was promoted again is another one",
        "querycache/stores/connections.py",
        'blake2b(run + b" " + replication,',
        "blake2b(run,",
        (FORGETS, "missed_writes"),
    ),
    Guard(
        "a connection that is opened again asks again",
        "querycache/stores/connections.py",
        "                connection.register_connect_callback(_greeter.greet)\n",
        "",
        (FORGETS, "know_the_same_incarnation"),
    ),
    Guard(
        "a replica of the server is not asked",
        "querycache/stores/connections.py",
        '    if fields.get(b"role", b"master") != b"master":\n',
        "    if False:\n",
        (FORGETS, "a_replica_is_not_asked"),
    ),
    Guard(
        "a replica of the database does not fill before it has caught up",
        "querycache/replicas.py",
        "    return now - sighting[1] >= max_lag\n",
        "    return True\n",
        (REPLICAS, "must_have_caught_up"),
    ),
    Guard(
        "another token begins the wait anew",
        "querycache/replicas.py",
        "    if sighting is None or sighting[0] != tokens:\n",
        "    if sighting is None:\n",
        (REPLICAS, "begins_the_wait_anew"),
    ),
    Guard(
        "a replica is its primary",
        "querycache/databases.py",
        "    return connection if alias == connection.alias else connections[alias]\n",
        "    return connection\n",
        (REPLICAS, "shares_the_entries"),
    ),
    Guard(
        "reads of an alias that is not written to are not cached",
        READS,
        "    if router.routers and is_written_elsewhere(query, connection):\n",
        "    if False:\n",
        (REPLICAS, "undeclared_replica"),
    ),
    Guard(
        "a write in the meantime explains a difference",
        READS,
        "        if tokens and generations.look(plan.key, plan.dependencies).tokens == tokens:\n",
        "        if True:\n",
        (VERIFICATION, "explains_a_difference"),
    ),
    Guard(
        "a database cache in another transaction is not asked",
        PROMISE,
        "    if state.in_transaction(connection) and not state.publishing:\n",
        "    if False:\n",
        (DATABASE_CACHE, "another_transaction_hides or snapshot_of_the_stores"),
    ),
    Guard(
        "a release leaves no transaction open in a database cache",
        WRITES,
        "            if error is None and generations.is_stored_in(connection):\n",
        "            if False:\n",
        (DATABASE_CACHE, "takes_its_fence_with_it"),
    ),
    Guard(
        "an entry is believed only with its signature",
        "querycache/entries.py",
        "        if compare_digest(signature, _signature(signing_key, key, content)):\n",
        "        if True:\n",
        ("tests/unit/test_entries.py", ""),
    ),
    Guard(
        "a statement that is not understood changes everything",
        "querycache/statements.py",
        "in trees]\n    except Uncacheable:\n        return _anything(vendor)\n",
        "in trees]\n    except Uncacheable:\n        return NOTHING\n",
        ("tests/unit/test_sql.py", ""),
    ),
    Guard(
        "what a session was told is in the key",
        STATE,
        "apart = self.session.apart or ()",
        "apart = ()",
        (SESSIONS, "schemas_share_no_answers"),
    ),
    Guard(
        "a session that cannot be followed is not answered from the cache",
        READS,
        "        raise Uncacheable(Reason.UNKNOWN_SESSION)\n",
        "        pass\n",
        (SESSIONS, "not_shown_to_another_tenant"),
    ),
    Guard(
        "what a rollback takes back was never told",
        WRITES,
        '    return rolls_back and connection.vendor == "postgresql"\n',
        "    return False\n",
        (SESSIONS, "rollback_takes_back"),
    ),
    Guard(
        "what a savepoint takes back was never told",
        WRITES,
        "            state.session.roll_back_to_savepoint(name)\n",
        "            pass\n",
        (SESSIONS, "savepoint_takes_back"),
    ),
    Guard(
        "the schema of django-tenants is in the key",
        STATE,
        'if "schema_name" in connection.__dict__:',
        "if False:",
        (SESSIONS, "each_tenant"),
    ),
    Guard(
        "what Django tells each session tells none apart",
        "querycache/hooks.py",
        "    state_of(connection).session = Session()\n",
        "",
        (DATABASE_CACHE, "takes_its_fence_with_it"),
    ),
    Guard(
        "a write to another database of the server is published there",
        "querycache/databases.py",
        "        for place in [self._location, *map(self._locate, sorted(change.databases))]:\n",
        "        for place in [self._location]:\n",
        (SESSIONS, "another_database_of_the_server"),
    ),
    Guard(
        "a table of another database of the server is not cached",
        "querycache/sql.py",
        "    if others := databases_named(tree, vendor):\n",
        "    if others := ():\n",
        ("tests/unit/test_sql.py", "another_database"),
    ),
    Guard(
        "what a test has written is for itself",
        STATE,
        "if connection.in_atomic_block and (token := self._token_of_test(connection)):",
        "if False:",
        (TESTING, "nobody_else_is_given"),
    ),
    Guard(
        "what atomic() has written in a test is published when it has ended",
        READS,
        "        generations.renew(database.changed(state.written()))\n",
        "",
        (TESTING, "atomic_in_a_test"),
    ),
    Guard(
        "what a savepoint takes back in a test is published again",
        WRITES,
        "        change = EVERYTHING\n        state.forget()\n",
        "        pass\n",
        (TESTING, "savepoint_of_a_test"),
    ),
    Guard(
        "a store that is a table does not commit the transaction of a test",
        "querycache/_django.py",
        "    if connection.connection is None or connection.in_atomic_block:\n        return\n",
        "",
        (TESTING, "reads_from_the_cache_what_it_has_written"),
    ),
    Guard(
        "what a trigger writes is stale with its table",
        "querycache/changes.py",
        "_with_cascades(config.triggers.get(table, ()))",
        "()",
        (DECLARED, "trigger_writes"),
    ),
    Guard(
        "a view is stale with what it depends on",
        "querycache/plans.py",
        "    names.update(*(config.depends_on.get(name, ()) for name in list(names)))\n",
        "",
        (DECLARED, "a_view_changes"),
    ),
    Guard(
        "a table that is depended on is published",
        "querycache/databases.py",
        "change.touched & config.published",
        "change.touched & config.tables.keys()",
        (DECLARED, "not_opted_in_may_be_depended_on"),
    ),
    Guard(
        "a declared function that a query calls is seen",
        READS,
        '"bypass", began, reason)\n            run = state.cover_query if config.writes else',
        '"bypass", began, reason)\n            run =',
        (DECLARED, "that_a_query_calls"),
    ),
    Guard(
        "a parameter that stands for a moment is not cacheable",
        READS,
        "        sql.refuse_clock(params)\n",
        "        pass\n",
        ("tests/differential/test_reads.py", "not_cacheable"),
    ),
    Guard(
        "a table that is named twice is not pinned",
        PINS,
        "    return named[table] == words == 1\n",
        "    return True\n",
        (SCOPES, "one_of_every_row"),
    ),
    Guard(
        "a condition under an OR pins nothing",
        PINS,
        "        elif type(node) is exp.And:\n",
        "        elif isinstance(node, exp.And | exp.Or):\n",
        (SCOPES, "one_of_every_row"),
    ),
    Guard(
        "a read of rows depends on writes of unknown rows",
        PLANS,
        "        scopes.append(Scope(table, name, ANY))\n",
        "",
        (SCOPES, "one_to_every_row"),
    ),
    Guard(
        "a read of rows depends on rows that are inserted",
        PLANS,
        "            scopes.append(Scope(table, name, NEW))\n",
        "            pass\n",
        (SCOPES, "read_once_it_is"),
    ),
    Guard(
        "only an answer with all its rows is untouched by those that are inserted",
        PLANS,
        "        return bool(rows)\n",
        "        return True\n",
        (SCOPES, "read_once_it_is"),
    ),
    Guard(
        "an answer about a list is complete with as many rows",
        PLANS,
        " and len(rows) == values\n",
        "\n",
        (SCOPES, "read_once_it_is"),
    ),
    Guard(
        "an aggregate of no rows is an answer",
        PINS,
        "    if any(not isinstance(function, harmless) for function in tree.find_all(exp.Func)):\n",
        "    if False:\n",
        (SCOPES, "may_be_one_that_is_inserted"),
    ),
    Guard(
        "a transaction of many rows is one of all",
        "querycache/scopes.py",
        "        if count > MOST_VALUES or Scope(",
        "        if Scope(",
        (SCOPES, "of_many_rows"),
    ),
    Guard(
        "a transaction reads the rows that it has written from the database",
        STATE,
        "        return bool(self._scopes) and any(",
        "        return False and any(",
        (SCOPES, "reads_what_it_has_written"),
    ),
    Guard(
        "an UPDATE that sets the column does not tell rows by it",
        "querycache/changes.py",
        "        if pin.column.name not in pinned.sets:\n",
        "        if True:\n",
        (SCOPES, "one_to_every_row"),
    ),
    Guard(
        "an INSERT that updates on conflict is a write of unknown rows",
        "querycache/changes.py",
        "    if updates_on_conflict(compiler):\n",
        "    if False:\n",
        (SCOPES, "one_to_every_row"),
    ),
    Guard(
        "a signal by hand is one to every row",
        WRITES,
        "    if row in published.scopes:\n",
        "    if row is not None:\n",
        (SCOPES, "signal_by_hand"),
    ),
    Guard(
        "a compiler that makes its SQL in its own way is watched",
        WRITES,
        "    if state.covered and not state.uncompiled:\n",
        "    if state.covered:\n",
        (SCOPES, "in_its_own_way"),
    ),
    Guard(
        "old values are asked for where they can be locked",
        WRITES,
        "    if not keeps_locks(connection):\n        return []\n",
        "",
        (SCOPES, "does_not_tell_old_and_new_values"),
    ),
    Guard(
        "a row is locked from its old values on",
        WRITES,
        " IN ({places}) {lock}",
        " IN ({places})",
        (SCOPES, "is_locked_until"),
    ),
    Guard(
        "a row that has no old values may yet be inserted",
        "querycache/changes.py",
        "        if len(rows) == len(values[key.name]):",
        "        if rows:",
        (SCOPES, "asks_for_their_old_values"),
    ),
    Guard(
        "a row comes into the scope of its new value",
        "querycache/changes.py",
        "            values[column.name] = found | new\n",
        "            values[column.name] = found\n",
        (SCOPES, "asks_for_their_old_values"),
    ),
    Guard(
        "a rollback is not what a signal after it tells",
        WRITES,
        "        state.published = NOTHING\n\n    return forgetting_rollback",
        "\n    return forgetting_rollback",
        (SCOPES, "after_a_rollback"),
    ),
    Guard(
        "NULL may be stored as something else",
        "querycache/scopes.py",
        "            if parameter is None and self.takes_null:\n",
        "            if parameter is None:\n",
        ("tests/unit/test_pins.py", "null_is_stored"),
    ),
    Guard(
        "a number without room may be stored as something else",
        "querycache/scopes.py",
        "            if value is None or not self._has_room_for(value):\n",
        "            if value is None:\n",
        ("tests/unit/test_pins.py", "has_no_room"),
    ),
    Guard(
        "a view shows other rows than those that are pinned",
        PLANS,
        "        if name in config.scopes and name not in of_views\n",
        "        if name in config.scopes\n",
        ("tests/unit/test_pins.py", "no_view"),
    ),
    Guard(
        "a function that writes in a raw write is seen",
        "querycache/statements.py",
        " or is_misread or calls.everything",
        " or is_misread",
        (DECLARED, "in_a_raw_write"),
    ),
]
