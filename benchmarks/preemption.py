"""How long after SIGTERM the agent has its ledger on the disk: a preempted node may be gone within a second.

Run from the repository's root: python -m benchmarks preemption [--notices 10]

A simulated node with eight H100s. Each time the agent has run for some seconds and gets SIGTERM at a random instant; the time
until its segment is there is measured, and 0.8 s after the SIGTERM the agent and its reader get SIGKILL. Bar: every segment is
there within 0.8 s, the chain verifies, and no GPU lacks more than three seconds of readings before the notice.
"""

import random
import signal
import time
from collections.abc import Iterator
from contextlib import suppress
from os import kill

from benchmarks.runner import Row
from benchmarks.running import family, running_agent, simulated
from energy_agent.ledger import chain
from energy_agent.ledger.journal.view import read_journal
from energy_agent.ledger.reading import read_rows
from energy_agent.ledger.rows.kinds import Cell

NOTICE_S = 0.8
UNREAD_MAX_S = 3.0


def run(notices: int = 10, seed: int = 1) -> Iterator[Row]:
    """One row per notice."""
    rng = random.Random(seed)
    with simulated("h100-node") as (base, node):
        for number in range(notices):
            state = base / f"state{number}"
            with running_agent(node, state) as agent:
                time.sleep(rng.uniform(5, 8))
                processes = list(family(agent.pid))
                assert agent.process is not None
                began_s, notice_ns, flushed_s = time.monotonic(), time.time_ns(), None
                agent.process.send_signal(signal.SIGTERM)
                while time.monotonic() < began_s + NOTICE_S:
                    if flushed_s is None and list((state / "segments").glob("[!.]*")):
                        flushed_s = time.monotonic() - began_s
                    time.sleep(0.002)
                for pid in processes:
                    with suppress(ProcessLookupError):
                        kill(pid, signal.SIGKILL)
                agent.process.wait()
            last_ns: dict[str, int] = {}
            if flushed_s is not None:
                for row in read_rows(state / "segments"):
                    if isinstance(row.row, Cell):
                        last_ns[row.row.device] = max(last_ns.get(row.row.device, 0), row.row.run.end_ns)
            unread_s = max(((notice_ns - end_ns) / 1e9 for end_ns in last_ns.values()), default=None)
            faults = len(chain.verify([state / "segments"], read_journal(state / "journal.db")).faults)
            yield {
                "notice": number + 1,
                "flushed_s": flushed_s,
                "unread_s": unread_s,
                "GPUs": len(last_ns),
                "faults": faults,
                "ok": flushed_s is not None and unread_s is not None and unread_s <= UNREAD_MAX_S and not faults,
            }
