"""A user starts 20 processes per second, each of which uses a GPU for 1.4 s."""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.churn import ProcessChurn
from benchmarks.hostile.rig import Attack, Rig
from energy_agent.owners.lone_processes import OF_USER

STARTS_PER_S = 20.0


def configuration(folder: Path) -> Mapping[str, Any]:
    """The shortest retention, so that ended workloads leave while the attack runs."""
    del folder
    return {"holders": {"retention_s": 60}}


def run(rig: Rig) -> None:
    """Start and end processes; the page may show no more of them than the rate of one user."""
    churn = ProcessChurn(rig.node, STARTS_PER_S)
    churn.start()
    most = bytes_per_page = 0
    end_s = time.monotonic() + rig.seconds
    while time.monotonic() < end_s:
        time.sleep(1.0)
        page = rig.agent.fetch(2.0)
        most = max(most, page.count(b"\nwattlens_workload_info{"))
        bytes_per_page = max(bytes_per_page, len(page))
    churn.ended.set()
    churn.join(10.0)
    rig.figures |= {
        "processes started": churn.started,
        "workloads on /metrics, peak": most,
        "bytes of /metrics, peak": bytes_per_page,
    }
    rig.require("one user has a bounded number of workloads", most <= OF_USER * (1 + rig.seconds / 3600) + 10)


SPEC = Attack(
    name="process_churn",
    summary="a user starts 20 processes per second on a GPU",
    run=run,
    configuration=configuration,
)
