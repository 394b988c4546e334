"""The fleet of the benchmark: its formulas, its sizes, and what docs/fleet.md says of configuration."""

import json
import math
import re
import subprocess
from pathlib import Path

import numpy as np
import pytest
import yaml

from benchmarks import fleet_budget, fleet_queries, fleet_result
from benchmarks.fleet_capture import Capture, Shot
from benchmarks.fleet_history import Receiver, times, times_since
from benchmarks.fleet_model import PERIOD_S, Activity, ScrapedFleet
from benchmarks.fleet_queries import QueryResult
from benchmarks.fleet_result import FleetResult
from dashboards.rules import alerts, rules
from energy_agent.config.metrics_page import DETAILS
from tests.support import need_prometheus, promtool_with

ROOT = Path(__file__).parents[2]
DOCS = (ROOT / "docs/fleet.md").read_text()
EXAMPLES = [block for block in re.findall(r"```yaml\n(.*?)```", DOCS, re.DOTALL) if block.startswith("# prometheus:")]
START_S = 1_700_000_000.0

NODE = """# TYPE wattlens_node_info gauge
wattlens_node_info{{cluster="c",node="gpu-0000"}} 1
# TYPE wattlens_gpu_energy_joules_total counter
wattlens_gpu_energy_joules_total{{gpu="0",uuid="GPU-a",method="counter"}} {whole}
wattlens_gpu_energy_joules_total{{gpu="0",uuid="GPU-a",method="bridged"}} 0
# TYPE wattlens_gpu_power_instant_watts gauge
wattlens_gpu_power_instant_watts{{gpu="0",uuid="GPU-a"}} 123
# TYPE wattlens_workload_energy_joules_total counter
wattlens_workload_energy_joules_total{{workload="serving/chat-0.00c0ffee",uuid="GPU-a",state="active",method="counter"}} {held}
# TYPE wattlens_gpu_unallocated_energy_joules_total counter
wattlens_gpu_unallocated_energy_joules_total{{gpu="0",uuid="GPU-a"}} {unheld}
# TYPE wattlens_node_energy_joules_total counter
wattlens_node_energy_joules_total{{source="redfish",domain="node"}} {node}
# TYPE wattlens_node_power_watts gauge
wattlens_node_power_watts{{source="redfish",domain="node"}} 1
# TYPE wattlens_tokens_total counter
wattlens_tokens_total{{workload="serving/chat-0.00c0ffee",model="Qwen/Qwen3-32B",phase="generation"}} {tokens}
# TYPE wattlens_requests_total counter
wattlens_requests_total{{workload="serving/chat-0.00c0ffee",model="Qwen/Qwen3-32B"}} {tokens}
"""
SITE = """# TYPE wattlens_facility_energy_joules_total counter
wattlens_facility_energy_joules_total{site="s",meter="main",role="total"} 7200
wattlens_facility_energy_joules_total{site="s",meter="it-a",role="it"} 3600
# TYPE wattlens_facility_power_watts gauge
wattlens_facility_power_watts{site="s",meter="main",role="total"} 3000
wattlens_facility_power_watts{site="s",meter="it-a",role="it"} 2000
# TYPE wattlens_pue_ratio gauge
wattlens_pue_ratio{site="s",category="3",window="15m"} 1.5
# TYPE wattlens_pue_absent_info gauge
wattlens_pue_absent_info{site="s",category="3",window="24h",reason="nothing is recorded yet"} 1
"""


def shot(k: int) -> Shot:
    """In ten seconds 3,000 J by one GPU, 2,400 of them held, and 600 tokens."""
    values = {"whole": 5000 + 3000 * k, "held": 3000 + 2400 * k, "unheld": 2000 + 600 * k, "node": 4500 * k, "tokens": 600 * k}
    return Shot(NODE.format(**values), START_S + 10 * k)


@pytest.fixture(scope="module")
def fleet() -> ScrapedFleet:
    return ScrapedFleet(Capture((shot(0), shot(1)), (Shot(SITE, START_S), Shot(SITE, START_S + 10))), 12, 2, START_S)


def read_target(fleet: ScrapedFleet, target: int, t_s: float) -> dict[str, float]:
    """A target's page at a time, by name and labels."""
    of = fleet.targets[target]
    return {f"{name}{dict(labels)}": value for (name, labels), value in zip(of.keys, of.values([t_s])[0], strict=True)}


