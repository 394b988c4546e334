"""energy_agent/sim/README.md names every key, model, kind and shipped scenario that there is."""

import re
from pathlib import Path

from energy_agent.sim import scenario, scenario_model
from energy_agent.sim.building import faults, model
from energy_agent.sim.cluster import model as kubelet_model
from energy_agent.sim.gpu.sensors import SENSOR_CLASSES, SENSOR_PARAMETERS
from energy_agent.sim.workloads.models import MODELS
from tests.support import refusal

DOC = (Path(__file__).parents[3] / "energy_agent" / "sim" / "README.md").read_text()
PARTS = ("Boards", "Training", "ServingWorkload", "Notebook", "Burst", "Levels", "ScheduledFault", "HostModel")
KUBELET = (kubelet_model.ClusterModel, kubelet_model.Pod, kubelet_model.Owner)
FACILITY = (model.FacilityModel, model.MeterModel, model.TimedMeterFault)


def test_every_key_model_shipped_scenario_meter_and_fault_is_there():
    parts = [scenario.Scenario, *KUBELET, *FACILITY, *(getattr(scenario_model, name) for name in PARTS)]
    every = model.FacilityModel(pv_peak_w=1, reused_heat_ratio=0.1).all_points
    names = {
        *MODELS,
        *scenario.shipped(),
        *(p.id for p in every),
        *faults.KINDS,
        *SENSOR_PARAMETERS,
        *SENSOR_CLASSES,
        *(word for p in SENSOR_PARAMETERS.values() for word in p.words),
        *(key for part in parts for key in part.model_fields),
    }
    assert {name for name in names if f"`{name}`" not in DOC} == set()


def test_its_example_is_a_scenario():
    [example] = re.findall(r"```yaml\n(.*?)```", DOC, re.DOTALL)
    assert scenario.parse(example.encode(), "example").gpu_count == 2
    assert refusal(scenario.parse, example.replace("gpus", "gpu", 1).encode(), "example")
