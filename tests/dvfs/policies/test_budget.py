"""The node's budget: never exceeded by the limits together, split where a watt makes the most progress."""

import itertools
import math
import random
from collections.abc import Mapping
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dvfs.policies.budget import SPEC, Share, split
from dvfs.types import DeviceObservation, Mode, Observation, SteeringSettings, WorkCounters
from energy_agent.core.errors import UsageError

NS = 1_000_000_000
ROWS = st.tuples(st.integers(1, 4), st.integers(100, 250), st.integers(0, 450), st.integers(0, 300))


def shares_of(rows: list[tuple[int, int, int, int]]) -> list[Share]:
    """Number of devices, least power, room above it, demand above it (W)."""
    shares = []
    for i, (n, low, room, want) in enumerate(rows):
        demand = low + min(want, room)
        devices = tuple(f"{i}/{d}" for d in range(n))
        shares.append(Share(f"g{i}", devices, low * 1e3, (low + room) * 1e3, demand * 1e3, 0.4 * low * 1e3))
    return shares


SHARES = st.lists(ROWS, min_size=1, max_size=4).map(shares_of)


def progress(share: Share, power: float) -> float:
    ratio = (min(power, share.demand) - share.static) / (share.demand - share.static)
    return len(share.devices) * math.sqrt(ratio)


@given(SHARES, st.floats(0.3, 1.2))
def test_a_split_is_within_the_budget_and_no_watt_is_better_elsewhere(shares: list[Share], part: float) -> None:
    most = sum(s.most * len(s.devices) for s in shares)
    least = sum(s.least * len(s.devices) for s in shares)
    budget = least + part * (most - least)
    powers = split(shares, budget)
    assert sum(powers[s.group] * len(s.devices) for s in shares) <= budget * (1 + 1e-6)
    for share in shares:
        assert share.least * 0.999999 <= powers[share.group] <= share.most * 1.000001
    before = sum(progress(s, powers[s.group]) for s in shares)
    for give, take in itertools.permutations(shares, 2):
        watts = 2000.0  # of a device of `take`
        other = watts * len(take.devices) / len(give.devices)
        if powers[give.group] - other < give.least or powers[take.group] + watts > take.most:
            continue
        moved = powers | {give.group: powers[give.group] - other, take.group: powers[take.group] + watts}
        assert sum(progress(s, moved[s.group]) for s in shares) <= before + 1e-6


class Node:
    """GPUs whose progress follows power by a known elasticity; a limit applies one round after its request."""

    def __init__(self, groups: dict[str, tuple[int, float, float]], budget_w: float, seed: int = 1) -> None:
        self.groups, self.draw = groups, random.Random(seed)  # name -> (devices, power that it would draw in W, elasticity)
        self.policy = SPEC.configure({}, budget_w)
        self.state, self.t_s = self.policy.start(), 100
        self.limits = {f"{g}/{i}": 700_000 for g, (n, _, _) in groups.items() for i in range(n)}
        self.work, self.energy = dict.fromkeys(groups, 0.0), dict.fromkeys(self.limits, 0)
        self.asked: dict[str, int] = {}

    def power(self, group: str, uuid: str) -> float:
        return min(self.groups[group][1] * self.draw.uniform(0.99, 1.0), self.limits[uuid] / 1000)

    def round(self) -> None:
        self.t_s += 1
        observations = []
        for group, (n, wants, k) in self.groups.items():
            powers = {f"{group}/{i}": self.power(group, f"{group}/{i}") for i in range(n)}
            slowest = min(powers.values())
            self.work[group] += 10 * math.pow((slowest - 140) / (wants - 140), k)
            for uuid, watts in powers.items():
                self.energy[uuid] += int(watts * 1e6)
            devices = tuple(
                DeviceObservation(
                    uuid, "H100", self.t_s * NS, 1500, int(w * 1000), self.limits[uuid],
                    4 if w * 1000 >= self.limits[uuid] else 0, 100, self.energy[uuid],
                    (200_000, 700_000), 1980,
                )
                for uuid, w in powers.items()
            )  # fmt: skip
            now = WorkCounters(self.t_s * NS, tokens=int(self.work[group] * 1000))
            observations.append(
                Observation(group, self.t_s * NS, devices, now, terms=SteeringSettings(Mode.ENFORCE), owner=group)
            )
        asked, self.state = self.policy.decide(observations, self.state)
        self.asked = dict(asked)
        for uuid in self.limits:
            self.limits[uuid] = asked.get(uuid, 700_000)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 4), st.floats(220, 690), st.floats(0.15, 0.9)), min_size=1, max_size=3),
       st.floats(0.35, 0.9), st.integers(0, 99))  # fmt: skip
def test_limits_together_never_exceed_the_budget_once_it_is_in_force(
    rows: list[tuple[int, float, float]], part: float, seed: int
) -> None:
    groups = {f"g{i}": row for i, row in enumerate(rows)}
    count = sum(n for n, _, _ in groups.values())
    budget_w = math.ceil(max(part * 700 * count, 205 * count))
    node = Node(groups, budget_w, seed)
    for i in range(120):
        node.round()
        if i > 6:
            assert sum(node.limits.values()) <= budget_w * 1000


