"""However many groups come and go, a bounded number is kept, what they saved stays, and no owner displaces another's."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import pytest

from dvfs import knees
from dvfs.actuator.client import ActuatorError, Effect
from dvfs.actuator.records.note import SettingNote
from dvfs.governor.group import ConfiguredPolicy
from dvfs.governor.loop import BUDGET, Governor
from dvfs.policies.budget import SPEC as BUDGET_POLICY
from dvfs.policies.static import SPEC
from dvfs.proof.plan import ExperimentPlan
from dvfs.types import DeviceObservation, Mode, NodeBudget, Observation, Setting, SteeringSettings, WorkCounters
from energy_agent.core.proof import Analysis, ProofRow
from tests.doubles.actuator_socket import ActuatorDouble
from wattlens.steering.loop import with_exempt

NS = 1_000_000_000
GPUS = 4
PLAN = ExperimentPlan(5, 4, 6.0, 2.0)
ROUNDS = 55
"""As long as a group is there: the plan and a while."""


class World(ActuatorDouble):
    """Boards that draw less at a setting, in a time that is counted."""

    def __init__(self) -> None:
        super().__init__()
        self.t_s, self.work, self.energy_uj = 1000, 0, Counter[str]()

    def boot_ns(self) -> int:
        return self.t_s * NS

    utc_ns = boot_ns

    def second(self) -> None:
        self.t_s, self.work = self.t_s + 1, self.work + 1000
        for gpu in range(GPUS):
            clock = self.settings.get(f"GPU-{gpu}", Setting()).sm_clock_max_mhz
            self.energy_uj[f"GPU-{gpu}"] += 400_000_000 if clock is None else 300_000_000

    def observe(self, gpu: int, group: str, owner: str) -> Observation:
        uuid = f"GPU-{gpu}"
        clock = self.settings.get(uuid, Setting()).sm_clock_max_mhz or 1980
        device = DeviceObservation(
            uuid, "NVIDIA H100 80GB HBM3", self.boot_ns(), clock, event_reasons=0, gpu_percent=100,
            energy_uj=self.energy_uj[uuid],
        )  # fmt: skip
        progress = WorkCounters(self.boot_ns(), tokens=self.work)
        terms = SteeringSettings(Mode.ENFORCE, ("static",))
        return Observation(group, self.boot_ns(), (device,), progress, True, f"w-{group}", terms=terms, owner=owner)


class Bench:
    def __init__(self) -> None:
        self.world = World()
        static = ConfiguredPolicy(SPEC, SPEC.configure({"clean_s": 0}, knees.load()))
        self.governor = Governor({"static": static}, self.world, self.world, plan=PLAN)
        self.rows: list[ProofRow] = []
        self.states: dict[str, str] = {}

    def run(self, groups: Sequence[tuple[str, str]], rounds: int = ROUNDS) -> None:
        """Groups and their owners, a GPU for each."""
        for _ in range(rounds):
            self.world.second()
            self.governor.step([self.world.observe(gpu, *group) for gpu, group in enumerate(groups)])
            assert not self.governor.failures
            rows, states = self.governor.take_proof()
            self.rows += rows
            self.states |= states

    def stored_groups(self) -> set[str]:
        """Groups whose experiments are stored."""
        return {key.removeprefix("group ") for key, text in self.states.items() if key.startswith("group ") and text}

    def claimed_uj(self) -> int:
        return sum(view.saved_uj or 0 for view in self.governor.views())


@pytest.mark.smoke
def test_groups_of_one_owner_displace_their_own_and_what_they_saved_stays() -> None:
    bench = Bench()
    victims = {f"v{number}" for number in range(3)}
    bench.run([(name, "victim") for name in sorted(victims)])
    kept, saved_uj = [], bench.claimed_uj()
    assert saved_uj > 0
    for number in range(60):
        bench.run([(f"a{number}-{gpu}", "attacker") for gpu in range(GPUS)])
        assert bench.claimed_uj() > saved_uj, "no saving is lost with its group"
        saved_uj = bench.claimed_uj()
        kept.append(len(bench.stored_groups()))
    assert kept[-1] == kept[-20] < 60 * GPUS
    assert victims <= bench.stored_groups()
    analyses = [row for row in bench.rows if isinstance(row, Analysis)]
    assert sum(row.claimed_uj for row in analyses) == saved_uj
    assert sum(row.pairs for row in analyses) == PLAN.pairs * (len(victims) + 60 * GPUS)


def test_a_group_that_is_gone_for_an_hour_is_forgotten_and_what_it_saved_stays() -> None:
    bench = Bench()
    bench.run([("measured", "a")])
    bench.run([("short", "a")], 10)
    saved_uj = bench.claimed_uj()
    bench.run([("now", "b")], 20)
    assert {"measured", "short", "now"} == bench.stored_groups()
    bench.world.t_s += 3700
    bench.run([("now", "b")], 2)
    assert bench.stored_groups() == {"now"}
    assert bench.claimed_uj() == saved_uj


def test_states_are_stored_when_something_came_of_a_round_and_once_a_minute() -> None:
    bench, stored = Bench(), 0
    bench.run([("job", "a")])
    for _ in range(180):
        bench.states = {}
        bench.run([("job", "a")], 1)
        stored += bool(bench.states)
    assert stored <= 4


@pytest.mark.parametrize(
    ("power_mw", "is_driven", "fails"), [(700_000, True, True), (250_000, True, False), (700_000, False, False)]
)
def test_power_that_stays_above_the_budget_is_a_failure(power_mw: int, is_driven: bool, fails: bool) -> None:
    """As where the driver permits no lower limits; the first minute is for the changes themselves."""
    world = World()
    budget = NodeBudget(600_000, dict, lambda _observations, state: ({}, state))
    governor = Governor({}, world if is_driven else None, world, budget=budget)
    for second in range(90):
        observations = [world.observe(gpu, f"g{gpu}", "owner") for gpu in range(2)]
        governor.step([replace(one, devices=(replace(one.devices[0], power_mw=power_mw),)) for one in observations])
        assert bool(governor.failures) == (fails and second > 60)
        world.second()
    if fails:
        assert "1400 W" in governor.failures[BUDGET]


@pytest.mark.parametrize(("cap_mw", "caps_mw", "policy"), [(None, {"GPU-0": 400_000}, "budget"), (500_000, {}, "cap_w")])
def test_a_power_limit_is_recorded_as_what_it_is_of(cap_mw: int | None, caps_mw: dict[str, int], policy: str) -> None:
    world = World()
    governor = Governor({}, world, world, budget=NodeBudget(10**9, dict, lambda _observations, state: (caps_mw, state)))
    one = world.observe(0, "g", "owner")
    governor.step([replace(one, terms=replace(one.terms, cap_mw=cap_mw))])
    assert world.settings["GPU-0"].power_limit_mw == (cap_mw or caps_mw["GPU-0"])
    assert (world.note.policy, world.note.reason) == (policy, "power_limit")


def test_gpus_that_cannot_be_limited_count_with_their_limit_and_are_named() -> None:
    """GPU 0 is refused, GPU 1 is steered, the owner of GPU 2 permits nothing, and GPU 3 has no process."""

    class Refusing(World):
        def acquire(self, devices: Sequence[str], ttl_s: float = 10.0) -> str:
            if "GPU-0" in devices:
                raise ActuatorError("not_allowed", "GPU-0 is not in the allow-list")
            return super().acquire(devices, ttl_s)

    world = Refusing()
    governor = Governor({}, world, world, budget=BUDGET_POLICY.configure({}, 1900))
    for _ in range(8):
        world.second()
        observations = []
        for gpu, watts in enumerate((500, 650, 500, 70)):
            one = world.observe(gpu, f"g{gpu}", "" if gpu == 3 else "owner")
            limit = world.settings.get(f"GPU-{gpu}", Setting()).power_limit_mw or 700_000
            device = replace(
                one.devices[0], power_mw=min(1000 * watts, limit), power_limit_mw=limit, power_range_mw=(200_000, 700_000)
            )
            mode = Mode.OBSERVE if gpu == 2 else Mode.ENFORCE
            observations.append(replace(one, devices=(device,), terms=SteeringSettings(mode)))
        governor.step(observations)
    assert {uuid: setting.power_limit_mw for uuid, setting in world.settings.items()} == {"GPU-1": 300_000, "GPU-3": 200_000}
    assert governor.unlimited == {"GPU-0": "not_allowed: actuator: GPU-0 is not in the allow-list", "GPU-2": "mode observe"}
    named = {view.device: view.exempt for view in with_exempt(governor.views(), (), governor.unlimited)}
    assert named["GPU-0"] == ("g0", f"{governor.unlimited['GPU-0']}; budget_w counts its whole power limit")
    assert named["GPU-1"] is None


def test_the_budget_counts_the_lowest_limit_that_the_actuator_permits() -> None:
    class Permitting(World):
        def set(self, lease: str, device: str, setting: Setting, note: SettingNote) -> Effect:
            limit = max(400_000, setting.power_limit_mw or 700_000)
            return super().set(lease, device, replace(setting, power_limit_mw=limit), note)

    world = Permitting()
    governor = Governor({}, world, world, budget=BUDGET_POLICY.configure({}, 1000))
    for _ in range(12):
        world.second()
        observations = []
        for gpu in range(2):
            one = world.observe(gpu, f"g{gpu}", "owner" if gpu else "")
            limit = world.settings.get(f"GPU-{gpu}", Setting()).power_limit_mw or 700_000
            device = replace(
                one.devices[0], power_mw=limit, power_limit_mw=limit, power_range_mw=(200_000, 700_000), event_reasons=4
            )
            observations.append(replace(one, devices=(device,), terms=SteeringSettings(Mode.ENFORCE)))
        governor.step(observations)
    assert sum(setting.power_limit_mw or 0 for setting in world.settings.values()) <= 1_000_000
    assert min(setting.power_limit_mw or 0 for setting in world.settings.values()) >= 400_000
