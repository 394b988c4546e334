"""Inference servers whose metrics endpoints claim absurd counts, go silent, or are as large and costly as they can be."""

import time
from itertools import pairwise

from benchmarks.hostile.metrics_servers import Endpoints, reason, value
from benchmarks.hostile.rig import Rig, attack
from benchmarks.running import cpu_s

RATE = 100_000_000  # per second of one endpoint: maximum sum over its engines
ABSURD, COSTLY = ("jump", "reset", "engines"), ("large", "unwanted", "chunks", "churn")
SILENT = ("drip_head", "drip_body", "hang")
CPU_BAR = 0.10  # of a core: 3 % for endpoints; the rest for scrapes and the first reading of each endpoint
GAP_BAR_S = 1.6
"""Between two commits: a second, and what a loaded machine and one wait for an endpoint add."""
_STAMP = "wattlens_source_last_success_timestamp_seconds"
COUNTS, SILENCE, SIZE = Endpoints("honest", *ABSURD), Endpoints("honest", *SILENT, "slow"), Endpoints("honest", *COSTLY)


@attack("metrics endpoints that add 9e15 tokens, after a restart or by new engines too", COUNTS.configuration)
def token_counts(rig: Rig) -> None:
    """Nothing of an absurd count is recorded."""
    with COUNTS.running():
        time.sleep(rig.seconds)
        page = rig.agent.page(5.0)
    for each in ABSURD:
        tokens = value(page, "wattlens_tokens_total", workload=each) or 0.0
        rig.figures[each] = f"{tokens:.0f} tokens, {reason(page, each)[:90] or 'up'}"
        most = RATE * (rig.seconds + 10) if each == "engines" else 100
        rig.require(f"no absurd tokens of {each} are recorded", tokens <= most)
    rig.require("an absurd count is the reason", "implausible" in reason(page, "jump"))
    rig.require("the honest endpoint is up", reason(page, "honest") == "")


@attack("metrics endpoints that drip their head or body, hang, or are slow by turns", SILENCE.configuration)
def token_silence(rig: Rig) -> None:
    """Watch the commits and the gauges."""
    stamps: list[float] = []
    stale = False
    with SILENCE.running():
        end_s = time.monotonic() + rig.seconds
        page = rig.agent.page(5.0)
        while time.monotonic() < end_s:
            time.sleep(0.2)
            page = rig.agent.page(5.0)
            stamps.append(max(each for (name, _), each in page.items() if name == _STAMP))
            stale |= any(reason(page, each) and value(page, "wattlens_requests_running", workload=each) for each in SILENT)
    gap_s = max(after - before for before, after in pairwise(stamps))
    rig.figures |= {each: reason(page, each)[:90] or "up" for each in (*SILENT, "slow")}
    rig.figures |= {"longest time between two commits, s": gap_s}
    rig.require(f"no commit is later than {GAP_BAR_S:g} s after the one before", gap_s < GAP_BAR_S)
    for each in SILENT:
        rig.require(f"the endpoint {each} is down", bool(reason(page, each)))
    rig.require("an endpoint that is down has no gauges", not stale)
    rig.require("the honest endpoint is up", reason(page, "honest") == "")


@attack("four metrics endpoints of 4 MB, in one-byte chunks, with new engines in each response", SIZE.configuration)
def token_size(rig: Rig) -> None:
    """Scrape the agent at the same time: expensive endpoints are reported down, and the honest one is still read."""
    with SIZE.running():
        began_s, began_cpu_s = time.monotonic(), cpu_s(rig.agent.pid)
        before = value(rig.agent.page(5.0), "wattlens_tokens_total", workload="honest") or 0.0
        time.sleep(rig.seconds)
        page = rig.agent.page(5.0)
        share = (cpu_s(rig.agent.pid) - began_cpu_s) / (time.monotonic() - began_s)
        rate = ((value(page, "wattlens_tokens_total", workload="honest") or 0.0) - before) / (time.monotonic() - began_s)
    rig.figures |= {each: reason(page, each)[:90] or "up" for each in COSTLY}
    rig.figures |= {"CPU of the agent, of a core": share, "honest tokens per second": rate}
    rig.require(f"the agent takes less than {CPU_BAR:.0%} of a core", share < CPU_BAR)
    rig.require("a response with too much to read is down", "response too large" in reason(page, "large"))
    rig.require("a response in tiny chunks is down", bool(reason(page, "chunks")))
    rig.require("the honest endpoint is read on", reason(page, "honest") == "" and 150 < rate < 250)
