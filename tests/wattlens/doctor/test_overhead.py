"""What reading adds: the statistics against a law, and whole runs on a plant whose extra watts are known."""

import math
import os
import random
from collections import Counter
from statistics import fmean

import pytest

from energy_agent.sim.gpu.boards import BoardSpec
from energy_agent.sim.gpu.plant import Plant
from tests.energy_agent.nodes import environ_of, make_plant
from wattlens.doctor.overhead import PowerBlock, added, conclusion, measure, order, run_blocks


def blocks(seed, pairs, extra_w, noise_w, drift_w):
    draw = random.Random(f"noise of {seed}")
    return [
        PowerBlock(on, {0: 300 + drift_w * k + draw.gauss(0, noise_w) + extra_w * on, 1: 80 + extra_w * on})
        for k, on in enumerate(order(pairs, seed))
    ]


def test_each_pair_has_both_kinds_and_the_order_is_drawn():
    kinds = order(200, 3)
    pairs = list(zip(kinds[::2], kinds[1::2], strict=True))
    assert all(sum(pair) == 1 for pair in pairs)
    assert 60 < Counter(pairs)[True, False] < 140
    assert kinds == order(200, 3) != order(200, 4)


@pytest.mark.parametrize("pairs", [3, 6, 20])
def test_the_interval_covers_what_was_added_under_noise_and_drift(pairs):
    intervals = [added(blocks(seed, pairs, 1.5, 4.0, 0.3), [0])["added_w"] for seed in range(400)]
    assert 0.93 <= fmean(f["lower"] <= 1.5 <= f["upper"] for f in intervals) <= 0.98
    assert abs(fmean(f["value"] for f in intervals) - 1.5) < 0.5


def test_devices_are_summed_block_by_block():
    both = added(blocks(1, 6, 2.0, 0.0, 0.0), [0, 1])
    assert both["added_w"] == {"value": 4.0, "lower": 4.0, "upper": 4.0, "n": 6}
    assert both["without_w"] == 380.0


def test_without_two_whole_pairs_there_is_no_conclusion():
    result = added(blocks(1, 1, 2.0, 0.0, 0.0), [0])["added_w"]
    assert "absent" in result
    assert added([PowerBlock(b.reading, {}) for b in blocks(1, 6, 2, 0, 0)], [0])["added_w"] == result
    assert conclusion(result) == "No conclusion is possible."


def test_conclusion_claims_no_more_than_the_interval():
    assert conclusion({"lower": 0.2, "upper": 0.6}).startswith("Reading adds 0.200 to 0.600 W")
    assert conclusion({"lower": -0.1, "upper": 0.6}).startswith("No difference shown: reading adds at most 0.600 W")
    assert "cannot save power" in conclusion({"lower": -0.6, "upper": -0.2})


def test_on_a_steady_simulated_node_no_difference_is_shown(tmp_path):
    make_plant(tmp_path, 2, rate=10.0).close()
    result = measure(environ_of(tmp_path), 1.0, 6.0, 3, seed=5)
    node, without_w = result["node"]["added_w"], result["node"]["without_w"]
    # One interval in twenty may miss 0. How wide it is says how late the looks at the counter came: ten times as late as on
    # real boards, as time runs ten times as fast.
    width = node["upper"] - node["lower"]
    assert abs(node["value"]) <= max(3 * width, 0.005 * without_w)
    assert width < 0.2 * without_w
    assert [g["index"] for g in result["gpus"]] == [0, 1]
    assert Counter(result["order"]) == {True: 3, False: 3}
    assert math.isfinite(result["reader_cpu_ms_per_s"])
    assert result["reader_cpu_ms_per_s"] > 0
    assert result["simulated"]


class Work:
    """A stand-in for a reader that uses power: work on GPU 0, whose power comes from the plant."""

    def __init__(self, plant: Plant, added_w: list[float]) -> None:
        self.pid = os.getpid()
        self._plant, self._added_w = plant, added_w

    def __enter__(self):
        self._idle_w = self._plant.truth(0).power_w
        self._slot = self._plant.attach_process(0, os.getpid(), memory_b=0)
        self._plant.submit(0, self._slot, reference_ns=3600 * 10**9, memory_boundness=1.0, intensity=0.3)
        return self

    def messages(self):
        return []

    def __exit__(self, *_):
        self._added_w.append(self._plant.truth(0).power_w - self._idle_w)
        self._plant.detach_process(0, self._slot)


def test_watts_that_are_added_are_found(tmp_path):
    added_w = []
    spec = BoardSpec("H100-SXM5-80GB", gain=1.0)
    (tmp_path / "proc").symlink_to("/proc")
    with Plant.create(tmp_path / "plant", [spec], seed=3, rate=2.0) as plant:
        holder = plant.attach_process(0, os.getpid(), memory_b=0)  # all the time, and has worked: the clock stays up
        plant.wait(0, holder, plant.submit(0, holder, reference_ns=10**8, memory_boundness=1.0))
        power_blocks, boards, cpu = run_blocks(environ_of(tmp_path), order(3, 2), 3.0, 2.0, lambda: Work(plant, added_w))
    assert [b.reading for b in power_blocks] == order(3, 2)
    assert len(cpu) == 3
    assert set(boards) == {0}
    result = added(power_blocks, [0])["added_w"]
    assert result["lower"] > 0
    assert abs(result["value"] - fmean(added_w)) < 0.05 * fmean(added_w)
