"""The store of a report: Ctrl-C within a query is a KeyboardInterrupt, whatever DuckDB makes of it."""

import os
import signal
import threading

import pytest

from energy_agent.query.engine import open_engine
from energy_agent.query.port import EngineOptions
from reports.ledger.store import DayDatabase

QUERY = "SELECT count(*) FROM range(100000000) WHERE range % 7 = 3"


def interrupted(ask, store):
    raised = threading.Event()

    def press():
        while not raised.wait(2):  # again, as DuckDB may lose one that comes while it ends a query
            os.kill(os.getpid(), signal.SIGINT)

    presses = threading.Thread(target=press)
    presses.start()
    try:
        for _ in range(1000):  # some minutes
            ask(store, QUERY)
    finally:
        raised.set()
        presses.join()


@pytest.mark.smoke
@pytest.mark.parametrize("ask", [DayDatabase.rows, lambda store, query: list(store.stream(query))])
def test_an_interrupt_within_a_query_is_one(ask):
    with open_engine(EngineOptions()) as engine:
        store = DayDatabase(engine, {})
        with pytest.raises(KeyboardInterrupt):
            interrupted(ask, store)
        assert store.rows("SELECT 1") == [(1,)], "it can be queried again"
