"""The journal's log: each commit is one appended row of text, kept until the rows that it made are sealed.

The text of a row is a batch, whole: so a crash keeps all of a second or nothing of it, and the book of a journal is that of its
last checkpoint with the batches of the log added one after the other.
"""

import json
import sqlite3
from collections.abc import Iterator
from operator import attrgetter
from typing import Any

from energy_agent.core.energy import Action, Entry, Gap, Method, State, Steps, Tokens, WorkloadFacts
from energy_agent.core.saved_state import copy_states
from energy_agent.ledger.journal.book import Batch, dumps
from energy_agent.ledger.rows.kinds import DeviceFacts
from energy_agent.ledger.rows.text import from_json, to_json

_entry = attrgetter(*Entry.__slots__)
_gap = attrgetter(*Gap.__slots__)
_tokens = attrgetter(*Tokens.__slots__)
_steps = attrgetter(*Steps.__slots__)
_action = attrgetter(*Action.__slots__)
_device = attrgetter(*DeviceFacts.__slots__)


def encode(batch: Batch) -> str:
    """The text of a batch."""
    return dumps(
        [
            list(map(_entry, batch.entries)),
            list(map(_gap, batch.gaps)),
            list(map(_tokens, batch.tokens)),
            list(map(_action, batch.actions)),
            [[f.workload, f.since_ns, f.kind, dict(f.labels)] for f in batch.facts],
            list(map(_device, batch.devices)),
            copy_states(batch.states),
            list(map(_steps, batch.steps)),
            dict(batch.ended),
            list(map(to_json, batch.rows)),
        ]
    )


def decode(text: str) -> Batch:
    """The batch of a text.

    Raises:
        ValueError, TypeError, AttributeError, ChainError: not the text of a batch; the database is torn.
    """
    return from_body(json.loads(text))


def from_body(body: Any) -> Batch:
    """The batch of a decoded text. Raises as `decode` does."""
    entries, gaps, tokens, actions, facts, devices, states, steps, ended, rows = body
    return Batch(
        [
            Entry(start, end, device, workload, State(state), Method(method), *numbers)
            for start, end, device, workload, state, method, *numbers in entries
        ],
        [Gap(*g) for g in gaps],
        [Tokens(*t) for t in tokens],
        [Action(*a) for a in actions],
        [WorkloadFacts(*f) for f in facts],
        [DeviceFacts(*d) for d in devices],
        copy_states(states),
        [Steps(*s) for s in steps],
        dict(ended),
        list(map(from_json, rows)),
    )


def read(connection: sqlite3.Connection, after: int) -> Iterator[tuple[int, Batch]]:
    """Number and batch of each commit of the log after the one of that number, in their order.

    Raises:
        sqlite3.Error: it cannot be read.
        ValueError, TypeError, AttributeError, ChainError: a row is no batch; the database is torn.
    """
    for number, text in connection.execute("SELECT sequence, batch FROM log WHERE sequence > ? ORDER BY sequence", (after,)):
        yield number, decode(text)


def append(connection: sqlite3.Connection, number: int, text: str) -> None:
    """One commit more: one statement, so one transaction."""
    connection.execute("INSERT INTO log (sequence, batch) VALUES (?, ?)", (number, text))


def size(connection: sqlite3.Connection) -> int:
    """Characters of the database's log. Raises sqlite3.Error: it cannot be read."""
    (characters,) = connection.execute("SELECT coalesce(sum(length(batch)), 0) FROM log").fetchone()
    return int(characters)
