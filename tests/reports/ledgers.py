"""A small ledger written by the product's own journal: two devices, two workloads, a gap, tokens, an action."""

from pathlib import Path

from energy_agent.core.energy import Action, Entry, Gap, Identity, Method, State, Tokens, WorkloadFacts
from energy_agent.core.units import NS_PER_S
from energy_agent.ledger.journal.book import Batch
from energy_agent.ledger.journal.journal import Journal
from energy_agent.ledger.rows.kinds import DeviceFacts

START_NS = 1_782_864_000 * NS_PER_S  # 2026-07-01T00:00:00Z
TRAIN, CHAT = "cgroup:/train", "cgroup:/chat"
GPUS = ("GPU-11111111-0000", "GPU-22222222-0000")
SECONDS = 60


def identity(node: str = "gpu-node-1", *, simulated: bool = True) -> Identity:
    return Identity("demo", node, "boot-1", "0.1.0", simulated)


def entry(at_s: int, device: str, workload: str, state: State, energy_uj: int, edge_uj: int = 30_000_000) -> Entry:
    """One second of one device, by the counter."""
    start = START_NS + at_s * NS_PER_S
    allocated_ns = NS_PER_S if workload else 0
    return Entry(start, start + NS_PER_S, device, workload, state, Method.COUNTER, energy_uj, edge_uj, allocated_ns)


def batch(at_s: int) -> Batch:
    """Second `at_s`: GPU 1 trains at 600 W; GPU 2 serves at 300 W or idles at 90 W by turns, and is left at the end."""
    end_ns = START_NS + (at_s + 1) * NS_PER_S
    chat = State.ACTIVE if at_s % 2 == 0 else State.IDLE
    second = (
        entry(at_s, GPUS[1], "", State.UNALLOCATED, 70_000_001)
        if at_s >= SECONDS - 10
        else entry(at_s, GPUS[1], CHAT, chat, 300_000_000 if chat is State.ACTIVE else 90_000_000)
    )
    tokens = [
        Tokens(end_ns - NS_PER_S, end_ns, CHAT, "llama-3.1-8b", phase, n) for phase, n in (("generation", 700), ("prompt", 90))
    ]
    return Batch(
        entries=[entry(at_s, GPUS[0], TRAIN, State.ACTIVE, 600_000_003), second],
        tokens=tokens if at_s < SECONDS - 10 else [],
    )


def facts() -> Batch:
    return Batch(
        gaps=[Gap(GPUS[1], START_NS + SECONDS * NS_PER_S, START_NS + (SECONDS + 2) * NS_PER_S, 1_400_000_000, "gpu_lost")],
        actions=[Action(START_NS, GPUS[1], "static", "set", "{}", "ok", CHAT)],
        facts=[WorkloadFacts(CHAT, START_NS, "cgroup", {"name": "chat"})],
        devices=[DeviceFacts(uuid, "NVIDIA H100 80GB HBM3", 0.05, START_NS) for uuid in GPUS],
    )


def write(
    state: Path, node: str = "gpu-node-1", *, seconds: int = SECONDS, sealed_every: int = 25, simulated: bool = True
) -> Path:
    """Write a ledger of `seconds` into the state folder; returns the folder of its segments."""
    clock = START_NS
    journal = Journal.open(state / "journal.db", identity(node, simulated=simulated), utc_ns=lambda: clock)
    try:
        journal.commit(facts())
        for at_s in range(seconds):
            clock = START_NS + (at_s + 1) * NS_PER_S
            journal.commit(batch(at_s))
            if (at_s + 1) % sealed_every == 0:
                journal.seal(None)
        journal.seal(None)
    finally:
        journal.close()
    return state / "segments"
