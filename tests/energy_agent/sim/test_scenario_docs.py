"""docs/scenarios.md names every key, model, kind and shipped scenario that there is."""

import re
from pathlib import Path

import pytest

from energy_agent.core.errors import UsageError
from energy_agent.sim import kubelet_model, scenario, scenario_model
from energy_agent.sim.workloads.models import MODELS

DOC = (Path(__file__).parents[3] / "docs" / "scenarios.md").read_text()


PARTS = ("Boards", "Training", "Serving", "Notebook", "Burst", "Fault", "Host")


KUBELET = (kubelet_model.Kubelet, kubelet_model.Pod, kubelet_model.Owner)


@pytest.mark.parametrize("part", [scenario.Scenario, *KUBELET, *(getattr(scenario_model, name) for name in PARTS)])
def test_every_key_is_there(part):
    assert {key for key in part.model_fields if f"`{key}`" not in DOC} == set()


def test_every_model_and_shipped_scenario_is_there():
    assert {name for name in (*MODELS, *scenario.shipped()) if f"`{name}`" not in DOC} == set()


def test_its_example_is_a_scenario():
    [example] = re.findall(r"```yaml\n(.*?)```", DOC, re.DOTALL)
    assert scenario.parse(example.encode(), "example").gpu_count == 2
    with pytest.raises(UsageError):
        scenario.parse(example.replace("gpus", "gpu").encode(), "example")
