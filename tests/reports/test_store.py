"""The store of a report: Ctrl-C within a query is a KeyboardInterrupt, whatever DuckDB makes of it."""

import os
import signal
import threading

import duckdb
import pytest

from reports.store import Store

QUERY = "SELECT count(*) FROM range(100000000) WHERE range % 7 = 3"


def interrupted(ask, store):
    threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT)).start()
    while True:  # DuckDB looks for signals now and then: one that it misses is raised between two queries
        ask(store, QUERY)


@pytest.mark.parametrize("ask", [Store.rows, lambda store, query: list(store.stream(query))])
def test_an_interrupt_within_a_query_is_one(ask):
    with duckdb.connect() as connection:
        store = Store(connection, {})
        with pytest.raises(KeyboardInterrupt):
            interrupted(ask, store)
        assert store.rows("SELECT 1") == [(1,)], "it can be asked again"
