"""Rows and journals that the ledger's tests share. All truth here is made of plain arithmetic, not of the ledger's output."""

import contextlib
import sqlite3
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from energy_agent.core.energy import Action, Entry, Gap, Identity, Method, State, Steps, Tokens, WorkloadFacts
from energy_agent.core.saved_state import Component
from energy_agent.ledger import chain
from energy_agent.ledger.chain import ChainFault
from energy_agent.ledger.fleet import index
from energy_agent.ledger.fleet.compact import SiteDay, compact_days
from energy_agent.ledger.fleet.sites import Sites
from energy_agent.ledger.journal.journal import Batch, DeviceFacts, Journal
from energy_agent.ledger.journal.view import read_journal

T0 = 1_767_225_600_000_000_000  # 2026-01-01T00:00Z
S = 1_000_000_000
IDENTITY = Identity("lab", "node-1", "boot-a", "0.1.0", True)


def second(i, devices=2, uj=500_000_000, workload="job"):
    """A batch for the i-th second of a node."""
    start, end = T0 + i * S, T0 + (i + 1) * S
    state = State.IDLE if i % 5 == 0 else State.ACTIVE
    entries = [Entry(start, end, f"GPU-{d}", workload, state, Method.COUNTER, uj + i, 60_000_000, S) for d in range(devices)]
    return Batch(
        entries,
        tokens=[Tokens(start, end, workload, "llama", "generation", 100 + i)],
        devices=[DeviceFacts(f"GPU-{d}", "H100", 0.05, T0) for d in range(devices)],
        facts=[WorkloadFacts(workload, T0, "process", {"team": "red"})],
        states={Component.METERS: {f"GPU-{d}": f'{{"second":{i}}}' for d in range(devices)}},
        steps=[Steps(start, end, workload, "training", 3)],
    )


def filled(folder: Path, seconds=10, seals=(), **options):
    """Return an open journal with some recorded seconds, sealed after those in `seals`."""
    journal = opened(folder, **options)
    for i in range(seconds):
        journal.commit(second(i))
        if i in seals:
            journal.seal(None)
    return journal


def opened(folder: Path, **options):
    return Journal.open(folder / "journal.db", options.pop("identity", IDENTITY), **options)


def set_format(path: Path, number: int):
    """Give a closed journal another format number, as another version's has."""
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute(f"PRAGMA user_version={number}")


def energy(journal):
    return sum(journal.totals().energy.values())


def truth(seconds):
    """Energy of some seconds of two devices."""
    return sum(2 * (500_000_000 + i) for i in seconds)


def check(folder: Path, *expected: str):
    """Verify the segments of a state folder against its journal, without a fault of other than the expected kinds."""
    segments = folder / "segments"
    report = chain.verify([segments] if segments.exists() else [], read_journal(folder / "journal.db"))
    assert [fault for fault in report.faults if fault.kind not in expected] == []
    return report


names = st.sampled_from(["GPU-a", "GPU-b"])
instants = st.integers(0, 4_000).map(lambda s: T0 + s * S // 2)
intervals = st.tuples(instants, st.integers(0, 3_000 * S)).map(lambda drawn: (drawn[0], drawn[0] + drawn[1]))
energies = st.integers(0, 10**12)
counts = st.integers(0, 10**7)


@st.composite
def entries(draw):
    start, end = draw(intervals)
    state = draw(st.sampled_from(list(State)))
    is_allocated = state in (State.ACTIVE, State.IDLE)
    workload = draw(st.sampled_from(["w1", "w2", "éà\n"])) if is_allocated else ""
    method = draw(st.sampled_from(list(Method)))
    gpu_ns = draw(st.integers(0, (end - start) // 5)) if is_allocated else 0  # five of them are within what a GPU can do
    uj = draw(st.integers(0, 500 * (end - start) // 1_000))
    return Entry(start, end, draw(names), workload, state, method, uj, draw(st.integers(0, 10**8)), gpu_ns)


@st.composite
def gaps(draw):
    return Gap(draw(names), *draw(intervals), draw(energies), draw(st.sampled_from(["reboot", "lost"])))


@st.composite
def tokens(draw):
    phase = st.sampled_from(["prompt", "generation"])
    return Tokens(*draw(intervals), draw(st.sampled_from(["w1", "w2"])), "m", draw(phase), draw(counts))


@st.composite
def steps(draw):
    phase = st.sampled_from(["training", "evaluation"])
    return Steps(*draw(intervals), draw(st.sampled_from(["w1", "w2"])), draw(phase), draw(counts))


actions = st.builds(
    Action, instants, names, st.just("static"), st.sampled_from(["set", "restore"]), st.just("{}"), st.just("ok"), st.just("w1")
)
batches = st.builds(
    Batch,
    st.lists(entries(), max_size=5),
    st.lists(gaps(), max_size=2),
    st.lists(tokens(), max_size=2),
    st.lists(actions, max_size=2),
    st.just([WorkloadFacts("w1", T0, "process", {"team": "é"})]),
    st.just([DeviceFacts("GPU-a", "H100", 0.05, T0), DeviceFacts("GPU-b", "H100", 0.03, T0)]),
    st.dictionaries(
        st.sampled_from(list(Component)[:2]), st.dictionaries(names, st.text(max_size=8).filter(lambda t: t.isprintable()))
    ),
    st.lists(steps(), max_size=2),
)


def compact_day(
    paths: Sequence[Path], out: Path, day: date, sites: Sites, **options: Any
) -> tuple[list[SiteDay], list[ChainFault]]:
    """Statements and faults of one compacted day of every site that `paths` hold segments of."""
    (result,) = compact_days(index.build(paths, keys=sites.keys), out, [day], sites, **options)
    return list(result.statements), list(result.faults)
