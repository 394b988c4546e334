"""Processes that live between two listings only: their SM time is nobody's, and no holder pays for it."""

import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from energy_agent.accounting.device import DeviceAccount, SensorFor
from energy_agent.core.energy import DeviceInfo, DeviceSample, ProcessUse, State
from energy_agent.owners.processes import ProcessOwners
from energy_agent.owners.resolver import OwnerResolver
from tests.energy_agent.owners.kubernetes.test_device_ids import A
from tests.energy_agent.owners.test_processes import NOW, end, proc
from tests.energy_agent.owners.test_resolver import U1, Said, claim

INFO = DeviceInfo(A, 0, "H100", "Hopper", "00:01.0", "580.1", power_limit_max_mw=700_000)
PID_OF_A_POD = 10
turns = st.lists(st.dictionaries(st.integers(10, 15), st.tuples(st.integers(0, 10**6), st.booleans()), max_size=6), max_size=6)


@given(turns)
def test_all_sm_time_is_somebodys_or_unseen_and_none_is_counted_twice(listings):
    """Each listing has processes on the device (True) and ones that left (False), of whom some were never listed."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        owners, listed_pids = ProcessOwners(folder), set()
        for uses in listings:
            here = {pid for pid, (_, listed) in uses.items() if listed}
            for pid in range(10, 16):
                if pid in here and not (folder / str(pid)).exists():
                    proc(folder, pid, cgroup=f"0::/system.slice/u{pid % 3}.service\n")
                if pid not in here and (folder / str(pid)).exists():
                    end(folder, pid)
            processes = [ProcessUse(pid, sm_us=us, listed=listed) for pid, (us, listed) in uses.items()]
            device_owners, _ = owners.resolve(processes, NOW)
            listed_pids |= here
            assert device_owners.holding.unseen == sum(us for pid, (us, _) in uses.items() if pid not in listed_pids)
            by_workload = {
                f"u{n}": sum(us for pid, (us, _) in uses.items() if pid in listed_pids and pid % 3 == n) for n in range(3)
            }
            together = {**device_owners.departed, **device_owners.holding.weights}
            assert not device_owners.departed.keys() & device_owners.holding.weights.keys()
            assert {w: us for w, us in together.items() if us} == {w: us for w, us in by_workload.items() if us}


def recorded_energy(folder, strangers_us, own_us, *, claims, windows=12, period_s=5, power_mj=300_000):
    """Energy by workload and state over some windows, in which strangers come and go between the listings."""
    uid_path = f"/kubepods/besteffort/pod{U1}/{'a' * 64}"
    for pid in (PID_OF_A_POD, PID_OF_A_POD + 1):
        proc(folder, pid, cgroup=f"0::{uid_path}\n")
    processes, account, source = ProcessOwners(folder), DeviceAccount(INFO, SensorFor(2_500_000_000)(INFO)), Said()
    joined = OwnerResolver((source,) if claims else ())
    pods, total = (claim(A, "a", U1),), {}
    for second in range(windows * period_s + 1):
        uses = None
        if second % period_s == 0:
            number = second // period_s
            pod_uses = [ProcessUse(PID_OF_A_POD + n, sm_us=own_us // 2) for n in (0, 1)]
            strangers = [ProcessUse(1000 + number * 5 + n, sm_us=us, listed=False) for n, us in enumerate(strangers_us(number))]
            uses = (*pod_uses, *strangers)
        sample = DeviceSample(
            A, NOW + second * 10**9, (second + 1) * 10**9, energy_mj=power_mj * second, power_mw=power_mj, gpu_percent=90,
            processes=uses,
        )  # fmt: skip
        source.say(sample.boot_ns, *pods)
        joined.look(sample.boot_ns)
        device_owners, _ = joined.of_sample(sample, processes)
        account.owners = account.owners if device_owners is None else device_owners
        entries, _ = account.feed(sample, "boot")
        assert sum(entry.energy_uj for entry in entries) == (power_mj * 1000 if second else 0)
        for entry in entries:
            total[entry.workload, entry.state] = total.get((entry.workload, entry.state), 0) + entry.energy_uj
    return total, windows * period_s * power_mj * 1000


@pytest.mark.parametrize("claims", [False, True])
@pytest.mark.parametrize("strangers_us", [(2_400_000, 2_100_000), (50_000,), (4_999_999,)])
def test_a_holder_pays_for_its_own_part_of_the_sm_time(tmp_path, strangers_us, claims):
    total, all_uj = recorded_energy(tmp_path, lambda number: strangers_us if number else (), 100_000, claims=claims)
    (own_uj,) = [uj for (workload, _), uj in total.items() if workload]
    part = sum(strangers_us) / (sum(strangers_us) + 100_000)
    window = all_uj / 12
    assert total["", State.UNKNOWN_OWNER] == pytest.approx(part * (all_uj - window), abs=part * window)
    assert own_uj + total["", State.UNKNOWN_OWNER] == all_uj
