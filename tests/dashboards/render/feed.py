"""What dashboards are drawn from: a Prometheus that scrapes real agents on simulated nodes, and a node with everything."""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from dashboards.rules import model
from tests.dashboards.bench import CLUSTER, RULES_S, Target, playing, playing_fleet, scraping
from tests.dashboards.render.nodes import EIGHT_GPUS, MANY_GPUS, ONE_GPU
from tests.energy_agent.agents import AgentProcess
from tests.site_player import STATED_SITE
from tests.snapshots import Player

MANY = 64
SCRAPE = "2s"
ONE_BOARD = {
    "seed": 7,
    "boards": [{"count": 1, "sku": "H100-SXM5-80GB"}],
    "workloads": [{"name": "chat", "kind": "serving", "gpus": [0], "model": "Qwen/Qwen3-32B", "rate_per_s": 2.0}],
}


def _labels(instance: str) -> tuple[tuple[str, str], ...]:
    return (("cluster", CLUSTER), ("instance", instance), ("site", STATED_SITE))


@contextmanager
def _simulated(folder: Path, scenario: str, instance: str) -> Iterator[Target]:
    """A real agent on a simulated node."""
    node = folder / f"{instance}-sim"
    wattlens = [sys.executable, "-m", "wattlens", "sim"]
    subprocess.run([*wattlens, "start", scenario, "--dir", str(node)], check=True, capture_output=True)
    try:
        with AgentProcess(folder / instance, node) as agent:
            yield Target("wattlens", agent.port, _labels(instance))
    finally:
        subprocess.run([*wattlens, "stop", "--dir", str(node)], check=True, capture_output=True)


def as_fed(board: dict[str, Any]) -> dict[str, Any]:
    """A dashboard for this Prometheus, whose rules' intervals are shorter: of what recorded rates add up to, and of points."""
    text = json.dumps(board).replace(f"]) * {model.STEP_S})", f"]) * {RULES_S})")
    text = text.replace(f'"interval": "{model.STEP}"', f'"interval": "{RULES_S}s"')
    content: dict[str, Any] = json.loads(text)
    return content


@contextmanager
def feeding(folder: Path, warm_s: float) -> Iterator[str]:
    """Address of the Prometheus, once it has seen every node for so long."""
    one_board = folder / "one-board.yaml"
    one_board.write_text(json.dumps(ONE_BOARD))  # JSON is YAML
    with ExitStack() as stack:
        everything = stack.enter_context(playing_fleet(Player(gpus=4, node=True)))
        many = stack.enter_context(playing(Player(gpus=MANY)))
        targets = [
            *everything,
            replace(many[0], labels=_labels(MANY_GPUS)),
            stack.enter_context(_simulated(folder, str(one_board), ONE_GPU)),
            stack.enter_context(_simulated(folder, "h100-node", EIGHT_GPUS)),
        ]
        url = stack.enter_context(scraping(folder, targets, every=SCRAPE, alerts=True))
        time.sleep(warm_s)
        yield url
