"""The real agent's page within its budget, cut by the profiles of docs/fleet.md; and a fleet of three nodes on both stores."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from benchmarks import fleet_budget, fleet_capture, fleet_scale
from benchmarks.fleet_capture import GPUS, Capture
from benchmarks.fleet_template import keys_of
from tests.support import eventually, need_program

pytestmark = [pytest.mark.smoke, pytest.mark.peer, pytest.mark.prometheus, pytest.mark.timeout(480)]
DOCS = (Path(__file__).parents[2] / "docs/fleet.md").read_text()
LATE = ("wattlens_time_to_first_token_seconds_bucket", "wattlens_training_steps_total",
        "wattlens_node_nongpu_energy_joules_total",
        "wattlens_dvfs_clock_limit_hertz",
        "wattlens_gpu_ecc_errors_total", "wattlens_workload_nongpu_energy_joules_total")  # fmt: skip


@dataclass
class Pages:
    """What the agent and the site printed: two pages of each, and one of each profile."""

    capture: Capture
    profiles: dict[str, str]


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pages]:
    folder = tmp_path_factory.mktemp("fleet")
    with fleet_capture.running(folder) as (agent, site):
        eventually(lambda: all(name + "{" in fleet_capture.page(agent.url).text for name in LATE), every=0.5)
        eventually(lambda: "wattlens_facility_power_watts{" in fleet_capture.page(site).text, every=0.5)
        first = fleet_capture.page(agent.url), fleet_capture.page(site)
        counted = re.compile(r'wattlens_tokens_total\{workload="serving/chat[^}]*phase="generation"\} (\S+)')
        energy = re.compile(r'wattlens_node_energy_joules_total\{source="redfish"[^}]*\} (\S+)')
        for moving in (counted, energy):
            was = moving.findall(first[0].text)
            eventually(lambda moving=moving, was=was: moving.findall(fleet_capture.page(agent.url).text) != was, every=0.5)
        second = fleet_capture.page(agent.url), fleet_capture.page(site)
        cut = {}
        for name, metrics in fleet_budget.profiles().items():
            fleet_capture.show(folder, metrics)
            eventually(lambda: "wattlens_gpu_utilization_ratio{" not in fleet_capture.page(agent.url).text, every=0.2)
            cut[name] = fleet_capture.page(agent.url).text
        yield Pages(Capture((first[0], second[0]), (first[1], second[1])), cut)


def test_a_page_keeps_to_the_budget_of_every_part(pages: Pages) -> None:
    keys = keys_of(pages.capture.node[1].text)
    parts = fleet_budget.parts(keys)
    assert sum(sum(counted.values()) for counted in parts.values()) == len(keys)
    assert (len(parts["gpu"]), len(parts["workload"])) == (GPUS, 4)
    assert len(parts["engine"]) == 3  # two workloads, one of which has its prices under the name of its group
    for part, counted in parts.items():
        assert max(counted.values()) <= fleet_budget.BUDGET[part], (part, counted)
    assert len(keys) <= fleet_budget.allowed(GPUS, workloads=4, engines=2, steered=len(parts["steered"]))


@pytest.mark.parametrize("name", ["rules"])
def test_a_profile_leaves_no_more_than_the_page_says(pages: Pages, name: str) -> None:
    stated = int(re.findall(r"\b(\d+) of \d+ series", DOCS.partition(f"# profile: {name}\n")[0])[-1])
    whole, cut = (keys_of(text) for text in (pages.capture.node[1].text, pages.profiles[name]))
    shown = fleet_budget.selection(fleet_budget.profiles()[name])
    assert {key[0] for key in cut if not shown.shows_family(fleet_budget.family(key[0]))} == set()
    assert len(cut) <= stated < len(whole)


def test_a_node_as_installed_has_at_most_600_series(tmp_path: Path) -> None:
    with fleet_capture.running(tmp_path, as_installed=True) as (agent, _):
        names = {*LATE, "wattlens_tokens_total", "wattlens_serving_energy_joules_total"} - {"wattlens_dvfs_clock_limit_hertz"}
        eventually(lambda: all(name + "{" in fleet_capture.page(agent.url).text for name in names), every=0.5)
        keys = keys_of(fleet_capture.page(agent.url).text)
    assert len({dict(labels)["workload"] for _, labels in keys if "workload" in dict(labels)}) == 2
    assert len(keys) <= 600


def test_a_small_fleet_is_scraped_recorded_sent_and_asked(pages: Pages, tmp_path: Path) -> None:
    for program in ("prometheus", "victoria-metrics"):
        need_program(program)
    found = fleet_scale.measure(
        3, 1, minutes=0.1, hours=0.1, repeats=2, capture=pages.capture, folder=tmp_path, scrape_s=2,
        dashboards=("wattlens-fleet", "wattlens-gpu"),  # one opens with all nodes, one with the first
    )  # fmt: skip
    assert found.wrong() == []
    assert {t["store"] for t in found.timings} == {"prometheus", "victoriametrics"}
    assert [t for t in found.timings if t["error"]] == []
    assert found.figures["series"] > 3 * len(keys_of(pages.capture.node[1].text))
    assert min(found.figures[name] for name in ("samples_per_s", "sent_per_s", "prometheus_block_b_per_sample", "vm_rows")) > 0
