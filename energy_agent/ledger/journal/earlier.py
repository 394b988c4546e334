"""Read journals of schemas 1 to 5, which had one table per kind of row and total, and upgrade them.

They kept the states of all components in one dictionary, with keys that began with the component's name.
"""

import json
import sqlite3
from collections.abc import Mapping
from typing import Any, Final

from energy_agent.core.energy import Action, Method, State, WorkloadFacts
from energy_agent.core.saved_state import ONLY, UNREADABLE, Component, apply_changes
from energy_agent.ledger.journal import database, log
from energy_agent.ledger.journal.book import Book, dumps, to_text, total_key
from energy_agent.ledger.rows.kinds import PPM, Cell, DeviceFacts, EdgeRow, GapRow, Row, StepRow, TokenRow, key_of
from energy_agent.ledger.rows.uncertainty import EdgeRun

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
_PREFIXES: Final = (
    ("info ", Component.GPU_INFO),
    ("node/", Component.NODE),
    ("tokens/", Component.TOKENS),
    ("served/", Component.ENDED_ENDPOINTS),
    ("held/", Component.ENDED_WORKLOADS),
    ("ended/", Component.ENDED_ENERGY),
    ("training/counts/", Component.TRAINING_COUNTS),
    ("training/process/", Component.TRAINING_LABELS),
    ("training", Component.TRAINING),
    ("", Component.METERS),
)
"""What the keys of a component began with. The rest is the key within the component; for METERS, that is the whole key."""
_COUNTS: Final = ("at_ns", "steps", "tokens")


def read(connection: sqlite3.Connection) -> Book:
    """The book, with the log in it.

    Raises:
        sqlite3.Error: it cannot be read.
        ValueError, TypeError, KeyError, AttributeError, ChainError: a row does not make sense; the database is torn.
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
    for table, name in _TOTALS.items():
        for *key, amount in _rows(connection, table):
            book.totals.sums[name][total_key(name, key)] = int(amount)
    book.ended.update(_rows(connection, "ended"))
    states = dict(_rows(connection, "meter_state"))
    for _, text in sorted(_rows(connection, "log")):
        body = json.loads(text)
        body += [[], {}, []][len(body) - 7 :]  # what schemas 1 to 4 had not
        states.update(body[6])
        body[6] = {}
        book.add(log.from_body(body))
    book.states = split_states(states)
    return book


def split_states(states: Mapping[str, str]) -> dict[str, dict[str, str]]:
    """Return the states by component and key. Pure."""
    split: dict[str, dict[str, str]] = {}
    for name, text in states.items():
        prefix, component = next(item for item in _PREFIXES if name.startswith(item[0]))
        apply_changes(split, {component: {name.removeprefix(prefix): text}})
    for component in (Component.ENDED_WORKLOADS, Component.ENDED_ENDPOINTS):
        if ONLY in split.get(component, {}):
            apply_changes(split, {component: _split_entries(split[component][ONLY])})
    if ONLY in split.get(Component.TRAINING, {}):
        apply_changes(split, _split_processes(split[Component.TRAINING][ONLY]))
    return split


def _split_entries(text: str) -> dict[str, str]:
    """A state for each ended workload or endpoint: version 0.1 kept all of them in one."""
    try:
        entries = {key: str(value) for key, value in json.loads(text).items()}
        _check_storable(entries)
        return entries | {ONLY: ""}
    except UNREADABLE:
        return {}  # the state stays whole, and its component sets it aside


def _split_processes(text: str) -> dict[str, dict[str, str]]:
    """States for each training process: version 0.1 kept all of them in that of the component."""
    counts, labels = dict[str, str](), dict[str, str]()
    try:
        own = json.loads(text)
        for process in own.pop("processes", ()):
            name = f"{process['pid']}-{process['start']}"
            counts[name] = dumps({field: process.pop(field) for field in _COUNTS})
            labels[name] = dumps(process)
        split: dict[str, dict[str, str]] = {
            Component.TRAINING: {ONLY: dumps(own)},
            Component.TRAINING_COUNTS: counts,
            Component.TRAINING_LABELS: labels,
        }
        _check_storable(split)
        return split
    except UNREADABLE:
        return {Component.TRAINING_LABELS: {ONLY: text}}  # no process: its component sets all of them aside


def _check_storable(value: object) -> None:
    """Raise UnicodeEncodeError for a lone surrogate, which 0.1 stored as an escape sequence of JSON."""
    dumps(value).encode()


def _open_rows(connection: sqlite3.Connection) -> list[Row]:
    rows: list[Row] = []
    for start, device, workload, state, method, uj, ns, *run in _rows(connection, "cell"):
        rows.append(Cell(start, device, workload, State(state), Method(method), uj, ns, EdgeRun(*run)))
    for start, device, workload, *run in _rows(connection, "span"):
        rows.append(EdgeRow(start, device, workload, EdgeRun(*run)))
    for table, row in (("gap", GapRow), ("tokens", TokenRow), ("steps", StepRow), ("action", Action)):
        rows += [row(*values) for values in _rows(connection, table)]
    return rows


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
