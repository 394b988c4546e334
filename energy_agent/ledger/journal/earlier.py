"""Journals of schemas 1 to 5, which had a table for each kind of row and of total: read, and brought up to date."""

import json
import sqlite3
from typing import Any, Final

from energy_agent.core.energy import Action, Method, State, WorkloadFacts
from energy_agent.ledger.journal import database, log
from energy_agent.ledger.journal.book import Book, dumps, to_text, total_key
from energy_agent.ledger.rows.kinds import PPM, Cell, DeviceFacts, GapRow, Row, Span, StepRow, TokenRow, key_of
from energy_agent.ledger.rows.uncertainty import Run

_TOTALS: Final = {
    "energy_total": "energy",
    "gpu_total": "gpu_ns",
    "token_total": "tokens",
    "step_total": "steps",
    "gap_total": "gap_bound_uj",
}
_TABLES: Final = (
    *("cell", "span", "gap", "tokens", "steps", "action", "workload_fact", "device_fact", "meter_state", "ended"),
    *_TOTALS,
)


def read(connection: sqlite3.Connection) -> Book:
    """The book, with the log in it.

    Raises:
        sqlite3.Error: it cannot be read.
        ValueError, TypeError, KeyError, ChainError: a row does not make sense; the database is torn.
    """
    meta = database.get_meta(connection)
    book = Book(entries=int(meta["entries"]), commits=int(meta["commits"]))
    for row in _open_rows(connection):
        book.rows[key_of(row)] = row
    for workload, since, kind, labels in _rows(connection, "workload_fact"):
        fact = WorkloadFacts(workload, since, kind, _labels(labels))
        book.facts[key_of(fact)] = fact
    for device, since, sku, ppm in _rows(connection, "device_fact"):
        facts = DeviceFacts(device, sku, ppm / PPM, since)
        book.facts[key_of(facts)] = facts
    book.states.update((device, state) for device, state in _rows(connection, "meter_state") if state)
    for table, name in _TOTALS.items():
        for *key, amount in _rows(connection, table):
            book.totals.sums[name][total_key(name, key)] = int(amount)
    book.ended.update(_rows(connection, "ended"))
    if _has(connection, "log"):
        for _, batch in log.read(connection):
            book.add(batch)
    return book


def _open_rows(connection: sqlite3.Connection) -> list[Row]:
    found: list[Row] = []
    for start, device, workload, state, method, uj, ns, *run in _rows(connection, "cell"):
        found.append(Cell(start, device, workload, State(state), Method(method), uj, ns, Run(*run)))
    for start, device, workload, *run in _rows(connection, "span"):
        found.append(Span(start, device, workload, Run(*run)))
    for table, row in (("gap", GapRow), ("tokens", TokenRow), ("steps", StepRow), ("action", Action)):
        found += [row(*values) for values in _rows(connection, table)]
    return found


def _labels(text: str) -> dict[str, str]:
    value: Any = json.loads(text)
    if not isinstance(value, dict):
        raise TypeError("labels")
    return value


def bring_up_to_date(connection: sqlite3.Connection, book: Book) -> None:
    """Put the book in the tables of today, in one transaction. Raises sqlite3.Error."""
    drop = " ".join(f"DROP TABLE IF EXISTS {table};" for table in (*_TABLES, "log"))
    with database.transaction(connection, durable=True):
        for statement in (*drop.split("; "), *database.DDL.split(";\n")):
            connection.execute(statement)
        connection.execute("DELETE FROM meta WHERE key IN ('entries', 'commits')")
        database.set_checkpoint(connection, 0, dumps(to_text(book)))
        connection.execute(f"PRAGMA user_version={database.SCHEMA}")


def _has(connection: sqlite3.Connection, table: str) -> bool:
    return connection.execute("SELECT 1 FROM sqlite_schema WHERE name = ?", (table,)).fetchone() is not None


def _rows(connection: sqlite3.Connection, table: str) -> list[tuple[Any, ...]]:
    """Every row of a table; none where the schema has no such table. `table` is one of this module's names, never input."""
    return connection.execute(f"SELECT * FROM {table}").fetchall() if _has(connection, table) else []  # noqa: S608
