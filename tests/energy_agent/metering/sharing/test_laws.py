"""The law of attribution over random scenarios of one GPU: whatever happens, its entries sum to its counter. Pure.

A scenario is a sequence of readings at most one second apart, or with a gap between them. Between any two readings, owners may
come, go, be unknown or be measured again, MIG devices may be created, resized and removed, and the counter may or may not
advance.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from hypothesis import given, settings
from hypothesis import strategies as st

from energy_agent.accounting.device import DeviceAccount, SensorFor
from energy_agent.core.energy import DeviceInfo, DeviceSample, Entry, MigUse, State
from energy_agent.metering.attribution import Holding
from energy_agent.owners.processes import DeviceOwners
from tests.support import examples

_INFO = DeviceInfo("GPU-a", 0, "H100", "Hopper", "00:01.0", "1", power_limit_max_mw=700_000, power_limit_default_mw=700_000)
_SENSOR_FOR = SensorFor(2_500_000_000)
_T0, _BOOT0 = 1_790_000_000 * 10**9, 10**12
_UNOWNED = {state for state in State if state not in (State.ACTIVE, State.IDLE)}

names = st.sampled_from(["a", "b", "c", "d", "e"])
weights = st.dictionaries(names, st.integers(0, 10**7), max_size=5)


@dataclass(frozen=True, slots=True)
class Turn:
    """One reading, and the owners of the device from then on; `holders` None: not queried."""

    ms: int
    mj: int
    percent: int | None
    holders: DeviceOwners | None
    mig: tuple[MigUse, ...] | None


@st.composite
def _draw_holders(draw: st.DrawFn) -> tuple[DeviceOwners | None, tuple[MigUse, ...] | None]:
    kind = draw(st.sampled_from(["off", "unknown", "whole", "whole", "mig", "mig"]))
    if kind == "off":
        return None, None
    if kind == "unknown":
        return DeviceOwners(None, State.UNKNOWN_OWNER), None
    departed = draw(st.dictionaries(names, st.integers(0, 10**7), max_size=2))
    if kind == "whole":
        owner_weights = draw(weights)
        holding = Holding(owner_weights, draw(st.booleans()))
        return DeviceOwners(holding, departed={n: w for n, w in departed.items() if n not in owner_weights}), None
    activity = st.none() | st.integers(0, 10**6)
    sizes = draw(st.lists(st.integers(1, 4), min_size=1, max_size=4))
    mig = tuple(MigUse(f"MIG-{i}{size}", size, 7, 16 * size, draw(activity)) for i, size in enumerate(sizes))
    slices = {m.uuid: draw(st.none() | weights) for m in mig}
    together: dict[str, int] = {}
    for held_by in slices.values():
        for name, weight in (held_by or {}).items():
            together[name] = together.get(name, 0) + weight
    return DeviceOwners(Holding(together, slices=slices)), mig


@st.composite
def _turn(draw: st.DrawFn) -> Turn:
    holders, mig = draw(_draw_holders())
    ms = draw(st.sampled_from([100, 1000, 1000, 1000, 5000, 60_000]))
    mj = draw(st.integers(0, 700) | st.just(0)) * ms
    return Turn(ms, mj, draw(st.none() | st.integers(0, 2)), holders, mig)


scenarios = st.lists(_turn(), min_size=1, max_size=12)


def check(turns: Sequence[Turn]) -> None:
    """Run a scenario.

    Raises:
        AssertionError: a joule was lost, created, assigned twice, or taken from an exclusive owner.
    """
    account = DeviceAccount(_INFO, _SENSOR_FOR(_INFO))
    now_ns, energy_mj, booked_uj, edge = 0, 10**6, 0, 0
    account.feed(DeviceSample("GPU-a", _T0, _BOOT0, energy_mj=energy_mj, power_mw=200_000), "boot")
    for turn in turns:
        now_ns, energy_mj = now_ns + turn.ms * 10**6, energy_mj + turn.mj
        sample = DeviceSample(
            "GPU-a", _T0 + now_ns, _BOOT0 + now_ns, energy_mj=energy_mj, power_mw=200_000, gpu_percent=turn.percent
        )
        if turn.holders is not None:
            account.owners = turn.holders
            if turn.holders.holding is None:
                sample = replace(sample, absent={"processes": "UNKNOWN"})
            else:
                sample = replace(sample, processes=(), mig=turn.mig)
        before = account.held_before
        entries, _ = account.feed(sample, "boot")
        booked_uj += sum(entry.energy_uj for entry in entries)
        edge = max(edge, *(entry.edge_uj for entry in entries)) if entries else edge
        _sound(entries, before)
    assert account.meter is not None
    assert booked_uj == ((account.meter.energy_mj or 0) - 10**6) * 1000


def _sound(entries: Sequence[Entry], before: Holding | None) -> None:
    """Of one interval."""
    owners = [(entry.workload, entry.state) for entry in entries]
    assert len(owners) == len(set(owners))
    for entry in entries:
        assert min(entry.energy_uj, entry.edge_uj, entry.gpu_ns) >= 0
        assert bool(entry.workload) == (entry.state not in _UNOWNED)
        assert entry.gpu_ns <= entry.end_ns - entry.start_ns
    assert sum(entry.gpu_ns for entry in entries) <= (entries[0].end_ns - entries[0].start_ns if entries else 0)
    if entries and before is not None and len(before.weights) == 1 and not before.slices and entries[0].method != "bridged":
        assert [entry.workload for entry in entries] == list(before.weights)  # exclusive: nothing is left


@settings(deadline=None, max_examples=examples(200))
@given(scenarios)
def test_whatever_happens_the_entries_of_a_gpu_sum_to_its_counter(turns):
    check(turns)
