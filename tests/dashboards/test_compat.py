"""A dashboard of 0.1, cut to some panels and otherwise as it was, on series of this version and the rules of `--compat`."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import pytest

from dashboards.rules import compat
from dashboards.rules import rules as recorded
from energy_agent.core.catalogue.node import BY_NAME
from tests.dashboards.promtool import AT, Asked, named, promtool, rising
from wattlens.cli import main

OLD: Final = json.loads((Path(__file__).parent / "data/wattlens-gpu-0.1.json").read_text())
AT_S: Final = 600
WHERE: Final = {"instance": "a"}
GPU: Final = WHERE | {"gpu": "0", "uuid": "u"}
HELD: Final = WHERE | {"workload": "w"}
GIVEN: Final = {
    named("gpu_up", GPU): "1x80",
    named("gpu_power_watts", GPU): "300x80",
    named("gpu_power_instant_watts", GPU): "310x80",
    named("gpu_power_limit_watts", GPU): "700x80",
    named("gpu_power_limit_min_watts", GPU): "200x80",
    named("gpu_sm_clock_hertz", GPU): "1e9x80",
    named("gpu_sm_clock_max_hertz", GPU): "2e9x80",
    named("gpu_memory_clock_hertz", GPU): "3e9x80",
    named("dvfs_clock_limit_hertz", GPU): "1.5e9x80",
    named("dvfs_power_limit_watts", GPU): "400x80",
    named("gpu_utilization_ratio", GPU): "0.75x80",
    named("gpu_memory_utilization_ratio", GPU): "0.25x80",
    named("gpu_temperature_celsius", GPU): "60x80",
    named("gpu_memory_temperature_celsius", GPU): "70x80",
    named("gpu_ecc_errors_total", GPU, {"severity": "corrected"}): rising(1),
    named("gpu_unallocated_energy_joules_total", GPU): rising(50),
    named("gpu_unattributed_energy_joules_total", GPU, {"reason": "gap"}): rising(3),
    named("workload_energy_joules_total", HELD, {"uuid": "u", "state": "active", "method": "counter"}): rising(200),
    named("workload_nongpu_energy_joules_total", HELD, {"domain": "host", "state": "active"}): rising(20),
    named("node_nongpu_unallocated_energy_joules_total", WHERE, {"domain": "host"}): rising(5),
    named("node_nongpu_unattributed_energy_joules_total", WHERE, {"domain": "host", "reason": "gap"}): rising(2),
}
_OF: Final = {**AT, **GPU}
SHOWN: Final[Mapping[tuple[str, str], list[tuple[Mapping[str, str], float]]]] = {
    ("Power", "power"): [({}, 310)],
    ("Power and limit, the 16 highest", "{{instance}} GPU {{gpu}}"): [({**_OF, "kind": "instant"}, 310)],
    ("Power and limit, the 16 highest", "{{instance}} GPU {{gpu}} limit"): [({**_OF, "kind": "current"}, 700)],
    ("Where the energy goes", "workloads, {{state}}"): [({"state": "active"}, 200)],
    ("Where the energy goes", "nobody held the GPU"): [({}, 50)],
    ("Where the energy goes", "not attributed: {{reason}}"): [({"reason": "gap"}, 3)],
    ("Around the GPUs, by whose it was", "{{workload}}"): [({"workload": "w"}, 20)],
    ("Around the GPUs, by whose it was", "nobody held the GPU"): [({}, 5)],
    ("Around the GPUs, by whose it was", "not attributed: {{reason}}"): [({"reason": "gap"}, 2)],
    ("SM clock, its maximum and the DVFS limit, the 16 highest", "{{instance}} GPU {{gpu}}"): [({**_OF, "domain": "sm"}, 1e9)],
    ("SM clock, its maximum and the DVFS limit, the 16 highest", "{{instance}} GPU {{gpu}} maximum"): [
        ({**_OF, "domain": "sm"}, 2e9)
    ],
    ("SM clock, its maximum and the DVFS limit, the 16 highest", "{{instance}} GPU {{gpu}} DVFS limit"): [
        ({**_OF, "setting": "sm_clock_max_hertz"}, 1.5e9)
    ],
    ("Utilisation, the 16 highest", "{{instance}} GPU {{gpu}}"): [({**_OF, "engine": "gpu"}, 0.75)],
    ("Temperature, the 16 highest", "{{instance}} GPU {{gpu}} {{sensor}}"): [
        ({**_OF, "sensor": "gpu"}, 60),
        ({**_OF, "sensor": "memory"}, 70),
        (_OF, 60),  # the series of this version has the old name too
    ],
    ("Power limit set by DVFS", "{{instance}} GPU {{gpu}}"): [({**_OF, "setting": "power_limit_watts"}, 400)],
    ("ECC errors", "{{instance}} GPU {{gpu}} {{severity}}"): [
        ({**_OF, "severity": "corrected", "counter": "aggregate"}, 60)
    ],
    ("Sources", "{{instance}} {{what}}"): [({**AT, **WHERE, "source": "nvml", "device": "u", "what": "nvml u"}, 1)],
}  # fmt: skip


@pytest.mark.prometheus
def test_a_dashboard_of_0_1_still_draws(tmp_path: Path) -> None:
    queries = {(p["title"], t["legendFormat"]): t["expr"] for p in OLD["panels"] for t in p["targets"]}
    assert queries.keys() == SHOWN.keys()
    wanted: list[Asked] = [(expr, AT_S, SHOWN[panel]) for panel, expr in queries.items()]
    more = [rule for group in compat.content()["groups"] for rule in group["rules"]]  # type: ignore[attr-defined]
    assert promtool(tmp_path, GIVEN, wanted, more) == ""


@pytest.mark.prometheus
def test_recorded_power_of_a_workload_is_the_same_with_the_rules_of_compat(tmp_path: Path) -> None:
    power = "sum by (workload) (instance_workload:wattlens_gpu_power_watts:sum)"
    limit = "sum by (workload) (instance_workload:wattlens_gpu_power_limit_watts:sum)"
    wanted: list[Asked] = [(power, AT_S, [({"workload": "w"}, 300)]), (limit, AT_S, [({"workload": "w"}, 700)])]
    more = [rule for group in compat.content()["groups"] for rule in group["rules"]]  # type: ignore[attr-defined]
    assert promtool(tmp_path, GIVEN, wanted, more) == ""


def test_each_rule_records_what_is_there_once() -> None:
    names = {r.record for group in recorded.groups() for r in group.rules}
    seen = [(rule.record, *sorted(rule.labels.items())) for group in compat.groups() for rule in group.rules]
    assert len(seen) == len(set(seen))
    gone, kept = ({r.record.removeprefix("wattlens_") for r in group.rules} for group in compat.groups())
    assert kept <= BY_NAME.keys()
    assert not gone & BY_NAME.keys()
    assert not gone & names


def test_the_rules_are_written_where_they_are_asked_for(tmp_path: Path) -> None:
    assert main(["dashboards", "build", "--out", str(tmp_path)]) == 0
    assert not (tmp_path / compat.PATH).exists()
    assert main(["dashboards", "build", "--compat", "--out", str(tmp_path)]) == 0
    assert "wattlens-compat-names" in (tmp_path / compat.PATH).read_text()
