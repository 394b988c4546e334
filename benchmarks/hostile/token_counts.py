"""Metrics endpoints that claim more tokens than any engine can generate."""

import time

from benchmarks.hostile.metrics_servers import Endpoints, reason, value
from benchmarks.hostile.rig import Attack, Rig

RATE = 100_000_000  # per second of one endpoint: what its engines may add together
ABSURD = ("jump", "reset", "engines")
ENDPOINTS = Endpoints("honest", *ABSURD)


def run(rig: Rig) -> None:
    """Nothing of an absurd count is recorded."""
    with ENDPOINTS.running():
        time.sleep(rig.seconds)
        page = rig.agent.page(5.0)
    for each in ABSURD:
        tokens = value(page, "wattlens_tokens_total", workload=each) or 0.0
        rig.figures[each] = f"{tokens:.0f} tokens, {reason(page, each)[:90] or 'up'}"
        most = RATE * (rig.seconds + 10) if each == "engines" else 100
        rig.require(f"no absurd tokens of {each} are recorded", tokens <= most)
    rig.require("an absurd count is the reason", "absurd" in reason(page, "jump"))
    rig.require("the honest endpoint is up", reason(page, "honest") == "")


SPEC = Attack(
    name="token-counts",
    summary="metrics endpoints that add 9e15 tokens, after a restart or by new engines too",
    run=run,
    configuration=ENDPOINTS.configuration,
)
