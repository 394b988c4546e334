"""However many groups come and go, a bounded number is kept, what they saved stays, and no owner displaces another's."""

from collections import Counter
from collections.abc import Sequence

import pytest

from dvfs import knees
from dvfs.governor.group import Configured
from dvfs.governor.loop import Governor, GovernorConfig
from dvfs.policies.static import SPEC
from dvfs.proof.blocks import Plan
from dvfs.proof.estimate import Saving
from dvfs.types import DeviceObservation, Mode, Observation, Progress, Setting, Terms
from tests.doubles.actuator_socket import ActuatorDouble

NS = 1_000_000_000
GPUS = 4
PLAN = Plan(5, 4, 6.0, 2.0)
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
        progress = Progress(self.boot_ns(), tokens=self.work)
        terms = Terms(Mode.ENFORCE, ("static",))
        return Observation(group, self.boot_ns(), (device,), progress, True, f"w-{group}", terms=terms, owner=owner)


class Bench:
    def __init__(self) -> None:
        self.world = World()
        static = Configured(SPEC, SPEC.configure({"clean_s": 0}, knees.load()))
        self.governor = Governor(GovernorConfig({"static": static}, None, PLAN), self.world, self.world)

    def run(self, groups: Sequence[tuple[str, str]], rounds: int = ROUNDS) -> list[dict[str, Saving]]:
        """Groups and their owners, a GPU for each; the savings after each round."""
        found = []
        for _ in range(rounds):
            self.world.second()
            self.governor.step([self.world.observe(gpu, *group) for gpu, group in enumerate(groups)])
            assert not self.governor.failures
            found.append(self.governor.savings())
        return found


def claimable_uj(savings: dict[str, Saving]) -> int:
    return sum(saving.claimable_uj for saving in savings.values())


@pytest.mark.smoke
def test_groups_of_one_owner_displace_their_own_and_what_they_saved_stays() -> None:
    bench = Bench()
    victims = {f"v{number}" for number in range(3)}
    last = bench.run([(name, "victim") for name in sorted(victims)])[-1]
    assert all(last[name].claimable_uj > 0 for name in victims)
    kept, saved_uj = [], claimable_uj(last)
    for number in range(60):
        last = bench.run([(f"a{number}-{gpu}", "attacker") for gpu in range(GPUS)])[-1]
        assert claimable_uj(last) > saved_uj, "no saving is lost with its group"
        saved_uj = claimable_uj(last)
        kept.append(len(last))
    assert kept[-1] == kept[-20] < 60 * GPUS
    assert victims <= last.keys()
    assert sum(view.saved_uj or 0 for view in bench.governor.views()) >= saved_uj
    assert sum(saving.pairs for saving in last.values()) == PLAN.pairs * (len(victims) + 60 * GPUS)


def test_a_group_without_a_measured_pair_is_forgotten() -> None:
    bench = Bench()
    bench.run([("measured", "a")])
    bench.run([("short", "a")], 4)
    assert {"measured", "short"} <= bench.run([("now", "b")])[-1].keys()
    bench.world.t_s += 3700
    assert bench.run([("now", "b")], 1)[-1].keys() == {"measured", "now"}


def test_savings_change_only_where_a_pair_is_over() -> None:
    found = Bench().run([("job", "a")], 40)
    assert 1 < len({repr(savings) for savings in found}) <= PLAN.pairs + 2
