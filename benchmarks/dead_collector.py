"""An agent that exports to a collector which accepts requests and never answers: energy against the simulator's, and memory.

Run from the repository's root: python -m benchmarks dead_collector [--seconds 600] [--endpoint URL]

`lacking_uj` is energy that the counters certainly had between the first and the last reading in the ledger, and that the
ledger lacks. Memory is the agent's resident memory, as the median of a tenth of the run: the sixth tenth and the last, as each
export needs some for a moment. Next to it runs an agent that exports nothing: every agent grows in its first hour, of which it
keeps the history. Bars: 0 uJ, nothing recorded twice, conservation, no counter fell, and memory that grows by less than 2 MiB
more than without the export.
"""

import socket
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from statistics import median

from benchmarks.exactness import SCENARIO, CounterMonitor, TruthRecorder
from benchmarks.report_scale import resident_b
from benchmarks.runner import Row
from benchmarks.running import running_agent, simulated
from energy_agent.core.units import joules
from energy_agent.ledger.reading import read_rows
from energy_agent.ledger.rows.kinds import Cell
from wattlens.summary import summarise

GROWTH_MAX_MIB = 2.0


def run(seconds: float = 600.0, endpoint: str = "") -> Row:
    """One run in a temporary folder; `endpoint`: a collector of your own."""
    with _silent_collector() as url, simulated({"description": "dead collector", "seed": 1} | SCENARIO) as (base, node):
        config = {"otlp": {"endpoint": endpoint or url, "period_s": 1, "timeout_s": 2}}
        with node.plant() as plant:
            truth = TruthRecorder(plant)
            truth.start()
            time.sleep(0.2)
            with running_agent(node, base / "control") as control, running_agent(node, base / "state", config) as agent:
                counters = CounterMonitor(agent)
                counters.start()
                time.sleep(seconds / 2)
                first_b, _, _, _, last_b = (_memory_b((agent.pid, control.pid), seconds / 10) for _ in range(5))
                page = agent.page()
                up = [v for (name, of), v in page.items() if name == "wattlens_source_up" and ("source", "otlp") in of]
            for thread in (counters, truth):
                thread.ended.set()
                thread.join()
        summary = summarise(agent.state)
        rows = [located.row for located in read_rows(agent.state)]
        lacking_uj = twice_uj = 0
        for device, bounds in summary.devices:
            runs = [row.run for row in rows if isinstance(row, Cell) and row.device == device]
            most, least = truth.published(device, (min(r.start_ns for r in runs), max(r.end_ns for r in runs)))
            doubt = sum(r.bound_uj for r in runs)
            lacking_uj += max(0, least - bounds.energy_uj - bounds.gap_bound_uj - doubt)
            twice_uj += max(0, bounds.energy_uj - most - doubt)
    growth_mib, control_mib = ((last - first) / 2**20 for last, first in zip(last_b, first_b, strict=True))
    return {
        "seconds": seconds, "exports_succeed": any(up), "ledger_j": joules(summary.total.energy_uj), "lacking_uj": lacking_uj,
        "twice_uj": twice_uj, "conserved": summary.conserved, "fell": len(counters.fallen), "resident_mib": first_b[0] / 2**20,
        "resident_without_mib": first_b[1] / 2**20,
        "growth_mib": growth_mib, "growth_without_mib": control_mib,
        "ok": not (lacking_uj or twice_uj or counters.fallen) and summary.conserved
        and growth_mib - control_mib < GROWTH_MAX_MIB,
    }  # fmt: skip


def _memory_b(pids: Sequence[int], seconds: float) -> list[float]:
    """Median of the resident memory of each process over this time."""
    samples = []
    end_s = time.monotonic() + seconds
    while time.monotonic() < end_s:
        samples.append([resident_b(pid) for pid in pids])
        time.sleep(min(1.0, seconds / 10))
    return [median(of) for of in zip(*samples, strict=True)]


@contextmanager
def _silent_collector() -> Iterator[str]:
    """Address of one that takes every connection and never responds."""
    taken: list[socket.socket] = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def accept() -> None:
            while True:
                try:
                    taken.append(server.accept()[0])
                except OSError:
                    return

        threading.Thread(target=accept, daemon=True).start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}"
        server.shutdown(socket.SHUT_RDWR)
    for each in taken:
        each.close()
