"""Children that not even SIGKILL ends, as in a hung driver or a frozen cgroup: counted, bounded, and in the way of nobody."""

import errno
import os
import sys
import time

import pytest

from energy_agent.owners.command import UNKILLED_MAX, CommandError, output_of
from energy_agent.reader.child import Call, ReaderOptions, Unkillable
from energy_agent.reader.health_retries import HealthHangs
from energy_agent.reader.supervisor import MAX_UNKILLABLE, DeviceHealth, ReaderSupervisor

OPTIONS = ReaderOptions(10**9, 10**9, 5 * 10**9, {}, health_period_ns=10**9, health_groups=("ecc",))
IDLE, SILENT, GARBAGE, ENDED, HANGING = "idle", "silent", "garbage", "ended", "hanging"


class Machine:
    """A machine that starts children with the given behaviour; SIGKILL does not end them while `stuck`."""

    def __init__(self, behaviour=IDLE):
        self.behaviour, self.stuck, self.full = behaviour, True, False
        self.readers, self.probes = [], []

    def reader(self, *_, **__):
        if self.full:
            raise OSError(errno.EAGAIN, os.strerror(errno.EAGAIN))
        self.readers.append(Reader(self))
        return self.readers[-1]

    def probe(self, device, *_, **__):
        if self.full:
            raise OSError(errno.EAGAIN, os.strerror(errno.EAGAIN))
        self.probes.append(Probe(self, device))
        return self.probes[-1]


class Reader:
    """A reader that swept once."""

    pid = 1

    def __init__(self, machine):
        self.machine, self.sweeps, self.silent_s, self.killed = machine, 1, 0.0, False
        self._ready, self._other = os.pipe()
        os.write(self._other, b"x")  # so that nothing waits

    def fileno(self):
        return self._ready

    def messages(self):
        if self.machine.behaviour == SILENT:
            self.silent_s = 100.0  # which the supervisor counts on from
        return None if self.machine.behaviour in (GARBAGE, ENDED) else []

    def under_way(self):
        hanging = self.machine.behaviour == HANGING
        return Call("", "EventSetWait", 100.0) if hanging else None

    def order(self, **_):
        pass

    def kill(self):
        self.killed = True

    def reaped(self, within_s=0.0):
        return self.killed and not self.machine.stuck

    def stop(self):
        self.killed = True
        return self.reaped()


class Probe:
    """A prober that never answers."""

    def __init__(self, machine, device):
        self.machine, self.device = machine, device

    @property
    def hangs(self):
        return self.machine.stuck

    def answer(self):
        return False

    def reaped(self):
        return not self.machine.stuck

    def stop(self):
        return self.reaped()


def sampler_on(machine):
    return ReaderSupervisor(OPTIONS, 1.0, start_reader=machine.reader, start_probe=machine.probe)


@pytest.mark.parametrize("behaviour", [SILENT, GARBAGE, ENDED, HANGING])
def test_readers_that_cannot_be_killed_are_no_more_than_two(behaviour):
    machine = Machine(behaviour)
    sampler = sampler_on(machine)
    for _ in range(12):
        sampler.poll(0.001)
    assert len(machine.readers) == len(sampler.unkillable) == sampler.unkillable.readers == MAX_UNKILLABLE
    assert "cannot be killed" in sampler.node.reason
    machine.stuck = False
    assert len(sampler.unkillable) == 0
    sampler.release("on request")  # which ends its pause
    sampler.resume()
    sampler.poll(0.001)
    assert len(machine.readers) > MAX_UNKILLABLE


def test_a_stopped_reader_that_cannot_be_killed_counts_too():
    machine = Machine()
    sampler = sampler_on(machine)
    sampler.poll(0.001)
    sampler.release("on request")
    assert sampler.unkillable.readers == 1


def test_a_prober_that_cannot_be_killed_holds_up_its_own_device_alone():
    machine = Machine()
    sampler = sampler_on(machine)
    names = [f"index {k}" for k in range(5)]
    for name in names:
        sampler.devices[name] = DeviceHealth(excluded=True)
        sampler.devices[name].failed("hangs", time.monotonic() - 100)
    for _ in range(50):
        sampler.poll(0.001)
    assert [probe.device for probe in machine.probes] == names
    assert sampler.unkillable.devices == set(names)
    machine.stuck = False
    for device in sampler.devices.values():
        device.probe_at_s = 0.0
    for _ in range(50):
        sampler.poll(0.001)
    assert sorted({probe.device for probe in machine.probes[5:]}) == names


def test_a_prober_of_health_that_cannot_be_killed_holds_up_its_own_device_alone():
    machine, names = Machine(), [f"GPU-{k}" for k in range(5)]
    hangs = HealthHangs(first_s=0.0, unkillable=Unkillable(), start_probe=machine.probe)
    for name in names:
        hangs.add(name, "GetEcc")
    for _ in range(50):
        assert hangs.drive(OPTIONS, names) is None
    assert [probe.device for probe in machine.probes] == names
    assert len(hangs.unkillable) == len(names)


def test_a_machine_without_processes_to_spare_is_a_reason_and_passes():
    machine = Machine()
    machine.full = True
    sampler = sampler_on(machine)
    assert sampler.poll(0.001) == []
    assert "cannot start the reader process" in sampler.node.reason
    machine.full = False
    sampler.release("on request")
    sampler.resume()
    sampler.poll(0.001)
    assert len(machine.readers) == 1
    machine.full = True
    sampler.devices["index 0"] = DeviceHealth(excluded=True)
    sampler.poll(0.001)
    assert not sampler.devices["index 0"].up
    hangs = HealthHangs(first_s=0.0, start_probe=machine.probe)
    hangs.add("GPU-0", "GetEcc")
    assert hangs.drive(OPTIONS, ["GPU-0"]) is None
    machine.full = False
    hangs.drive(OPTIONS, ["GPU-0"])
    assert [probe.device for probe in machine.probes] == ["GPU-0"]


def test_a_program_that_closed_its_output_is_ended_in_time():
    code = "import os, time; os.close(1); os.close(2); time.sleep(600)"
    with pytest.raises(CommandError, match=r"within 0\.2 s"):
        output_of([sys.executable, "-c", code], 0.2, 1000, {})


class Stuck:
    """A program that was killed and is still there."""

    def poll(self):
        return None


def test_programs_that_cannot_be_killed_are_no_more_than_two():
    stuck = [Stuck() for _ in range(UNKILLED_MAX)]
    with pytest.raises(CommandError, match="cannot be killed"):
        output_of([sys.executable, "-c", ""], 5, 1000, {}, stuck)
    stuck.pop()
    assert output_of([sys.executable, "-c", ""], 60, 1000, {}, stuck) == b""