def total(page: dict[str, float], name: str) -> float:
    return sum(value for key, value in page.items() if key.startswith(name + "{"))


def test_parts_of_a_nodes_energy_are_the_whole_at_any_time(fleet: ScrapedFleet) -> None:
    for t_s in (START_S, START_S + 77.7, START_S + 86_400):
        page = read_target(fleet, 5, t_s)
        parts = total(page, "wattlens_workload_energy_joules_total") + total(
            page, "wattlens_gpu_unallocated_energy_joules_total"
        )
        assert parts == pytest.approx(total(page, "wattlens_gpu_energy_joules_total"), abs=1e-5)


def test_power_is_the_rate_of_energy_and_the_fleets_power_that_of_all(fleet: ScrapedFleet) -> None:
    t_s, step_s, summed = START_S + 1234, 0.5, 0.0
    for node in range(fleet.nodes):
        before, now, after = (read_target(fleet, node, t_s + k * step_s) for k in (-1, 0, 1))
        name = "wattlens_gpu_energy_joules_total"
        rate = (total(after, name) - total(before, name)) / (2 * step_s)
        watts = total(now, "wattlens_gpu_power_instant_watts")
        assert watts == pytest.approx(rate, rel=1e-4)
        assert 0.5 * 300 < watts < 1.5 * 300
        summed += watts
    assert fleet.power_w({t.name: t_s for t in fleet.targets}) == pytest.approx(summed)


def test_joules_per_token_are_those_of_the_page_on_every_model(fleet: ScrapedFleet) -> None:
    assert len(fleet.joules_per_token()) == 4
    assert all(ratio == pytest.approx(2400 / 600) for ratio in fleet.joules_per_token().values())


def test_nodes_share_no_uuid_no_workload_and_have_their_own_names(fleet: ScrapedFleet) -> None:
    labels = [dict(pairs) for target in fleet.targets[: fleet.nodes] for _, pairs in target.keys]
    for name in ("uuid", "workload", "node"):
        assert len({of[name] for of in labels if name in of}) == fleet.nodes
    assert all(re.fullmatch(r"GPU-[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", of["uuid"]) for of in labels if "uuid" in of)
    assert len({of["model"] for of in labels if "model" in of}) == 4


def test_a_sites_meters_read_what_its_nodes_draw(fleet: ScrapedFleet) -> None:
    t_s = START_S + 500
    drawn = [
        read_target(fleet, node, t_s)["wattlens_node_power_watts{'source': 'redfish', 'domain': 'node'}"] for node in range(12)
    ]
    for k in range(2):
        page = read_target(fleet, 12 + k, t_s)
        metered = page[f"wattlens_facility_power_watts{{'site': 'site-{k}', 'meter': 'it-a', 'role': 'it'}}"]
        assert metered == pytest.approx(sum(drawn[k::2]))
        assert total(page, "wattlens_pue_ratio") == pytest.approx(5 * 1.5)
        assert total(page, "wattlens_pue_absent_info") == 0


def test_the_integral_of_an_activity_is_that_of_its_course() -> None:
    activity = Activity(np.array([0.8, 1.1]), np.array([0.3, 4.0]), START_S)
    t_s = START_S + np.linspace(0, 2.3 * PERIOD_S, 20_001)
    assert activity.total(t_s)[-1] == pytest.approx(np.trapezoid(activity.at(t_s), t_s), rel=1e-6)
    assert activity.total(t_s)[0] == 0


def test_the_page_is_one_of_prometheus(fleet: ScrapedFleet) -> None:
    from prometheus_client.parser import text_string_to_metric_families

    target = fleet.targets[3]
    text = target.page_format() % tuple(target.values([START_S + 60])[0].tolist())
    read = {(s.name, tuple(s.labels.items())) for f in text_string_to_metric_families(text) for s in f.samples}
    assert read == set(target.keys)


def test_grafanas_steps_are_round_and_no_finer_than_a_scrape() -> None:
    # Of 1 h on 640 px every 5.6 s: the scrape interval counts. Of 24 h every 135 s: two minutes.
    assert fleet_queries.step_s(3600, 640, 30) == 30
    assert fleet_queries.step_s(86_400, 640, 30) == 120
    assert fleet_queries.step_s(3600, 640, fleet_queries.seconds("1m")) == 60
    assert [fleet_queries.seconds(each) for each in ("", "30s", "5m")] == [0, 30, 300]


