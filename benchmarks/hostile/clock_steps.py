"""NTP or an administrator sets the node's UTC forward and back by an hour and by a day while the agent measures."""

import time

from benchmarks.hostile.rig import Attack, Rig
from energy_agent.ledger import chain
from energy_agent.runtime.clock import SimulatedClock

HOUR_NS = 3600 * 10**9
OFFSETS_NS = (HOUR_NS, 0, -HOUR_NS, 24 * HOUR_NS, -24 * HOUR_NS, 0)


def run(rig: Rig) -> None:
    """Set the clock six times; commits must go on all the time."""
    clock = SimulatedClock(rig.node.directory / "plant")
    fewest = None
    for offset_ns in OFFSETS_NS:
        rig.utc_offsets_ns.append(offset_ns)
        clock.set_utc(offset_ns)
        before = _commits(rig)
        seconds = max(3.0, rig.seconds / len(OFFSETS_NS))
        time.sleep(seconds)
        per_s = (_commits(rig) - before) / seconds
        fewest = per_s if fewest is None else min(fewest, per_s)
    rig.figures["fewest commits per second between two steps"] = round(fewest or 0.0, 2)
    rig.require("the agent commits all the time", (fewest or 0.0) > 0.5)
    report = chain.verify([rig.agent.state / "segments"])
    rig.figures["segments"] = report.files
    rig.require("the chain of segments is whole", report.ok)


def _commits(rig: Rig) -> float:
    page = rig.agent.fetch(timeout_s=5.0).decode()
    line = next(line for line in page.splitlines() if line.startswith("wattlens_ledger_commits_total"))
    return float(line.rpartition(" ")[2])


SPEC = Attack(name="clock_steps", summary="UTC is set forward and back by an hour and a day", run=run)
