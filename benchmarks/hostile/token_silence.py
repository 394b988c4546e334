"""Metrics endpoints that answer fast until they are waited for, then drip, hang or dawdle."""

import time
from itertools import pairwise

from benchmarks.hostile.metrics_servers import Endpoints, reason, value
from benchmarks.hostile.rig import Attack, Rig

SILENT = ("drip_head", "drip_body", "hang")
GAP_BAR_S = 1.6
"""Between two commits: a second, and what a loaded machine and one wait for an endpoint add."""
_STAMP = "wattlens_source_last_success_timestamp_seconds"
ENDPOINTS = Endpoints("honest", *SILENT, "slow")


def run(rig: Rig) -> None:
    """Watch the commits and the gauges."""
    stamps: list[float] = []
    stale = False
    with ENDPOINTS.running():
        end_s = time.monotonic() + rig.seconds
        page = rig.agent.page(5.0)
        while time.monotonic() < end_s:
            time.sleep(0.2)
            page = rig.agent.page(5.0)
            stamps.append(max(each for (name, _), each in page.items() if name == _STAMP))
            stale |= any(reason(page, each) and value(page, "wattlens_requests_running", workload=each) for each in SILENT)
    gap_s = max(after - before for before, after in pairwise(stamps))
    rig.figures |= {each: reason(page, each)[:90] or "up" for each in (*SILENT, "slow")}
    rig.figures |= {"longest time between two commits": f"{gap_s:.2f} s"}
    rig.require(f"no commit is later than {GAP_BAR_S:g} s after the one before", gap_s < GAP_BAR_S)
    for each in SILENT:
        rig.require(f"the endpoint {each} is down", bool(reason(page, each)))
    rig.require("an endpoint that is down has no gauges", not stale)
    rig.require("the honest endpoint is up", reason(page, "honest") == "")


SPEC = Attack(
    name="token-silence",
    summary="metrics endpoints that drip their head or body, hang, or are slow by turns",
    run=run,
    configuration=ENDPOINTS.configuration,
)
