"""Tests of Django that may differ, and why; those that only count queries are not here."""

_CYCLES = "sqlglot's trees refer to their parents: Python's garbage collector has to free them"
_DELETE_SIGNAL = "Django reads what it deletes where somebody listens to it: DELETE_SIGNAL"
_QUERIES = "it looks for a query that was answered from the cache"

ALWAYS: dict[str, str] = {
    "backends.base.test_base.DatabaseWrapperTests."
    "test_release_memory_without_garbage_collection": _CYCLES,
    "backends.base.test_base.ExecuteWrapperTests.test_wrapper_connection_specific": (
        "querycache is an execute_wrapper itself, on each connection"
    ),
    "select_related.tests.SelectRelatedTests.test_select_related_memory_leak": _CYCLES,
    "signals.tests.SignalTests.test_disconnect_in_dispatch": (
        "it wants nobody to listen to post_save; querycache does, to each model"
    ),
}
"""By the id of the test, or of a class that cannot begin."""

WHEN_CACHED: dict[str, str] = {
    "admin_changelist.tests.ChangeListTests."
    "test_changelist_view_list_editable_changed_objects_uses_filter": _QUERIES,
    "admin_changelist.tests.ChangeListTests.test_many_search_terms": _QUERIES,
    "context_processors.tests.DebugContextProcessorTests.test_sql_queries": _QUERIES,
    "delete.tests.DeletionTests.test_only_referenced_fields_selected": _DELETE_SIGNAL,
    "delete.tests.FastDeleteTests.test_fast_delete_all": _DELETE_SIGNAL,
    "delete.tests.FastDeleteTests.test_fast_delete_instance_set_pk_none": _DELETE_SIGNAL,
    "many_to_many.tests.ManyToManyTests.test_fast_add_ignore_conflicts": _DELETE_SIGNAL,
    "test_utils.tests.CaptureQueriesContextManagerTests.test_nested": _QUERIES,
    "test_utils.tests.CaptureQueriesContextManagerTests.test_with_client": _QUERIES,
}
"""These pass when each read asks the database too, and nobody listens to post_delete."""
