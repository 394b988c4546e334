"""The sampler with real reader processes on a plant: whatever one device does, the others keep their cadence."""

import os
import signal
import time
from itertools import pairwise
from pathlib import Path

import pytest

from tests.energy_agent.nodes import instants, make_plant, poll_for, poll_until, sampling

pytestmark = pytest.mark.timeout(360)

PERIODS_NS = 1_000_000_000


def up(sampler, count):
    return lambda _: sum(d.up for d in sampler.devices.values()) == count and sampler.node.up


def missed_periods(sweeps, uuid):
    """The most periods in a row without a reading: a reading belongs to the second that it falls in."""
    seconds = [t // PERIODS_NS for t in instants(sweeps, uuid)]
    assert len(seconds) > 2, f"{uuid} is hardly read at all"
    return max(b - a for a, b in pairwise(seconds)) - 1


def first_sweeps(sampler, count):
    """Sweeps until so many devices answer, and how many periods may be missed afterwards: two, and on a busy machine as many as
    the first reader took to come, as another one takes as long. What hangs here hangs for more than three."""
    began_s = time.monotonic()
    sweeps = poll_until(sampler, up(sampler, count))
    return sweeps, 2 + int(time.monotonic() - began_s)


def children(pid):
    """Its processes, but for the one that Python keeps once anything in this process has used multiprocessing."""
    pids = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
            command = (stat.parent / "cmdline").read_bytes()
        except OSError:
            continue
        if int(fields[1]) == pid and fields[0] != "Z" and b"multiprocessing.resource_tracker" not in command:
            pids.append(int(stat.parent.name))
    return pids


def test_a_device_that_hangs_is_named_the_others_keep_their_cadence_and_it_comes_back(tmp_path):
    with make_plant(tmp_path) as plant, sampling(tmp_path, hang_s=0.6) as sampler:
        sweeps, most = first_sweeps(sampler, 4)
        bad = plant.uuid(1)
        plant.fault(1, "hang")
        sweeps += poll_until(sampler, lambda _: not sampler.devices[bad].up)
        assert "hangs" in sampler.devices[bad].reason
        sweeps += poll_for(sampler, 3.5)
        # A busy machine may take a call of another device for one that hangs; that one answers soon.
        sweeps += poll_until(sampler, lambda _: [u for u, d in sampler.devices.items() if not d.up] == [bad])
        plant.clear(1)
        sweeps += poll_until(sampler, up(sampler, 4))
        for gpu in (0, 2, 3):
            assert missed_periods(sweeps, plant.uuid(gpu)) <= most
        assert sampler.node.up


def test_devices_that_answer_with_errors_are_named_the_others_go_on_and_all_come_back(tmp_path):
    faults = {
        1: ("lost", "GPU_IS_LOST"),
        2: ("reset_required", "RESET_REQUIRED"),
        3: ("timeout", "TIMEOUT"),
        4: ("unknown_error", "UNKNOWN"),
    }
    with make_plant(tmp_path, count=6) as plant, sampling(tmp_path) as sampler:
        sweeps, most = first_sweeps(sampler, 6)
        for gpu, (kind, _) in faults.items():
            plant.fault(gpu, kind)
        sweeps += poll_until(sampler, up(sampler, 2))
        for gpu, (_, word) in faults.items():
            assert word in sampler.devices[plant.uuid(gpu)].reason
        sweeps += poll_for(sampler, 1.5)
        for gpu in faults:
            plant.clear(gpu)
        sweeps += poll_until(sampler, up(sampler, 6))
        for gpu in (0, 5):
            assert missed_periods(sweeps, plant.uuid(gpu)) <= most


def test_device_hanging_at_start_does_not_silence_the_others(tmp_path):
    with make_plant(tmp_path) as plant:
        plant.fault(1, "hang")
        with sampling(tmp_path, hang_s=0.5) as sampler:
            poll_until(sampler, up(sampler, 3))
            assert [(name, "hangs" in d.reason) for name, d in sampler.devices.items() if not d.up] == [("index 1", True)]
            plant.clear(1, "hang")
            poll_until(sampler, up(sampler, 4))
            assert set(sampler.devices) == {plant.uuid(g) for g in range(4)} == set(sampler.infos)


def test_a_device_that_is_lost_when_a_reader_starts_hides_no_other_and_comes_back_described(tmp_path):
    with make_plant(tmp_path) as plant:
        plant.fault(1, "lost")
        with sampling(tmp_path) as sampler:
            poll_until(sampler, up(sampler, 3))
            assert sampler.devices[plant.uuid(3)].up
            (lost,) = [d for d in sampler.devices.values() if not d.up]
            assert "GPU_IS_LOST" in lost.reason
            plant.clear(1, "lost")
            poll_until(sampler, up(sampler, 4))
            assert sampler.infos[plant.uuid(1)].index == 1


def test_a_reader_that_is_killed_is_replaced_and_knows_what_is_excluded(tmp_path):
    with make_plant(tmp_path) as plant, sampling(tmp_path) as sampler:
        sweeps, most = first_sweeps(sampler, 4)
        plant.fault(2, "hang")
        sweeps += poll_until(sampler, lambda _: not sampler.devices[plant.uuid(2)].up)
        sweeps += poll_until(sampler, lambda s: len(s) >= 2)
        for _ in range(2):
            restarts, pid = sampler.node.restarts_total, sampler.reader_pid
            os.kill(pid, signal.SIGKILL)
            sweeps += poll_until(sampler, lambda _, was=restarts: sampler.node.restarts_total > was)
            sweeps += poll_until(sampler, lambda s: len(s) >= 2)
            assert sampler.reader_pid != pid
        for gpu in (0, 1, 3):
            assert missed_periods(sweeps, plant.uuid(gpu)) <= most
        assert not sampler.devices[plant.uuid(2)].up
        plant.clear(2, "hang")
        poll_until(sampler, up(sampler, 4))


@pytest.mark.parametrize("call", ["nvmlEventSetWait_v2", pytest.param("nvmlDeviceRegisterEvents", marks=pytest.mark.proof)])
def test_events_that_hang_cost_the_events_and_no_reading(tmp_path, call):
    with make_plant(tmp_path, count=2) as plant:
        plant.fault(0, "hang", call=call)
        with sampling(tmp_path, hang_s=0.5) as sampler:
            poll_until(sampler, lambda s: len(instants(s, plant.uuid(1))) >= 2)
        plant.clear(0)


def test_a_reader_that_is_frozen_outside_of_the_driver_is_replaced(tmp_path):
    with make_plant(tmp_path), sampling(tmp_path) as sampler:
        poll_until(sampler, up(sampler, 4))
        frozen = sampler.reader_pid
        os.kill(frozen, signal.SIGSTOP)
        sweeps = poll_until(sampler, lambda _: sampler.reader_pid not in (frozen, None))
        poll_until(sampler, lambda samples: bool(samples))
        assert sampler.node.restarts_total == 1
        assert not Path(f"/proc/{frozen}").exists()
        assert all(d.up for d in sampler.devices.values()), sweeps


def xids(sweeps, uuid):
    return [dict(s.xid_counts) for w in sweeps for s in w if s.uuid == uuid and s.xid_counts]


def test_each_xid_is_in_one_sample_whichever_reader_saw_it(tmp_path):
    with make_plant(tmp_path, count=2) as plant, sampling(tmp_path) as sampler:

        def counts(sweeps):
            return xids(sweeps, plant.uuid(0))

        poll_until(sampler, up(sampler, 2))
        plant.fault(0, "xid", value=31)
        samples = poll_until(sampler, lambda s: counts(s))
        samples += poll_until(sampler, lambda s: len(s) >= 2)
        assert counts(samples) == [{31: 1}]
        restarts = sampler.node.restarts_total
        os.kill(sampler.reader_pid, signal.SIGKILL)
        poll_until(sampler, lambda _: sampler.node.restarts_total > restarts)  # the killed one's last sweeps may still come
        poll_until(sampler, lambda s: len(s) >= 2)
        plant.fault(0, "xid", value=31)
        assert counts(poll_until(sampler, lambda s: counts(s))) == [{31: 1}]


@pytest.mark.parametrize("fault", ["lost", "hang"])
def test_xid_of_a_gpu_that_then_fails_comes_with_its_next_reading_by_another_reader(tmp_path, fault):
    with make_plant(tmp_path, count=2) as plant, sampling(tmp_path, hang_s=0.6) as sampler:
        uuid = plant.uuid(0)
        sweeps = poll_until(sampler, up(sampler, 2))
        if fault == "hang":  # the reader sees the event, and is killed in the same sweep
            plant.fault(0, "xid", value=79)
        plant.fault(0, fault)
        sweeps += poll_until(sampler, lambda _: not sampler.devices[uuid].up)
        poll_until(sampler, lambda s: len(s) >= 2)
        restarts = sampler.node.restarts_total
        os.kill(sampler.reader_pid, signal.SIGKILL)
        poll_until(sampler, lambda _: sampler.node.restarts_total > restarts)
        plant.clear(0, fault)
        sweeps += poll_until(sampler, up(sampler, 2))
        sweeps += poll_until(sampler, lambda s: len(s) >= 2)
        assert xids(sweeps, uuid) == [{79: 1}]


def test_a_driver_that_does_not_answer_is_named_and_found_again(tmp_path):
    with make_plant(tmp_path, count=2) as plant:
        plant.fault(0, "driver_mismatch")
        with sampling(tmp_path) as sampler:
            poll_until(sampler, lambda _: "LIB_RM_VERSION_MISMATCH" in sampler.node.reason)
            assert not sampler.node.up
            plant.clear(0, "driver_mismatch")
            poll_until(sampler, up(sampler, 2))


def test_release_lets_go_of_the_driver_and_resume_comes_back(tmp_path):
    with make_plant(tmp_path, count=2), sampling(tmp_path) as sampler:
        poll_until(sampler, up(sampler, 2))
        sampler.release("released on request")
        assert sampler.reader_pid is None
        assert children(os.getpid()) == []
        assert poll_for(sampler, 1.2) == []
        assert {d.reason for d in sampler.devices.values()} == {"released on request"}
        sampler.resume()
        poll_until(sampler, up(sampler, 2))


def test_orders_reach_a_reader_that_is_late(tmp_path):
    """Each sweep takes longer than the period, so the reader never waits: it must look at its input all the same."""
    late = {"period_ns": 100_000_000, "hang_s": 2.0, "list_ns": 3600 * PERIODS_NS}  # its own turn to list comes after the test
    with make_plant(tmp_path, count=2) as plant, sampling(tmp_path, **late) as sampler:
        poll_until(sampler, up(sampler, 2))
        plant.fault(0, "latency", call="nvmlDeviceGetFieldValues", value=250)
        poll_for(sampler, 1.0)

        def listed(sweeps):
            return any(s.processes is not None for w in sweeps for s in w if s.uuid == plant.uuid(1))

        sampler.list_processes()
        poll_until(sampler, listed)


def test_ctrl_c_is_not_for_a_reader(tmp_path):
    with make_plant(tmp_path, count=1), sampling(tmp_path) as sampler:
        poll_until(sampler, up(sampler, 1))
        pid = sampler.reader_pid
        os.kill(pid, signal.SIGINT)
        poll_until(sampler, lambda sweeps: len(sweeps) >= 3)
        assert (sampler.reader_pid, sampler.node.restarts_total) == (pid, 0)


@pytest.mark.proof
def test_a_call_that_hangs_for_a_minute(tmp_path):
    with make_plant(tmp_path) as plant, sampling(tmp_path) as sampler:
        sweeps, most = first_sweeps(sampler, 4)
        plant.fault(1, "hang", call="nvmlDeviceGetFieldValues")
        sweeps += poll_for(sampler, 60)
        plant.clear(1)
        sweeps += poll_until(sampler, up(sampler, 4), seconds=65)
        for gpu in (0, 2, 3):
            assert missed_periods(sweeps, plant.uuid(gpu)) <= most


def test_stopping_ends_every_child_even_while_a_device_hangs(tmp_path):
    with make_plant(tmp_path, count=2) as plant, sampling(tmp_path) as sampler:
        poll_until(sampler, up(sampler, 2))
        plant.fault(0, "hang")
        poll_until(sampler, lambda _: not sampler.devices[plant.uuid(0)].up)
        poll_for(sampler, 1.3)  # a probe hangs as well by now
        sampler.stop()
        assert children(os.getpid()) == []
        plant.clear(0)