@pytest.mark.parametrize("value", ["gpu-0000", "gpu-1.rack(2).example", "a+b|c", "back\\slash", "[x]{2}^$?*'"])
def test_a_chosen_value_is_matched_by_what_grafana_puts_into_a_string_of_promql(value: str) -> None:
    regex = json.loads(f'"{fleet_queries.escaped(value)}"')  # a string of PromQL escapes a backslash as one of JSON does
    assert re.fullmatch(regex, value)
    assert not re.fullmatch(regex, value + "x")


def test_what_a_server_refused_is_wrong_and_never_fast() -> None:
    query = fleet_queries.DashboardQuery("board", "panel", "x{", "instant")
    fine, refused = (
        fleet_result.timing("prometheus", query, 1, [QueryResult(0.1, 1, 9, error)], 0) for error in ("", "parse error")
    )
    told = {n: list(fleet_result.report(FleetResult(1, timings=rows))) for n, rows in enumerate(([refused], [fine, refused]))}
    assert [[row["queries"] for row in rows if "queries" in row] for rows in told.values()] == [[0], [1]]
    for rows in told.values():
        assert {"wrong": "prometheus, board: panel: parse error", "ok": False} in rows


def test_times_of_the_past_end_before_now() -> None:
    found = times(START_S, 0.1, 30)
    assert (len(found), found[-1], found[1] - found[0]) == (12, START_S - 30, 30)
    assert times_since(found[-1], START_S + 29, 30) == [START_S]
    assert times_since(START_S, START_S + 29, 30) == []


def test_a_refused_write_is_told() -> None:
    with Receiver(1) as receiver, pytest.raises(OSError, match="refused"):
        receiver.write(b"x")


def test_sizes_grow_with_the_fleet_and_a_prometheus_has_its_limit() -> None:
    small, large = fleet_budget.sizing(8_000), fleet_budget.sizing(80_000)
    for name in ("series", "samples_per_s", "memory_b", "disk_15d_b", "store_memory_b", "store_month_b"):
        assert large[name] == pytest.approx(10 * small[name])
    assert small["samples_per_s"] == pytest.approx(40_600, rel=0.05)  # that run's own count of samples
    assert large["prometheuses"] == math.ceil(large["series"] / fleet_budget.SERIES_A_PROMETHEUS)
    assert fleet_budget.sizing(9)["series"] == 2 * fleet_budget.sizing(8)["series"]


def test_the_tables_of_the_page_are_those_of_the_code() -> None:
    assert fleet_budget.table() in DOCS
    for part, what in (("node", "node"), ("gpu", "GPU"), ("steered", "GPU that DVFS has"), ("engine", "inference engine"),
                       ("workload", "workload that holds GPUs")):  # fmt: skip
        assert f"| {what} | {fleet_budget.BUDGET[part]} |" in DOCS


@pytest.mark.parametrize("metrics", [{}, fleet_budget.profiles()["rules"]], ids=["default", "rules"])
def test_a_profile_shows_all_that_rules_and_alerts_ask_for(metrics: dict[str, object]) -> None:
    chosen = fleet_budget.selection(metrics)
    text = " ".join([r.expr for g in rules.groups() for r in g.rules] + [a.expr for a in alerts.alerts()])
    asked = {fleet_budget.family(name) for name in re.findall(r"(?<![:\w])wattlens_[a-z0-9_]+(?![:\w])", text)}
    asked = {name for name in asked if not name.startswith(("pue_", "facility_", "grid_"))}  # of the site's page
    assert {name for name in asked if not chosen.shows_family(name)} == set()
    assert not any(chosen.shows_family(name) for name in DETAILS)


@pytest.mark.prometheus
@pytest.mark.parametrize("example", EXAMPLES, ids=[e.partition("\n")[0].removeprefix("# prometheus: ") for e in EXAMPLES])
def test_prometheus_reads_the_examples(example: str, tmp_path: Path) -> None:
    if "runtime:" in example:
        need_prometheus("the section `runtime`", (2, 53))
    path = tmp_path / "prometheus.yml"
    path.write_text(example)
    command = [*promtool_with("check", "config", "--syntax-only"), str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_there_is_an_example_for_each_store_and_every_block_is_yaml() -> None:
    assert len(EXAMPLES) >= 5
    for block in re.findall(r"```yaml\n(.*?)```", DOCS, re.DOTALL):
        assert yaml.safe_load(block)
