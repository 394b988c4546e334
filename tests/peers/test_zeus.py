"""Zeus, unchanged, on the simulated node: its windows hold the plant's energy, and its power limit acts."""

import json
import sys

import pytest

from energy_agent.sim import scenario
from energy_agent.sim.node import SimulatedNode
from tests.support import need_module

pytestmark = pytest.mark.peer

NODE = b"""
boards: [{count: 8, sku: H100-SXM5-80GB}]
workloads:
  - {name: train, kind: training, gpus: [0, 1], host_every_steps: 0, checkpoint_every_s: 0}
  - {name: bursts, kind: burst, gpus: [2], on_s: 0.2, off_s: 0.2}
"""

PRELUDE = """
import json, os, pathlib, time
from energy_agent.sim.gpu.plant import Plant
plant = Plant.attach(pathlib.Path(os.environ["WATTLENS_SIM"]) / "plant")
"""

WINDOW = (
    PRELUDE
    + """
from zeus.monitor import ZeusMonitor
monitor = ZeusMonitor(gpu_indices=[0, 2, 7], cpu_indices=[])
def truths():
    return {gpu: (t.counter_mj, t.true_uj, t.gain) for gpu in (0, 2, 7) for t in [plant.truth(gpu)]}
marks = [truths()]
monitor.begin_window("w", sync_execution=False)
marks.append(truths())
time.sleep(3)
marks.append(truths())
measured = monitor.end_window("w", sync_execution=False)
marks.append(truths())
print(json.dumps({"zeus_j": measured.gpu_energy, "marks": marks}))
"""
)

LIMIT = (
    PRELUDE
    + """
from zeus.device import get_gpus
gpus = get_gpus()
def settled(least_w=0):
    for _ in range(20):  # on a busy machine the job rests now and then
        time.sleep(0.3)
        before = plant.truth(0)
        time.sleep(1)  # two steps of the training job
        after = plant.truth(0)
        mean_w = (after.true_uj - before.true_uj) * 1e3 / (after.t_ns - before.t_ns)
        if mean_w > least_w:
            break
    return after.power_limit_mw, mean_w
rows = [settled(500)]
gpus.set_power_management_limit(0, 300_000)
rows.append(settled())
gpus.reset_power_management_limit(0)
rows.append(settled(500))
print(json.dumps(rows))
"""
)

# A counter ticks every 100 ms, give or take 10 ms: each edge of a window is off by at most that much of the largest power.
EDGES_J = 2 * 0.110 * 700 * 1.05


@pytest.fixture(scope="module")
def node(tmp_path_factory):
    need_module("zeus")
    with SimulatedNode.start(scenario.parse(NODE, "test"), tmp_path_factory.mktemp("zeus") / "node") as running:
        yield running


def on(node: SimulatedNode, code: str):
    done = node.run([sys.executable, "-c", code], timeout_s=60)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_a_window_holds_what_the_plant_spent(node):
    report = on(node, WINDOW)
    before, begun, ending, ended = report["marks"]
    for gpu in ("0", "2", "7"):
        joules = report["zeus_j"][gpu]
        # What the counter showed at its edges, exactly: Zeus read it between our two looks.
        assert (ending[gpu][0] - begun[gpu][0]) / 1000 <= joules + 1e-6
        assert joules - 1e-6 <= (ended[gpu][0] - before[gpu][0]) / 1000
        # And the energy that was really spent, as the board's gain shows it.
        inside_j, outside_j = ((b[gpu][1] - a[gpu][1]) / 1e6 * before[gpu][2] for a, b in ((begun, ending), (before, ended)))
        assert inside_j > 150
        assert inside_j - EDGES_J <= joules <= outside_j + EDGES_J


def test_its_power_limit_acts(node):
    (default, full_w), (limited, limited_w), (restored, again_w) = on(node, LIMIT)
    assert (default, limited, restored) == (700_000, 300_000, 700_000)
    assert full_w > 500  # mean power over phases that the cap does not touch, too
    assert limited_w <= 300
    assert again_w > 500
