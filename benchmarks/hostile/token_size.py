"""Metrics endpoints that are as large and as costly as they can be: one pod's annotation may name sixteen."""

import time

from benchmarks.hostile.metrics_servers import Endpoints, reason, value
from benchmarks.hostile.rig import Attack, Rig
from benchmarks.running import cpu_s

COSTLY = ("large", "unwanted", "chunks", "churn")
CPU_BAR = 0.10  # of a core: 3 % for endpoints; the rest for scrapes and the first reading of each endpoint
ENDPOINTS = Endpoints("honest", *COSTLY)


def run(rig: Rig) -> None:
    """Read the agent's page meanwhile: what costs too much is down, and the honest endpoint goes on."""
    with ENDPOINTS.running():
        began_s, began_cpu_s = time.monotonic(), cpu_s(rig.agent.pid)
        before = value(rig.agent.page(5.0), "wattlens_tokens_total", workload="honest") or 0.0
        time.sleep(rig.seconds)
        page = rig.agent.page(5.0)
        share = (cpu_s(rig.agent.pid) - began_cpu_s) / (time.monotonic() - began_s)
        rate = ((value(page, "wattlens_tokens_total", workload="honest") or 0.0) - before) / (time.monotonic() - began_s)
    rig.figures |= {each: reason(page, each)[:90] or "up" for each in COSTLY}
    rig.figures |= {"CPU of the agent": f"{share:.1%} of a core", "honest tokens per second": round(rate)}
    rig.require(f"the agent takes less than {CPU_BAR:.0%} of a core", share < CPU_BAR)
    rig.require("a response with too much to read is down", "costs too much" in reason(page, "large"))
    rig.require("a response in tiny chunks is down", bool(reason(page, "chunks")))
    rig.require("the honest endpoint is read on", reason(page, "honest") == "" and 150 < rate < 250)


SPEC = Attack(
    name="token-size",
    summary="four metrics endpoints of 4 MB, in one-byte chunks, with new engines in each response",
    run=run,
    configuration=ENDPOINTS.configuration,
)
