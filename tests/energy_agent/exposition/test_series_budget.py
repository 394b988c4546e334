"""The real agent's page within its budget, cut by the profiles of docs/fleet.md; and the budget that the page states."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from benchmarks.running import Series
from dashboards.rules import alerts, rules
from energy_agent.config.agent import DETAILS, PREFIX, Metrics
from energy_agent.core.catalogue.node import BY_NAME
from tests.energy_agent.exposition import series_node
from tests.energy_agent.exposition.series_node import GPUS, page
from tests.support import eventually

DOCS = (Path(__file__).parents[3] / "docs/fleet.md").read_text()
BUDGET = {"node": 80, "gpu": 60, "steered": 40, "workload": 24, "engine": 120}
"""Series of a page: once, for each GPU, for each GPU that DVFS has, for each workload that holds GPUs, for each engine."""
OF_ENGINES = ("time_to_first_token_", "inter_token_latency_", "serving_", "prefill_", "decode_", "requests_", "request_",
              "engine_", "prompt_price_", "generation_price_")  # fmt: skip
PROFILES = {
    name: yaml.safe_load(block)["web"]["metrics"]
    for name, block in re.findall(r"```yaml\n# profile: (\w+)\n(.*?)```", DOCS, re.DOTALL)
}
LATE = ("wattlens_time_to_first_token_seconds_bucket", "wattlens_training_steps_total",
        "wattlens_node_nongpu_energy_joules_total",
        "wattlens_dvfs_clock_limit_hertz",
        "wattlens_gpu_ecc_errors_total", "wattlens_workload_nongpu_energy_joules_total")  # fmt: skip


def parts(series: Series) -> dict[str, Counter[str]]:
    """Series per part of the budget and per instance of it."""
    counts: dict[str, Counter[str]] = {part: Counter() for part in BUDGET}
    for name, labels in series:
        of = dict(labels)
        source = of.get("source", "")
        if name.startswith(tuple(PREFIX + stem for stem in OF_ENGINES)):
            counts["engine"][of.get("workload") or of["engine"]] += 1
        elif source.startswith(("dvfs:", "tokens:")):
            counts["workload"][source.partition(":")[2]] += 1
        elif "uuid" in of and "_workload_" not in name:
            counts["steered" if name.startswith(f"{PREFIX}dvfs_") else "gpu"][of["uuid"]] += 1
        elif "workload" in of:
            counts["workload"][of["workload"]] += 1
        elif of.get("device", "").startswith("GPU-"):
            counts["gpu"][of["device"]] += 1
        else:
            counts["node"]["page"] += 1
    return counts


def families(metrics: Iterable[str]) -> set[str]:
    """Signals that metrics belong to; those of a histogram have suffixes."""
    names = {metric.removeprefix(PREFIX) for metric in metrics}
    return {name if name in BY_NAME else re.sub(r"_(bucket|sum|count)$", "", name) for name in names}


@dataclass
class Pages:
    """What the agent printed: a whole page, and one of each profile."""

    whole: Series
    profiles: dict[str, Series]


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pages]:
    folder = tmp_path_factory.mktemp("fleet")
    with series_node.running(folder) as agent:
        eventually(lambda: {name for name, _ in page(agent)} >= set(LATE), every=0.5)
        whole, cut = page(agent), {}
        for name, metrics in PROFILES.items():
            series_node.show(folder, metrics)
            eventually(lambda: "wattlens_gpu_utilization_ratio" not in {name for name, _ in page(agent)}, every=0.2)
            cut[name] = page(agent)
        yield Pages(whole, cut)


@pytest.mark.smoke
@pytest.mark.timeout(480)
def test_a_page_keeps_to_the_budget_of_every_part(pages: Pages) -> None:
    counted = parts(pages.whole)
    assert sum(map(Counter.total, counted.values())) == len(pages.whole)
    assert (len(counted["gpu"]), len(counted["workload"])) == (GPUS, 4)
    assert len(counted["engine"]) == 3  # two workloads, one of which has its prices under the name of its group
    for part, counts in counted.items():
        assert max(counts.values()) <= BUDGET[part], (part, counts)
    instances = {"node": 1, "gpu": GPUS, "workload": 4, "engine": 2, "steered": len(counted["steered"])}
    assert len(pages.whole) <= sum(BUDGET[part] * count for part, count in instances.items())


@pytest.mark.smoke
@pytest.mark.timeout(480)
@pytest.mark.parametrize("name", ["rules"])
def test_profile_leaves_at_most_the_documented_number_of_series(pages: Pages, name: str) -> None:
    stated = int(re.findall(r"\b(\d+) of \d+ series", DOCS.partition(f"# profile: {name}\n")[0])[-1])
    selection, cut = Metrics.model_validate(PROFILES[name]).selection, pages.profiles[name]
    assert [family for family in families(name for name, _ in cut) if not selection.shows_family(family)] == []
    assert len(cut) <= stated < len(pages.whole)


@pytest.mark.smoke
@pytest.mark.timeout(480)
def test_a_node_as_installed_has_at_most_600_series(tmp_path: Path) -> None:
    names = {*LATE, "wattlens_tokens_total", "wattlens_serving_energy_joules_total"} - {"wattlens_dvfs_clock_limit_hertz"}
    with series_node.running(tmp_path, as_installed=True) as agent:
        eventually(lambda: {name for name, _ in page(agent)} >= names, every=0.5)
        series = page(agent)
    assert len({dict(labels)["workload"] for _, labels in series if "workload" in dict(labels)}) == 2
    assert len(series) <= 600


def test_the_page_states_the_budget() -> None:
    for part, what in (("node", "node"), ("gpu", "GPU"), ("steered", "GPU that DVFS has"), ("engine", "inference engine"),
                       ("workload", "workload that holds GPUs")):  # fmt: skip
        assert f"| {what} | {BUDGET[part]} |" in DOCS


@pytest.mark.parametrize("metrics", [{}, PROFILES["rules"]], ids=["default", "rules"])
def test_a_profile_shows_all_that_rules_and_alerts_ask_for(metrics: dict[str, Any]) -> None:
    chosen = Metrics.model_validate(metrics).selection
    text = " ".join([r.expr for g in rules.groups() for r in g.rules] + [a.expr for a in alerts.alerts()])
    asked = families(re.findall(r"(?<![:\w])wattlens_[a-z0-9_]+(?![:\w])", text))
    asked = {name for name in asked if not name.startswith(("pue_", "facility_", "grid_"))}  # of the site's page
    assert {name for name in asked if not chosen.shows_family(name)} == set()
    assert not any(chosen.shows_family(name) for name in DETAILS)
