"""The stated interval holds the plant's truth, for both counter models, over many boards under bursty load.

The truth is the plant's own; readings are made as the reader makes them, in lockstep with the plant's time.
"""

import os
import random

import pytest

from energy_agent.accounting.device import SensorFor
from energy_agent.core.energy import DeviceInfo, DeviceSample
from energy_agent.metering.gpu import gap_threshold_ns
from energy_agent.runtime.clock import SimulatedClock
from energy_agent.sim.gpu.boards import BoardSpec
from energy_agent.sim.gpu.plant import Plant
from tests.energy_agent.metering.board_model import Metered

BOARDS = 50
GAIN = 0.05  # the plant draws each board's gain within +-5 %
SENSOR = SensorFor(gap_threshold_ns(10**9))(DeviceInfo("x", 0, "H100", "Hopper", "", "", power_limit_max_mw=700_000))


def read(plant, gpu, clock):
    truth = plant.truth(gpu)
    return DeviceSample(
        plant.uuid(gpu),
        clock.utc_ns(),
        clock.boot_ns(),
        energy_mj=truth.counter_mj,
        power_mw=round(truth.power_w * truth.gain * 1e3),
    )


def run(folder, model, seed, faults):
    """Return (recorded, bound, edges, true) in uJ per GPU over the same window, read once per second."""
    boards, draw = [BoardSpec("H100-SXM5-80GB", counter_model=model)] * BOARDS, random.Random(seed)
    plant = Plant.create(folder / f"plant-{seed}", boards, seed=seed, manual=True)
    with plant:
        clock = SimulatedClock(folder / f"plant-{seed}")
        slots = [plant.attach_process(g, os.getpid(), memory_b=1 << 30) for g in range(BOARDS)]
        meters = [Metered() for _ in range(BOARDS)]
        start = [0] * BOARDS
        for second in range(30):
            for gpu in range(BOARDS):
                if draw.random() < 0.6:
                    plant.submit(gpu, slots[gpu], reference_ns=draw.randrange(5, 900) * 10**6, memory_boundness=draw.random())
            plant.advance_to(plant.now_ns() + 10**9 + draw.randrange(-10, 10) * 10**6)
            if faults and second in (9, 15):
                for gpu in range(0, BOARDS, 2):
                    plant.fault(gpu, "counter_reset")
            for gpu in range(BOARDS):
                meters[gpu].feed(read(plant, gpu, clock), sensor=SENSOR)
                if second == 0:
                    start[gpu] = plant.truth(gpu).true_uj
        edges = [m.intervals[0].edge_uj + m.intervals[-1].edge_uj + m.integration_error_uj for m in meters]
        return [(m.recorded_uj, m.bound_uj, edges[g], plant.truth(g).true_uj - start[g]) for g, m in enumerate(meters)]


@pytest.mark.parametrize("model", ["full", "sampled"])
@pytest.mark.parametrize("faults", [False, True])
def test_the_interval_holds_the_truth(tmp_path, model, faults):
    rows = [row for seed in (1, 2, 3, 4) for row in run(tmp_path, model, seed, faults)]
    assert len(rows) >= 200
    hits = sum((recorded - e) / (1 + GAIN) <= true <= (recorded + e) / (1 - GAIN) + bound for recorded, bound, e, true in rows)
    assert hits / len(rows) >= 0.95