def test_power_that_a_group_does_not_draw_goes_to_those_that_their_limits_bind() -> None:
    node = Node({"busy": (2, 650.0, 0.5), "light": (2, 300.0, 0.5)}, 1800)
    for _ in range(200):
        node.round()
    busy, light = node.limits["busy/0"], node.limits["light/0"]
    assert light == pytest.approx(300_000, rel=0.03)
    assert busy == pytest.approx(900_000 - light, abs=6_000)


def test_group_with_growing_load_gets_its_share() -> None:
    node = Node({"a": (1, 650.0, 0.5), "b": (1, 300.0, 0.5)}, 900)
    for _ in range(100):
        node.round()
    assert node.limits["b/0"] < 350_000
    node.groups["b"] = (1, 650.0, 0.5)
    for _ in range(200):
        node.round()
    assert node.limits["b/0"] == pytest.approx(node.limits["a/0"], rel=0.02)


def test_a_group_without_power_readings_for_a_while_is_not_limited_by_old_ones() -> None:
    policy = SPEC.configure({}, 600)
    device = DeviceObservation("a/0", "H100", 0, 1500, 300_000, 700_000, 0, 100, 0, (200_000, 700_000))
    limits: Mapping[str, int] = {}
    state = policy.start()
    steered = []
    for t_s, power_mw in ((98, 690_000), (99, 690_000), (100, 690_000), (101, None), (120, None), (140, None), (141, 690_000)):
        reading = replace(device, boot_ns=t_s * NS, power_mw=power_mw)
        terms = SteeringSettings(Mode.ENFORCE)
        limits, state = policy.decide([Observation("a", t_s * NS, (reading,), terms=terms, owner="a")], state)
        steered.append("a/0" in limits)
    assert steered == [False, False, True, True, True, False, False]


def test_what_is_not_steered_counts_with_its_limit() -> None:
    policy = SPEC.configure({}, 1000)
    limits: Mapping[str, int] = {}
    one = DeviceObservation("", "H100", 200 * NS, 1500, 300_000, 700_000, 0, 100, 0, (200_000, 700_000))
    observations = [
        Observation(name, 200 * NS, (replace(one, uuid=name),), terms=SteeringSettings(mode), owner=name)
        for name, mode in (("a/0", Mode.ENFORCE), ("b/0", Mode.SHADOW))
    ]
    state = policy.start()
    for _ in range(4):
        limits, state = policy.decide(observations, state)
    assert limits == {"a/0": 300_000}


def observe_node(busy_w: float, limits_mw: Mapping[str, int], t_s: int, started_w: float = 70.0) -> list[Observation]:
    """Four GPUs of a job, and four without a process; one of these draws `started_w`."""
    powers = {f"j/{i}": busy_w for i in range(4)} | {f"f/{i}": 70.0 for i in range(3)} | {"f/3": started_w}
    devices = {
        uuid: DeviceObservation(
            uuid, "H100", t_s * NS, 1500, round(1000 * watts), limits_mw.get(uuid, 700_000), 0, 100, 0, (200_000, 700_000)
        )
        for uuid, watts in powers.items()
    }
    terms = SteeringSettings(Mode.ENFORCE)
    job = Observation("j", t_s * NS, tuple(devices[f"j/{i}"] for i in range(4)), terms=terms, owner="j")
    return [job, *(Observation(f"free {i}", t_s * NS, (devices[f"f/{i}"],), terms=terms) for i in range(4))]


def test_free_gpus_count_with_their_idle_power_and_one_reserve() -> None:
    """Four of eight GPUs are busy, and the node is below its budget."""
    policy = SPEC.configure({}, 3200)
    limits: Mapping[str, int] = {}
    state = policy.start()
    for t_s in range(100, 130):
        limits, state = policy.decide(observe_node(679.0, limits, t_s), state)
    assert {uuid: limit for uuid, limit in limits.items() if uuid.startswith("f/")} == dict.fromkeys(
        (f"f/{i}" for i in range(4)), 200_000
    )
    assert all(limits.get(f"j/{i}", 700_000) >= 690_000 for i in range(4))


def test_a_start_on_a_free_gpu_takes_its_power_from_the_others() -> None:
    policy = SPEC.configure({}, 2997)
    limits: Mapping[str, int] = {}
    state = policy.start()
    for t_s in range(100, 130):
        limits, state = policy.decide(observe_node(679.0, limits, t_s), state)
    assert sum(limits.get(f"j/{i}", 700_000) for i in range(4)) == pytest.approx(2_716_000, abs=5_000)
    limits, state = policy.decide(observe_node(679.0, limits, 130, started_w=200.0), state)
    assert sum(limits[f"j/{i}"] for i in range(4)) <= 2_997_000 - 3 * 70_000 - 200_000


@pytest.mark.parametrize(("options", "budget_w", "says"), [({}, 0, "above 0"), ({"evry_s": 1}, 10, "unknown option")])
def test_wrong_options_are_named(options: dict[str, object], budget_w: float, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        SPEC.configure(options, budget_w)
