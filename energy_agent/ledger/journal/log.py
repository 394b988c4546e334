"""The journal's log: each commit is one appended row of text; every minute the rows are folded into the book's tables.

A second brings little to each of a dozen tables; folded every second, they cost several times what is booked. The text of a row
is a batch, whole: so a crash keeps all of a second or nothing of it, and folding sixty batches gives the rows that folding each
in its turn would have given (tests/energy_agent/ledger/journal/test_log.py).
"""

import json
import sqlite3
from dataclasses import dataclass
from operator import attrgetter
from typing import Any

from energy_agent.core.energy import Action, Entry, Gap, Method, State, Steps, Tokens, WorkloadFacts
from energy_agent.ledger.journal.book import Batch
from energy_agent.ledger.rows.kinds import INT64_MAX, DeviceFacts

_entry = attrgetter(*Entry.__slots__)
_gap = attrgetter(*Gap.__slots__)
_tokens = attrgetter(*Tokens.__slots__)
_steps = attrgetter(*Steps.__slots__)
_action = attrgetter(*Action.__slots__)
_device = attrgetter(*DeviceFacts.__slots__)
# Not ASCII alone: a lone surrogate, which no format could store, must fail here, at the commit, and not when it is folded.
_encode = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False, check_circular=False).encode


def encode(batch: Batch) -> str:
    """The text of a batch."""
    return _encode(
        [
            list(map(_entry, batch.entries)),
            list(map(_gap, batch.gaps)),
            list(map(_tokens, batch.tokens)),
            list(map(_action, batch.actions)),
            [[f.workload, f.since_ns, f.kind, dict(f.labels)] for f in batch.facts],
            list(map(_device, batch.devices)),
            batch.states if isinstance(batch.states, dict) else dict(batch.states),
            list(map(_steps, batch.steps)),
        ]
    )


def decode(text: str) -> Batch:
    """The batch of a text.

    Raises:
        ValueError, TypeError: it is none; the database is torn.
    """
    body: Any = json.loads(text)
    entries, gaps, tokens, actions, facts, devices, states, *more = body
    (steps,) = more or ([],)  # before schema 3 there were none
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
        dict(states),
        [Steps(*s) for s in steps],
    )


def read(connection: sqlite3.Connection) -> list[Batch]:
    """The batches of the database's log, in their order.

    Raises:
        sqlite3.Error: it cannot be read.
        ValueError, TypeError: a row is no batch; the database is torn.
    """
    return [decode(text) for (text,) in connection.execute("SELECT batch FROM log ORDER BY sequence")]


def size(connection: sqlite3.Connection) -> int:
    """Characters of the database's log. Raises sqlite3.Error: it cannot be read."""
    (characters,) = connection.execute("SELECT coalesce(sum(length(batch)), 0) FROM log").fetchone()
    return int(characters)


@dataclass(slots=True)
class Room:
    """How far the largest number of the book can have grown. While that surely fits int64, a batch can be folded later.

    `largest` is that of the folded book, plus all that has been taken since. Tokens and steps need no room: they stop at int64.
    """

    largest: int = 0

    def take(self, batch: Batch) -> bool:
        """Whether the batch is sound and surely fits; if so its growth is counted. Else only folding it can tell.

        Totals of workloads that have ended become one sum, which can be as large as all of them: such a batch is folded.
        """
        if batch.ended:
            return False
        grows, latest = 0, 0
        for e in batch.entries:
            if e.energy_uj < 0 or e.edge_uj < 0 or e.gpu_ns < 0 or not 0 <= e.start_ns <= e.end_ns:
                return False
            # A cut adds the energy on its larger side to an edge, and edges that do not cancel add up (ledger/cells.py).
            grows += 4 * (e.energy_uj + e.edge_uj + 1) + e.gpu_ns
            latest = max(latest, e.end_ns)
        for gap in batch.gaps:
            if gap.bound_uj < 0 or not 0 <= gap.start_ns <= gap.end_ns:
                return False
            grows, latest = grows + gap.bound_uj, max(latest, gap.end_ns)
        for count in batch.tokens:
            if count.tokens < 0 or not 0 <= count.start_ns <= count.end_ns:
                return False
            latest = max(latest, count.end_ns)
        for done in batch.steps:
            if done.steps < 0 or not 0 <= done.start_ns <= done.end_ns:
                return False
            latest = max(latest, done.end_ns)
        instants = [*(f.since_ns for f in batch.facts), *(d.since_ns for d in batch.devices), *(a.t_ns for a in batch.actions)]
        if self.largest + grows > INT64_MAX or max([latest, *instants]) > INT64_MAX:
            return False
        self.largest += grows
        return True
