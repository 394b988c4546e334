"""The plant between processes: death at any instant, dead and reused holders, real time, two libraries in one file."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from energy_agent.devices.nvml.library import RealNvml
from energy_agent.sim.gpu import build
from energy_agent.sim.gpu.boards import BoardSpec
from energy_agent.sim.gpu.build import library_path
from energy_agent.sim.gpu.plant import Plant
from energy_agent.sim.gpu.plant_abi import DeviceLostError
from tests.support import eventually, refusal

H100 = BoardSpec("H100-SXM5-80GB")

HAMMER = """
import os, sys, pathlib
from energy_agent.sim.gpu.plant import Plant
plant = Plant.attach(pathlib.Path(sys.argv[1]))
slots = [plant.attach_process(gpu, os.getpid(), memory_b=1) for gpu in range(plant.count)]
print("ready", flush=True)
n = 0
while True:
    n += 1
    gpu = n % plant.count
    plant.submit(gpu, slots[gpu], reference_ns=1000 * 10**6, memory_boundness=0.5)
    plant.fault(gpu, "counter_reset" if n % 50 == 0 else "xid", value=13)
    plant.advance_to(plant.now_ns() + 3 * 10**6)
"""

OWNER = """
import os, sys, pathlib, time
from energy_agent.sim.gpu.plant import Plant
plant = Plant.attach(pathlib.Path(sys.argv[1]))
slot = plant.attach_process(0, os.getpid(), memory_b=1 << 30)
plant.submit(0, slot, reference_ns=3600 * 10**9, memory_boundness=0.5)
print("ready", flush=True)
time.sleep(60)
"""


def start(code: str, plant: Path) -> subprocess.Popen[str]:
    process = subprocess.Popen([sys.executable, "-c", code, str(plant)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def kill(process: subprocess.Popen[str]) -> None:
    process.send_signal(signal.SIGKILL)
    process.communicate()


@pytest.fixture
def nvml(tmp_path, monkeypatch):
    monkeypatch.setenv("WATTLENS_SIM", str(tmp_path))
    Plant.create(tmp_path / "plant", [H100], seed=1, rate=1.0).close()
    nvml = RealNvml(library_path())
    nvml.init()
    yield nvml
    nvml.shutdown()


def test_killing_a_writer_at_any_instant_leaves_a_whole_plant(tmp_path):
    """Processes die while they advance 64 GPUs, mostly inside a lock; energy sums still match and the plant continues."""
    plant = Plant.create(tmp_path / "plant", [H100] * 64, seed=1, manual=True)
    chance = random.Random(4)
    last = [plant.truth(gpu) for gpu in range(64)]
    for _ in range(10):
        process = start(HAMMER, tmp_path / "plant")
        time.sleep(chance.uniform(0.01, 0.05))
        kill(process)
        plant.advance_to(plant.now_ns() + 10**6)
        now = [plant.truth(gpu) for gpu in range(64)]
        for before, truth in zip(last, now, strict=True):
            assert truth.t_ns > before.t_ns
            assert truth.true_uj > before.true_uj
            assert truth.sensed_uj + truth.pending_uj + truth.unseen_uj == pytest.approx(truth.gain * truth.true_uj, abs=50)
            assert all(0 <= slot.done_ns <= slot.submitted_ns for slot in truth.slots)
        last = now
    eventually(lambda: not any(s.live for gpu in range(64) for s in plant.truth(gpu).slots))


def test_a_dead_process_leaves_the_list_and_stops_working(tmp_path, nvml):
    plant = Plant.attach(tmp_path / "plant")
    device = nvml.device_by_index(0)
    process = start(OWNER, tmp_path / "plant")
    assert nvml.compute_processes(device) == [(process.pid, 1 << 30)]
    process.send_signal(signal.SIGKILL)  # not reaped: a zombie holds no GPU either
    assert eventually(lambda: nvml.compute_processes(device) == [])
    kill(process)
    truth = plant.truth(0)
    assert not truth.slots[0].live
    assert 0 < truth.slots[0].done_ns < truth.slots[0].submitted_ns
    refusal(plant.done_ns, 0, 0, error=DeviceLostError)
    refusal(plant.attach_process, 0, process.pid, memory_b=0, error=DeviceLostError)


def test_slots_are_reused_oldest_first_and_end_at_32(tmp_path):
    plant = Plant.create(tmp_path / "plant", [H100], seed=1, manual=True)
    slots = [plant.attach_process(0, os.getpid(), memory_b=0) for _ in range(32)]
    assert slots == list(range(32))
    assert "full" in refusal(plant.attach_process, 0, os.getpid(), memory_b=0, error=Exception)
    for slot in (9, 4):
        plant.advance_to(plant.now_ns() + 10**9)
        plant.detach_process(0, slot)
    assert [plant.attach_process(0, os.getpid(), memory_b=0) for _ in range(2)] == [9, 4]


def test_settings_outlive_the_process_that_made_them(tmp_path, nvml):
    code = """
import sys
from energy_agent.devices.nvml.library import RealNvml
from energy_agent.sim.gpu.build import library_path
nvml = RealNvml(library_path())
nvml.init()
nvml.set_locked_sm_clocks_mhz(nvml.device_by_index(0), 345, 1010)
nvml.set_power_limit_mw(nvml.device_by_index(0), 350_000)
print("ready", flush=True)
import time
time.sleep(60)
"""
    kill(start(code, tmp_path / "plant"))
    plant = Plant.attach(tmp_path / "plant")
    assert eventually(lambda: plant.truth(0).locked_mhz == (345, 1005))  # 1010 is not on the grid of 15 MHz
    assert nvml.power_limit_mw(nvml.device_by_index(0)) == 350_000


def test_real_time_runs_at_its_rate(tmp_path):
    plant = Plant.create(tmp_path / "plant", [H100], seed=1, rate=20.0)
    other = Plant.attach(tmp_path / "plant")
    slot = plant.attach_process(0, os.getpid(), memory_b=0)
    began = plant.now_ns()
    assert plant.wait(0, slot, other.submit(0, slot, reference_ns=10**9, memory_boundness=1.0))
    assert plant.now_ns() - began >= 10**9
    assert other.done_ns(0, slot) == 10**9
    assert "real time" in refusal(plant.advance_to, plant.now_ns() + 10**9, error=Exception)


def test_no_compiler_is_one_clear_line(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    build.library_path.cache_clear()
    try:
        assert "C compiler" in refusal(library_path)
        (tmp_path / "wattlens").write_text("a file where the cache should be")
        monkeypatch.setenv("PATH", "/usr/bin:/bin")
        assert "XDG_CACHE_HOME" in refusal(library_path)
    finally:
        build.library_path.cache_clear()
