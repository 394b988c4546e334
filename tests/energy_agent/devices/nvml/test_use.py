"""Who used a device between two listings, read through the simulated driver and judged by the plant's truth."""

import os
import subprocess

import pytest

from energy_agent.core.energy import MigUse
from energy_agent.devices.nvml.device import DeviceReader
from energy_agent.devices.nvml.library import RealNvml
from energy_agent.runtime.clock import clock_for
from energy_agent.sim.gpu.build import library_path
from tests.doubles.gpus import A100, H100, S


class Node:
    """An H100 and an A100, and readers of them."""

    def __init__(self, gpus):
        self.gpus, self.plant, self.nvml, self.step = gpus, gpus.plant, gpus.nvml, gpus.step
        self.clock, self.calls, self.children = clock_for(os.environ), [], []

    def reader(self, gpu=0, *, gpm=True):
        return DeviceReader(self.nvml, self.nvml.device_by_index(gpu), self.clock, self.calls.append, gpm=gpm)

    def process(self, gpu=0):
        child = subprocess.Popen(["sleep", "100"])
        self.children.append(child)
        return child, self.plant.attach_process(gpu, child.pid, memory_b=1 << 30)

    def work(self, gpu, slot, seconds):
        self.plant.submit(gpu, slot, reference_ns=round(seconds * S), memory_boundness=0.5)

    def used_ns(self, gpu=0):
        return {s.pid: s.busy_ns for s in self.plant.truth(gpu).slots}


@pytest.fixture
def node(gpus):
    new_node = Node(gpus(H100, A100, seed=3))
    yield new_node
    for child in new_node.children:
        child.kill()
        child.wait()


def listed(reader):
    sample = reader.read(full=True, list_processes=True)
    return {p.pid: p for p in sample.processes}, sample.mig


def test_sm_time_is_that_of_the_whole_time_between_two_listings(node):
    """One works for a second at the start and never again, one for three: at the listing only the last is at work."""
    reader, (brief, a), (steady, b) = node.reader(), node.process(), node.process()
    listed(reader)
    node.step(2)
    listed(reader)
    before = node.used_ns()
    node.work(0, a, 0.8)
    node.work(0, b, 2.6)
    node.step(5)
    by_pid, mig = listed(reader)
    used = {pid: node.used_ns()[pid] - before[pid] for pid in before}
    assert mig is None
    total, true_total = sum(p.sm_us for p in by_pid.values()), sum(used.values())
    for child in (brief, steady):
        assert by_pid[child.pid].sm_us / total == pytest.approx(used[child.pid] / true_total, abs=0.04)
        assert by_pid[child.pid].sm_us == pytest.approx(used[child.pid] / 1000, abs=200_000)
    node.step(5)
    assert {p.sm_us for p in listed(reader)[0].values()} == {0}


def test_ended_process_is_reported_as_unlisted_with_its_sm_time(node):
    reader, (gone, a), (stays, b), _ = node.reader(), node.process(), node.process(), node.process()
    listed(reader)
    node.step(5)
    listed(reader)
    node.work(0, a, 1.0)
    node.work(0, b, 1.0)
    node.step(3)
    node.plant.detach_process(0, a)
    node.step(1)
    by_pid, _ = listed(reader)
    assert (by_pid[gone.pid].listed, by_pid[stays.pid].listed) == (False, True)
    assert by_pid[gone.pid].sm_us == pytest.approx(by_pid[stays.pid].sm_us, rel=0.15)


def test_driver_query_starts_at_the_last_time_stamp_in_microseconds(node):
    """A stamp in seconds asks for everything the driver remembers, one in nanoseconds for nothing, for ever."""
    asked = []

    class Watched(RealNvml):
        def process_utilization(self, device, since_us):
            asked.append(since_us)
            return super().process_utilization(device, since_us)

    nvml = Watched(library_path())
    reader = DeviceReader(nvml, nvml.device_by_index(0), node.clock, lambda _: None)
    slots = [node.process()[1] for _ in range(2)]
    for _ in range(3):
        for slot in slots:
            node.work(0, slot, 0.5)
        node.step(2)
        listed(reader)
    now_us = node.plant.now_ns() // 1000
    assert all(0 < now_us - since < 20_000_000 for since in asked)
    assert asked == sorted(asked)
    assert asked[-1] > asked[0]


