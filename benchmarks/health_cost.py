"""What reading health costs: two agents side by side on one node, one with it and one without, in the same seconds.

Run from the repository's root: python -m benchmarks.health_cost [--seconds 120] [--json]

Eight H100s under the demo's load; both agents read once a second and are scraped once a second. The one with health reads as
it does by default: each group of each GPU once in 60 s.
"""

import argparse
import json
import sys
import tempfile
import time
import urllib.request
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import yaml

from benchmarks.cost import measure
from benchmarks.running import AgentProcess
from energy_agent.sim.node import SimulatedNode

WARM_UP_S = 70.0  # a period and more: every group of every GPU is on the page


def run(seconds: float, warm_up_s: float = WARM_UP_S) -> dict[str, Any]:
    """CPU of both agents as a ratio of one core, and how large their pages are."""
    with tempfile.TemporaryDirectory(prefix="wattlens-health-cost-") as folder, ExitStack() as stack:
        base = Path(folder)
        node = stack.enter_context(SimulatedNode.start("h100-node", base / "node"))
        agents = []
        for name, sampling in (("with", {}), ("without", {"health_period_s": 0})):
            config = base / f"{name}.yaml"
            config.write_text(yaml.safe_dump({"sampling": sampling}))
            agent = AgentProcess(node.directory, base / name, config)
            agent.start()
            stack.callback(agent.stop)
            agents.append(agent)
        time.sleep(warm_up_s)
        health, bare = measure([(agent.pid, agent.url) for agent in agents], seconds)
        pages = [_page_b(agent.url) for agent in agents]
    return {
        "seconds": seconds,
        "cpu_ratio_with_health": health.cpu,
        "cpu_ratio_without": bare.cpu,
        "share_of_health": round(health.cpu / bare.cpu - 1, 3),
        "pss_mib_with_health": health.pss_mib,
        "pss_mib_without": bare.pss_mib,
        "page_b_with_health": pages[0],
        "page_b_without": pages[1],
    }


def _page_b(url: str) -> int:
    with urllib.request.urlopen(url, timeout=60) as answer:
        return len(answer.read())


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=120.0)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args(arguments)
    found = run(args.seconds)
    if args.json:
        print(json.dumps(found))
    else:
        for name, value in found.items():
            print(f"{name:24} {value}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
