"""docs/scenarios.md names every key, model, kind and shipped scenario that there is."""

import re
from pathlib import Path

import pytest

from energy_agent.core.errors import UsageError
from energy_agent.sim import scenario, scenario_model
from energy_agent.sim.building import faults, model
from energy_agent.sim.cluster import model as kubelet_model
from energy_agent.sim.workloads.models import MODELS

DOC = (Path(__file__).parents[3] / "docs" / "scenarios.md").read_text()


PARTS = ("Boards", "Training", "Serving", "Notebook", "Burst", "Fault", "Host")


KUBELET = (kubelet_model.Kubelet, kubelet_model.Pod, kubelet_model.Owner)
FACILITY = (model.Facility, model.Meter, model.TimedMeterFault)


@pytest.mark.parametrize("part", [scenario.Scenario, *KUBELET, *FACILITY, *(getattr(scenario_model, name) for name in PARTS)])
def test_every_key_is_there(part):
    assert {key for key in part.model_fields if f"`{key}`" not in DOC} == set()


def test_every_model_and_shipped_scenario_is_there():
    assert {name for name in (*MODELS, *scenario.shipped()) if f"`{name}`" not in DOC} == set()


def test_its_example_is_a_scenario():
    [example] = re.findall(r"```yaml\n(.*?)```", DOC, re.DOTALL)
    assert scenario.parse(example.encode(), "example").gpu_count == 2
    with pytest.raises(UsageError):
        scenario.parse(example.replace("gpus", "gpu").encode(), "example")


def test_the_meters_and_their_faults_are_there():
    every = model.Facility(pv_peak_w=1, reused_heat_ratio=0.1).all_points
    assert {name for name in (*(p.id for p in every), *faults.KINDS) if f"`{name}`" not in DOC} == set()