def test_one_owner_costs_one_call_and_unreported_use_is_not_measured(node):
    reader, _ = node.reader(), node.process()
    node.calls.clear()
    listed(reader)
    assert not [call for call in node.calls if "Utilization" in call and "Rates" not in call]
    assert not [call for call in node.calls if "Mig" in call or "Gpm" in call]
    node.process()
    node.plant.fault(0, "not_supported", call="nvmlDeviceGetProcessUtilization")
    assert {p.sm_us for p in listed(reader)[0].values()} == {None}
    assert "GetProcessUtilization" in node.calls


def test_mig_devices_have_their_size_their_processes_and_their_activity(node):
    node.plant.fault(0, "mig", value=421)
    children = [node.process() for _ in range(3)]
    reader = node.reader()
    by_pid, mig = listed(reader)
    assert [(m.slices, m.slices_total, m.active_ppm) for m in mig] == [(4, 7, None), (2, 7, None), (1, 7, None)]
    assert mig[0].sms > mig[1].sms > mig[2].sms
    assert [by_pid[child.pid].mig for child, _ in children] == [m.uuid for m in mig]
    for seconds in (1, 1, 1):
        node.work(0, children[0][1], 4 / 7 * 0.5)  # half of the time at the speed of four slices
        node.work(0, children[2][1], 5.0)
        node.step(seconds)
        uses = reader.read(full=True).mig
        assert [m.active_ppm / 1e6 for m in uses] == [pytest.approx(x, abs=0.08) for x in (0.5, 0.0, 1.0)]


def test_gpu_with_recreated_mig_instances_is_metered_again(node):
    node.plant.fault(0, "mig", value=7)
    child, slot = node.process()
    reader = node.reader()
    old, first = listed(reader)
    node.work(0, slot, 10.0)
    node.step(1)
    assert reader.read(full=True).mig[0].active_ppm == pytest.approx(10**6, rel=0.02)
    node.plant.fault(0, "mig", value=43)
    node.step(1)
    reader.read(full=True)  # between two listings it knows of no change
    new, second = listed(reader)
    assert {m.uuid for m in first}.isdisjoint(m.uuid for m in second)
    assert new[child.pid].mig == second[0].uuid != old[child.pid].mig
    assert [m.slices for m in second] == [4, 3]
    node.step(1)
    assert reader.read(full=True).mig[0].active_ppm == pytest.approx(10**6, rel=0.02)
    node.plant.clear(0, "mig")
    by_pid, none = listed(reader)
    assert (list(by_pid), none) == ([child.pid], None)


@pytest.mark.parametrize(("gpu", "gpm"), [(1, True), (0, False)])
def test_without_gpm_mig_devices_have_their_size_alone(node, gpu, gpm):
    node.plant.fault(gpu, "mig", value=34)
    node.process(gpu)
    reader = node.reader(gpu, gpm=gpm)
    for _ in range(2):
        _, mig = listed(reader)
        assert [(type(m), m.active_ppm) for m in mig] == [(MigUse, None)] * 2
        assert reader.read(full=True).mig is None
        node.step(1)


def test_first_process_is_measured_from_the_last_listing_when_others_start(node):
    """What ran before that is the first holder's alone."""
    reader, (alone, a), (_, gone) = node.reader(), node.process(), node.process()
    listed(reader)
    node.plant.detach_process(0, gone)
    node.work(0, a, 3)
    for _ in range(4):
        node.step(5)
        listed(reader)
    came, b = node.process()
    node.work(0, b, 2)
    node.step(5)
    by_pid, _ = listed(reader)
    assert by_pid[came.pid].sm_us == pytest.approx(2_000_000, abs=500_000)
    assert by_pid[alone.pid].sm_us == 0
