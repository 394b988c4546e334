"""CodeCarbon's tracker, unchanged, measures the simulated node's GPUs."""

import json
import sys

import pytest

from energy_agent.sim import scenario
from energy_agent.sim.node import SimulatedNode
from tests.support import need_module

pytestmark = pytest.mark.peer

NODE = b"""
boards: [{count: 8, sku: H100-SXM5-80GB}]
workloads: [{name: train, kind: training, gpus: [0, 1, 2], host_every_steps: 0, checkpoint_every_s: 0}]
"""

TRACK = """
import json, os, pathlib, time
from codecarbon import OfflineEmissionsTracker
from energy_agent.sim.gpu.plant import Plant
plant = Plant.attach(pathlib.Path(os.environ["WATTLENS_SIM"]) / "plant")
def seen_j():
    return sum(t.true_uj * t.gain for gpu in range(8) for t in [plant.truth(gpu)]) / 1e6
tracker = OfflineEmissionsTracker(country_iso_code="DEU", measure_power_secs=1, save_to_file=False, log_level="error")
marks = [seen_j()]
tracker.start()
marks.append(seen_j())
time.sleep(3)
marks.append(seen_j())
tracker.stop()
marks.append(seen_j())
data = tracker.final_emissions_data
print(json.dumps({"gpu_j": data.gpu_energy * 3.6e6, "count": data.gpu_count, "model": data.gpu_model, "marks": marks}))
"""

EDGES_J = 2 * 0.110 * 1.05 * (3 * 700 + 5 * 80)  # each counter's tick at either end


def test_the_tracker_measures_the_gpus(tmp_path):
    need_module("codecarbon")
    with SimulatedNode.start(scenario.parse(NODE, "test"), tmp_path / "node") as node:
        done = node.run([sys.executable, "-c", TRACK], timeout_s=60)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout.splitlines()[-1])
    assert (report["count"], report["model"]) == (8, "8 x NVIDIA H100 80GB HBM3")
    before, begun, ending, ended = report["marks"]
    assert ending - begun > 3000
    assert ending - begun - EDGES_J <= report["gpu_j"] <= ended - before + EDGES_J
