"""Cost of a journal, and recovery from damaged files.

Run from the repository's root: python -m benchmarks journal [--seconds 3600] [--damaged 2000] [--seed N]

Costs are those of a node's commits, one per second: CPU time, bytes handed to the kernel, the start on a full log. Damage to
the database and its write-ahead log is as by disks, file systems and people: cut, zeroed, overwritten, emptied, bits flipped.
The truth is the committed data. It exits with 1 if a commit is lost or counted twice.
"""

import contextlib
import random
import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import accumulate
from pathlib import Path

from benchmarks.runner import Row
from energy_agent.core.energy import Entry, Identity, Method, State, WorkloadFacts
from energy_agent.core.errors import WattlensError
from energy_agent.core.saved_state import Component
from energy_agent.ledger import chain
from energy_agent.ledger.journal import log
from energy_agent.ledger.journal.book import Batch
from energy_agent.ledger.journal.database import FORMAT
from energy_agent.ledger.journal.journal import LOG_CHARACTERS, Journal
from energy_agent.ledger.journal.view import read_journal
from energy_agent.ledger.rows.kinds import DeviceFacts

IDENTITY = Identity("bench", "node-1", "boot-a", "0.1.0", True)
START_NS, S = 1_767_225_600_000_000_000, 1_000_000_000
COMMITS = 200
SEALS: Sequence[tuple[int, ...]] = ((), (90,), (50, 150))
STATE_CHARACTERS = 400
HEADER = ((0, b"SQLite format 3\x00"), (60, FORMAT.to_bytes(4, "big")), (68, b"WtLJ"))
"""What of a file's header stays, as another program's database is refused and not damaged: magic, schema, application."""


def second(i: int, gpus: int, processes: int) -> Batch:
    """A node's commit with `processes` on each GPU."""
    start, end = START_NS + i * S, START_NS + (i + 1) * S
    uuids = [f"GPU-{gpu:08d}-0000-4000-8000-000000000000" for gpu in range(gpus)]
    state = State.ACTIVE if i % 3 else State.IDLE
    names = [[f"process-host-{gpu * processes + p}-123456" for p in range(processes)] for gpu in range(gpus)]
    entries = [
        Entry(
            start, end, uuid, name, state, Method.COUNTER, 500_000_000 // processes + i, 60_000_000 // processes, S // processes
        )
        for uuid, held in zip(uuids, names, strict=True)
        for name in held
    ]
    batch = Batch(entries, states={Component.METERS: {uuid: f"{i}".ljust(STATE_CHARACTERS, "x") for uuid in uuids}})
    if i:
        return batch
    facts = [WorkloadFacts(name, START_NS, "process", {"team": "red"}) for held in names for name in held]
    return replace(batch, facts=facts, devices=[DeviceFacts(uuid, "H100", 0.05, START_NS) for uuid in uuids])


def cost(seconds: int, gpus: int, processes: int) -> Row:
    """Cost of the commits of `seconds`, and of a start with the longest log without a checkpoint."""
    batches = [second(i, gpus, processes) for i in range(seconds)]
    sizes = [len(log.encode(batch)) for batch in batches]
    held = sum(size <= LOG_CHARACTERS for size in accumulate(sizes))
    with tempfile.TemporaryDirectory(prefix="wattlens-journal-") as name:
        journal = Journal.open(Path(name) / "journal.db", IDENTITY)
        written, cpu_s = _written_b(), time.process_time()
        for batch in batches:
            journal.commit(batch)
        cpu_s, written = time.process_time() - cpu_s, _written_b() - written
        journal.close()
        path = Path(name) / "full" / "journal.db"
        journal = Journal.open(path, IDENTITY)
        for batch in batches[:held]:
            journal.commit(batch)
        journal.close()
        start_s = time.process_time()
        Journal.open(path, IDENTITY).close()
        start_s = time.process_time() - start_s
    return {
        "gpus": gpus, "processes_each": processes, "cpu_ms_per_commit": 1e3 * cpu_s / seconds,
        "written_kb_per_commit": written / seconds / 1e3, "text_kb": sizes[-1] / 1e3,
        "start_cpu_s": start_s, "on_commits": held,
    }  # fmt: skip


def _written_b() -> int:
    lines = Path("/proc/self/io").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("wchar")).split()[1])


def damage(folder: Path, rng: random.Random) -> None:
    """Damage the database, its write-ahead log or both."""
    for name in rng.sample(("journal.db", "journal.db-wal"), rng.choice((1, 1, 2))):
        path = folder / name
        data = bytearray(path.read_bytes())
        match rng.randrange(5):
            case 0:
                del data[rng.randrange(len(data) + 1) :]
            case 1:
                at = rng.randrange(len(data))
                data[at : at + 4096] = bytes(len(data[at : at + 4096]))
            case 2:
                for _ in range(rng.randrange(1, 50)):
                    data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
            case 3:
                data = bytearray()
            case _:
                page = rng.randrange(max(1, len(data) // 4096)) * 4096
                data[page : page + 4096] = rng.randbytes(len(data[page : page + 4096]))
        if name == "journal.db":
            for at, right in HEADER:
                data[at : at + len(right)] = right[: len(data[at : at + len(right)])]
        path.write_bytes(bytes(data))


def survives(state: Path, seed: int) -> str:
    """Why a damaged copy of a state folder does not have each commit once, "" where it has."""
    with tempfile.TemporaryDirectory(prefix="wattlens-journal-") as name:
        folder = Path(name) / "state"
        shutil.copytree(state, folder)
        damage(folder, random.Random(seed))
        expected = sum(entry.energy_uj for i in range(COMMITS) for entry in second(i, 2, 1).entries)
        try:
            with contextlib.closing(Journal.open(folder / "journal.db", IDENTITY)) as journal:
                recorded_uj = sum(journal.totals().energy.values())
                journal.seal(None)
            faults = chain.verify([folder / "segments"], read_journal(folder / "journal.db")).faults
        except WattlensError as error:
            return str(error)
        return f"{recorded_uj - expected} uJ too many" if recorded_uj != expected else "; ".join(fault.line for fault in faults)


def states(folder: Path) -> list[Path]:
    """State folders as a power cut leaves them, with their write-ahead log: never sealed, sealed once, and twice."""
    left = []
    for number, seals in enumerate(SEALS):
        (folder / f"{number}").mkdir()
        with contextlib.closing(Journal.open(folder / f"{number}" / "journal.db", IDENTITY)) as journal:
            for i in range(COMMITS):
                journal.commit(second(i, 2, 1))
                if i in seals:
                    journal.seal(None)
            left.append(folder / f"{number}-left")
            shutil.copytree(folder / f"{number}", left[-1])
    return left


def run(seconds: int = 3_600, damaged: int = 2_000, seed: int = 10_000) -> Iterator[Row]:
    """The cost of commits, and the number of damaged journals that have each commit once."""
    yield from (cost(seconds, 8, processes) for processes in (1, 8))
    with tempfile.TemporaryDirectory(prefix="wattlens-journal-") as name:
        left = states(Path(name))
        why = {seed + n: survives(left[n % len(left)], seed + n) for n in range(damaged)}
    wrong = {each: text for each, text in why.items() if text}
    yield {"damaged": damaged, "each commit once": damaged - len(wrong), "seeds of the others": wrong, "ok": not wrong}
