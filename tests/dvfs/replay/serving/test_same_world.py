"""The server model and the simulated node are two programs without a common home; of boards and pages both say the same."""

import json
from importlib.resources import files

import pytest

from dvfs.replay.serving import engine
from energy_agent.sim.workloads import engine as simulated
from energy_agent.sim.workloads.models import INTENSITIES

MODELLED = json.loads((files("dvfs.replay.serving") / "boards.json").read_text())["boards"]
SIMULATED = {
    row["name"]: row["values"] for row in json.loads((files("energy_agent.sim.gpu") / "boards.json").read_text()).values()
}
BOTH = [key for key, row in MODELLED.items() if row["name"] in SIMULATED]


def test_most_boards_are_in_both() -> None:
    assert len(BOTH) >= 7


@pytest.mark.parametrize("key", BOTH)
def test_a_board_has_one_curve(key: str) -> None:
    modelled, plant = MODELLED[key]["values"], SIMULATED[MODELLED[key]["name"]]
    assert {name: plant[name] for name in modelled if name in plant} == {n: v for n, v in modelled.items() if n in plant}
    assert set(modelled) - set(plant) == {"bandwidth_tb_s", "peak_tflops"}  # what the plant has no use for


@pytest.mark.parametrize(("key", "sku"), [("h200", "H200-SXM"), ("b200", "B200")])
def test_a_measured_gpu_draws_the_same_by_batch(key: str, sku: str) -> None:
    assert [tuple(anchor) for anchor in MODELLED[key]["decode_intensity"]] == list(INTENSITIES[sku])


def test_pages_have_the_same_buckets() -> None:
    assert (engine.TTFT_EDGES, engine.ITL_EDGES) == (simulated.TTFT_BUCKETS, simulated.ITL_BUCKETS)
