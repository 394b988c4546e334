"""The governor on the real core and fake boards: modes, the group as unit, losing the lease, effect, savings by blocks."""

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import asdict, replace
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dvfs import knees
from dvfs.actuator.client import ActuatorError, Effect
from dvfs.actuator.records.history import KnobChange
from dvfs.actuator.records.journal import ActuatorJournal
from dvfs.actuator.records.note import SettingNote
from dvfs.governor.group import ConfiguredPolicy, GovernedGroup
from dvfs.governor.loop import Governor
from dvfs.policies import slo
from dvfs.policies.static import SPEC
from dvfs.proof.plan import ExperimentPlan
from dvfs.types import (
    Decision,
    DeviceLimits,
    DeviceObservation,
    DvfsPolicy,
    Mode,
    Observation,
    Prediction,
    Setting,
    SteeringSettings,
    WorkCounters,
)
from energy_agent.core.catalogue.node import BY_NAME
from energy_agent.core.energy import Action
from energy_agent.core.proof import Analysis, PairedBlocks, ProofRow
from energy_agent.devices.nvml.abi import NO_PERMISSION
from tests.doubles.actuator import DirectActuator, FakeBoards, core_of
from wattlens.steering.actuator_history import ledger_row
from wattlens.steering.loop import describe_steering

NS = 1_000_000_000
DEVICES = ("GPU-0", "GPU-1")


class Bench:
    """A steady world: power falls by 25 % at the knee, work does not."""

    def __init__(self, folder: Path, mode: Mode, plan: ExperimentPlan | None = None) -> None:
        self.t_s, self.group = 100.0, "job"
        self.boards = FakeBoards.create(folder / "boards")
        limits = DeviceLimits(frozenset({"clock"}), None, None, "unlocked")
        self.journal = ActuatorJournal(folder / "journal")
        self.core = core_of(self.boards, self.journal, limits, self.boot_ns, did=self.record)
        self.rows: list[Action] = []  # of the ledger, as the actuator's history has them
        static = ConfiguredPolicy(SPEC, SPEC.configure({"clean_s": 2}, knees.load()))
        self.policies, self.plan = {"static": static}, plan
        self.terms = SteeringSettings(mode, ("static",))
        self.governor = Governor(self.policies, DirectActuator(self.core), self, plan=plan)
        self.energy, self.work = dict.fromkeys(DEVICES, 0), 0
        self.proof: list[ProofRow] = []
        self.states: dict[str, str] = {}  # as a ledger keeps them

    def restart(self) -> None:
        """Another governor, with what the ledger kept of the last one."""
        states = {key: text for key, text in self.states.items() if text}
        self.core.restore_all()
        self.governor = Governor(self.policies, DirectActuator(self.core), self, states, plan=self.plan)

    def close(self) -> None:
        """Close its file: one for each example is more than a process may have open."""
        self.journal.close()

    def record(self, did: KnobChange) -> None:
        if (row := ledger_row(asdict(did))) is not None:
            self.rows.append(row)

    def act(self, observations: Sequence[Observation]) -> list[Action]:
        """A round of the governor: what the actuator did in it and since the last one, and what it refused."""
        refusals = self.governor.step(observations)
        self.core.tick()
        rows, self.rows = self.rows, []
        return rows + refusals

    def boot_ns(self) -> int:
        return int(self.t_s * NS)

    def utc_ns(self) -> int:
        return self.boot_ns()

    def sleep(self, seconds: float) -> None:
        self.t_s += seconds

    def locked(self) -> list[bool]:
        return [self.boards.state(d)["lock"] is not None for d in DEVICES]

    @property
    def is_locked(self) -> bool:
        return all(self.locked())

    @property
    def is_free(self) -> bool:
        return not any(self.locked())

    def observe(self, **changes: object) -> Observation:
        devices = tuple(
            replace(
                DeviceObservation(d, "NVIDIA H100 80GB HBM3", self.boot_ns(), 1005 if lock else 1980, event_reasons=0,
                                  gpu_percent=100, energy_uj=self.energy[d]),
                **changes,
            )
            for d, lock in zip(DEVICES, self.locked(), strict=True)
        )  # fmt: skip
        return Observation(
            self.group, self.boot_ns(), devices, WorkCounters(self.boot_ns(), tokens=self.work), True, "w", terms=self.terms
        )

    def step(self, seconds: int = 1, **changes: object) -> list[Action]:
        actions = []
        for _ in range(seconds):
            for d, lock in zip(DEVICES, self.locked(), strict=True):
                self.energy[d] += 300_000_000 if lock else 400_000_000
            self.work, self.t_s = self.work + 1000, self.t_s + 1
            actions += self.act([self.observe(**changes)])
        return actions


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    """In the mode enforce."""
    with closing(Bench(tmp_path, Mode.ENFORCE)) as loop_bench:
        yield loop_bench


@pytest.fixture
def proving(tmp_path: Path) -> Iterator[Bench]:
    """In the mode enforce, with pairs of blocks."""
    with closing(Bench(tmp_path, Mode.ENFORCE, PLAN)) as loop_bench:
        yield loop_bench


@pytest.mark.parametrize("mode", [Mode.OBSERVE, Mode.SHADOW])
def test_observe_and_shadow_write_nothing_and_in_shadow_a_policy_decides_in_full(tmp_path: Path, mode: Mode) -> None:
    bench = Bench(tmp_path, mode, PLAN)
    for second in range(85):
        assert bench.step() == []
        assert second < 5 or all(bool(view.wanted) == (mode is Mode.SHADOW) for view in bench.governor.views())
    assert bench.is_free
    views = bench.governor.views()
    assert {a for view in views for _, a, _ in view.decisions} == (set() if mode is Mode.OBSERVE else {"hold", "set"})
    assert not any(reason == "block_off" for view in views for _, _, reason in view.decisions)
    assert [view.device for view in views] == list(DEVICES)
    assert proof_of(bench, object) == []


def test_enforce_sets_the_group_keeps_the_lease_and_restores(bench: Bench) -> None:
    acted = bench.step(30)  # three times the lease's TTL
    assert [(a.device, a.action, a.outcome, a.workload) for a in acted] == [(d, "set", "ok: knee", "w") for d in DEVICES]
    assert bench.is_locked
    view = bench.governor.views()[0]
    assert (view.lease_active, view.setting) == (True, {"sm_clock_max_hertz": 1_005_000_000})
    acted = bench.step(1, event_reasons=0x40)
    assert [(a.action, a.outcome) for a in acted] == [("restore", "ok: hw_thermal_slowdown")] * 2
    assert bench.is_free
    bench.step(5)
    assert bench.is_locked
    bench.rows.clear()
    assert bench.governor.close() == []
    assert [(a.action, a.outcome) for a in bench.rows] == [("restore", "ok: closing")] * 2
    assert bench.is_free


def test_one_refused_device_releases_the_group_and_it_is_tried_again(bench: Bench) -> None:
    bench.boards.change("GPU-1", faults={"set_locked_sm_clocks_mhz": NO_PERMISSION})
    acted = bench.step(4)
    assert sorted((a.device, a.action, a.outcome.partition(":")[0]) for a in acted) == [
        ("GPU-0", "restore", "ok"), ("GPU-0", "set", "ok"), ("GPU-1", "refuse", "no_permission"), ("GPU-1", "restore", "ok"),
    ]  # fmt: skip
    assert {(a.policy, a.workload) for a in acted} == {("static", "w")}
    assert bench.is_free
    bench.boards.change("GPU-1", faults={})
    bench.step(6)
    assert bench.is_locked


@pytest.mark.parametrize("loss", ["frozen", "gone"])
def test_a_lost_lease_and_a_group_that_is_gone_are_recorded_and_taken_again(bench: Bench, loss: str) -> None:
    bench.step(4)
    if loss == "gone":
        acted = bench.act([])
        assert bench.governor.views()[0].decisions["static", "set", "knee"] == 1  # a hole does not make counters fall
    else:
        bench.t_s += 60  # the agent was frozen
        bench.core.tick()
        assert bench.is_free
        acted = bench.step(1)
    outcome = "ok: gone" if loss == "gone" else "ok: expired"
    assert [(a.policy, a.action, a.outcome, a.workload) for a in acted] == [("static", "restore", outcome, "w")] * 2
    assert bench.is_free
    bench.step(10)
    assert bench.is_locked


def test_lasting_refusal_is_recorded_once_and_retried_less_often(bench: Bench) -> None:
    asked: list[float] = []

    class Refusing(DirectActuator):
        def acquire(self, devices: Sequence[str], ttl_s: float = 10.0) -> str:
            asked.append(bench.t_s)
            raise ActuatorError("held", "GPU-1 is leased to somebody")

    bench.governor = Governor(bench.policies, Refusing(bench.core), bench)
    acted = bench.step(300)
    assert [(a.action, a.outcome.partition(":")[0], a.setting) for a in acted] == [
        ("refuse", "held", '{"sm_clock_max_mhz":1005}')
    ]
    gaps = [b - a for a, b in pairwise(asked)]
    assert gaps[:5] == [5, 10, 20, 40, 60]
    assert set(gaps[5:]) == {60}


def test_a_release_that_is_refused_ends_the_lease_and_is_recorded(bench: Bench) -> None:
    class Refusing(DirectActuator):
        def set(self, lease: str, device: str, setting: Setting, note: SettingNote) -> Effect:
            if setting == Setting():
                raise ActuatorError("hung", "the driver does not answer")
            return super().set(lease, device, setting, note)

    bench.governor = Governor(bench.policies, Refusing(bench.core), bench)
    bench.step(4)
    assert bench.is_locked
    acted = bench.step(1, event_reasons=0x40)
    assert ("GPU-0", "refuse", "hung: actuator: the driver does not answer") in {(a.device, a.action, a.outcome) for a in acted}
    assert [a.outcome for a in acted if a.action == "restore"] == ["ok: refused"] * 2
    assert bench.is_free
    bench.step(10)
    assert bench.is_locked


@pytest.mark.parametrize("later", ["job", "next"])
def test_foreign_change_pauses_steering_for_a_while(bench: Bench, later: str) -> None:
    """A reset lock shows only in the clock, within seconds; the governor then releases the rest of the group too.

    The GPUs are left alone whatever group they are in, also after a round without any.
    """
    bench.step(4)
    bench.boards.change("GPU-0", lock=None)
    acted = bench.step(6)
    assert {(a.device, a.action, a.outcome) for a in acted} == {(d, "restore", "ok: foreign_change") for d in DEVICES}
    assert bench.act([]) == []
    bench.group = later
    assert bench.step(880) == []
    assert bench.is_free
    assert [a.action for a in bench.step(30)] == ["set", "set"]


@given(st.lists(st.sampled_from(["", "a", "b", "a/b"]), min_size=1, max_size=12), st.sampled_from([1, 4000]))
def test_a_device_is_shown_once_whatever_its_groups_are_called_and_counts_on(names: list[str], gap_s: int) -> None:
    """A workload that uses a GPU before its first report is one group; once it reports its job name, it is another group."""
    with TemporaryDirectory() as folder, closing(Bench(Path(folder), Mode.SHADOW)) as bench:
        counted: Counter[tuple[str, str, str]] = Counter()
        rounds = 0
        for name in names:
            observation = bench.observe()
            alone = [
                replace(observation, group=one, devices=(observation.devices[n],)) for n, one in enumerate(name.split("/"))
            ]
            bench.governor.step([] if not name else alone if "/" in name else [replace(observation, group=name)])
            views = {view.device: view for view in bench.governor.views()}
            assert len(bench.governor.views()) == len(views)
            here = {d: name.split("/")[n if "/" in name else 0] for n, d in enumerate(DEVICES)} if name else {}
            assert {d: v.facts["group"] for d, v in views.items() if v.facts} == here
            told_of = {d: len(BY_NAME["dvfs_group_info"].read([((), v)])) for d, v in views.items()}
            assert told_of == {d: int(d in here) for d in views}
            now = sum((Counter(view.decisions) for view in views.values()), Counter())
            rounds += 2 * bool(name)
            assert now >= counted
            assert now.total() == rounds
            counted = now
            bench.t_s += gap_s


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"sm_clock_mhz": 1500}, {"clock_above_lock"}),
        ({"sm_clock_mhz": 800, "event_reasons": 0x4}, {"sw_power_cap"}),
        ({}, set()),
        ({"sm_clock_mhz": 345, "gpu_percent": 0}, set()),
    ],
)
def test_ineffective_settings_are_counted(bench: Bench, changes: dict[str, object], why: set[str]) -> None:
    bench.step(3)
    bench.step(5, **changes)
    assert set(bench.governor.views()[0].ineffective) == why


@pytest.mark.parametrize(("reason", "counts"), [("probe", False), ("hold", True)])
def test_a_probe_above_what_the_power_limit_permits_is_no_ineffective_setting(bench: Bench, reason: str, counts: bool) -> None:
    def decide(observation: Observation, state: None, _config: object) -> tuple[Decision, None]:
        return Decision("set", reason, dict.fromkeys(DEVICES, Setting(1500))), state

    policy = DvfsPolicy("", {}, lambda *_: None, lambda: None, decide)
    bench.governor = Governor({"static": ConfiguredPolicy(policy)}, DirectActuator(bench.core), bench)
    bench.step(8, sm_clock_mhz=1200, event_reasons=0x4)
    assert set(bench.governor.views()[0].ineffective) == ({"sw_power_cap"} if counts else set())
    bench.step(2, sm_clock_mhz=1700, event_reasons=0x4)
    assert "clock_above_lock" in bench.governor.views()[0].ineffective


PLAN = ExperimentPlan(5, 4, 10, 3)
"""Pairs follow each other, and are analysed once."""


def prove(bench: Bench) -> None:
    """Steer until the first analysis."""
    while not proof_of(bench, Analysis):
        bench.step()


def proof_of(bench: Bench, kind: type) -> list:
    """Its rows so far."""
    rows, states = bench.governor.take_proof(everything=True)
    bench.proof += rows
    bench.states |= states
    return [row for row in bench.proof if isinstance(row, kind)]


def test_paired_blocks_prove_the_saving(proving: Bench) -> None:
    proving.step(60)
    early = proving.governor.views()[0]  # nothing is claimed before the analysis
    assert (early.saved_uj, early.saving, early.slowdown) == (None, None, None)
    proving.step(50)
    (analysis,) = proof_of(proving, Analysis)
    assert (analysis.group, analysis.workload, analysis.policy, analysis.pairs) == ("job", "w", "static", 4)
    assert analysis.claimed_uj > 0
    view = proving.governor.views()[0]
    assert view.saving.value == pytest.approx(0.25, abs=1e-6)  # each board draws 300 W under the lock and 400 W without
    assert view.slowdown.low <= 0 <= view.slowdown.high < 0.02  # and does the same work
    assert (view.slowdown_of, view.slowdown_ratio) == ("time_per_work", proving.terms.slowdown_ratio)
    assert sum(v.saved_uj for v in proving.governor.views()) == analysis.claimed_uj
    assert view.extra_uj == 0
    assert proving.is_locked
    proving.step(10)
    assert proving.governor.views()[0].saved_uj == view.saved_uj, "nothing is extrapolated"


def test_a_pair_in_which_the_policy_lets_go_is_excluded(proving: Bench) -> None:
    proving.step(20)
    proving.step(8, event_reasons=0x20)  # the policy lets go
    proving.step(120)
    pairs = proof_of(proving, PairedBlocks)
    assert sorted(pair.excluded for pair in pairs) == ["", "", "", "the setting was not as planned"]
    assert {round(pair.treatment_uj / pair.control_uj, 6) for pair in pairs if not pair.excluded} == {0.75}


def test_a_group_that_has_other_devices_gives_the_old_ones_back_and_measures_afresh(proving: Bench) -> None:
    proving.step(45)
    while not proving.is_locked:
        proving.step()
    whole = proving.observe()
    proving.rows.clear()
    acted = proving.act([replace(whole, devices=whole.devices[:1])])
    assert sorted((a.device, a.action, a.outcome) for a in acted) == [(d, "restore", "ok: regrouped") for d in DEVICES]
    assert proving.is_free
    assert [(view.device, view.facts) for view in proving.governor.views() if not view.facts] == [(DEVICES[1], {})]
    prove(proving)  # both again: the second GPU reaches the counters' total at once, so that energy does not belong to a block
    assert proving.governor.views()[0].saving.value == pytest.approx(0.25, abs=1e-6)
    while not proving.is_locked:
        proving.step()  # all of them are set again


def test_what_was_proven_stays_with_the_group_that_proved_it(proving: Bench) -> None:
    prove(proving)
    saved_uj = {view.device: view.saved_uj for view in proving.governor.views()}
    assert min(saved_uj.values()) > 0
    whole = proving.observe()
    proving.governor.step([replace(whole, devices=whole.devices[:1])])
    later = [replace(whole, group="next", devices=whole.devices[1:])]
    proving.governor.step([replace(whole, devices=whole.devices[:1]), *later])
    views = {view.device: view for view in proving.governor.views()}
    assert {device: view.saved_uj for device, view in views.items()} == saved_uj
    users = {DEVICES[0]: ("w",), DEVICES[1]: ("other",)}
    others = describe_steering("other", list(views.values()), users, (), None)
    assert (others["group"], [device["uuid"] for device in others["devices"]]) == ("next", [DEVICES[1]])
    assert "saved_joules" not in others  # it is not what this workload saved
    assert describe_steering("w", list(views.values()), users, (), None)["saved_joules"] > 0


@pytest.mark.parametrize("stopped", [True, False])
def test_a_restart_goes_on_with_the_proof(proving: Bench, stopped: bool) -> None:
    proving.step(50)
    before = proof_of(proving, PairedBlocks)
    assert before
    if stopped:
        proving.governor.close()
        proof_of(proving, PairedBlocks)
    proving.restart()
    prove(proving)
    pairs = proof_of(proving, PairedBlocks)
    assert [pair.number for pair in pairs] == [0, 1, 2, 3]
    assert {pair.since_ns for pair in pairs} == {before[0].since_ns}
    claimed = {view.device: view.saved_uj for view in proving.governor.views()}
    proving.restart()
    assert {view.device: view.saved_uj for view in proving.governor.views()} == claimed, "before any group is seen"
    proving.step()
    assert {view.device: view.saved_uj for view in proving.governor.views()} == claimed


def test_a_state_that_cannot_be_read_is_removed_with_a_message(proving: Bench, caplog: pytest.LogCaptureFixture) -> None:
    proving.states = {"group job": "{", "ended": "[]"}
    proving.restart()
    assert len(caplog.records) == 2
    _, states = proving.governor.take_proof()
    assert states == {"group job": "", "ended": ""}
    prove(proving)


def test_a_group_that_is_gone_for_an_hour_ends_its_proof(tmp_path: Path) -> None:
    bench = Bench(tmp_path, Mode.ENFORCE, replace(PLAN, pairs=None))
    bench.step(90)
    assert not proof_of(bench, Analysis)
    for _ in range(130):
        bench.t_s += 30
        bench.governor.step([])
    (analysis,) = proof_of(bench, Analysis)
    assert analysis.pairs >= 3
    assert sum(view.saved_uj for view in bench.governor.views()) == analysis.claimed_uj > 0
    assert bench.states["group job"] == ""
    bench.restart()
    bench.step()
    assert sum(view.saved_uj for view in bench.governor.views()) == analysis.claimed_uj, "what has ended is kept"


def test_devices_pass_between_groups_without_a_refusal(bench: Bench) -> None:
    """For example, a workload reports its job name just after it took its GPUs, or one workload passes a GPU to another."""

    def round_of(*names: str) -> list[str]:
        bench.t_s += 1
        observation = bench.observe()
        devices = [observation.devices] if len(names) == 1 else [(device,) for device in observation.devices]
        return [
            a.action for a in bench.act([replace(observation, group=g, devices=d) for g, d in zip(names, devices, strict=True)])
        ]

    bench.step(4)
    whole = bench.observe()
    passed = [(a.action, a.outcome) for a in bench.act([replace(whole, group="job:x")])]
    assert passed == [("restore", "ok: gone")] * 2
    assert [a for _ in range(6) for a in round_of("job:x")] == ["set", "set"]
    assert bench.is_locked
    assert round_of("a", "job:x") == ["restore", "restore"]
    assert [a for _ in range(6) for a in round_of("a", "job:x")] == ["set", "set"]


def test_a_policy_that_fails_lets_go_of_its_group_is_named_and_begins_anew(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    failing = [False]

    def decide(observation: Observation, state: object, config: object) -> tuple[Decision, object]:
        if failing[0]:
            raise ZeroDivisionError("no steps")
        return SPEC.decide(observation, state, config)

    broken = replace(bench.policies["static"], policy=replace(SPEC, decide=decide))
    bench.governor = Governor({"static": broken}, DirectActuator(bench.core), bench)
    bench.step(5)
    assert bench.is_locked
    failing[0] = True
    acted = bench.step(3)
    assert [(a.action, a.outcome) for a in acted] == [("restore", "ok: policy_failed")] * 2
    assert bench.governor.failures == {"job": "policy static failed: ZeroDivisionError: no steps"}
    assert caplog.text.count("policy static of group job failed") == 1
    failing[0] = False
    bench.step(5)
    assert (bench.locked(), bench.governor.failures) == ([True, True], {})


def test_a_saving_is_predicted_only_where_nothing_is_applied(bench: Bench) -> None:
    promise = Prediction({}, 0.2, 0.1, 0.3)
    static = replace(bench.policies["static"], policy=replace(SPEC, predict=lambda *_: promise))
    for mode, expected in ((Mode.SHADOW, promise), (Mode.ENFORCE, None), (Mode.SHADOW, promise)):
        group = GovernedGroup()
        group.decide(Observation("job", 0, (), terms=SteeringSettings(mode, ("static",))), {"static": static})
        assert group.policies["static"].promise == expected


def test_the_clock_of_a_policy_for_an_slo_is_not_lowered_by_one_for_efficiency() -> None:
    def wanting(kind: str, mhz: int | None) -> ConfiguredPolicy:
        settings = {d: Setting(sm_clock_max_mhz=mhz) for d in DEVICES}
        decision = Decision("release", "x") if mhz is None else Decision("set", "x", settings)
        return ConfiguredPolicy(replace(SPEC, kind=kind, decide=lambda *_: (decision, None)))

    observation = Observation("g", NS, tuple(DeviceObservation(d, "sku", NS) for d in DEVICES), None, False)
    observation = replace(observation, terms=SteeringSettings(Mode.ENFORCE, ("a", "b")))
    for mhz, wanted in ((1500, {d: Setting(sm_clock_max_mhz=1500) for d in DEVICES}), (None, {})):
        group = GovernedGroup()
        group.decide(observation, {"a": wanting(slo.SPEC.kind, mhz), "b": wanting(SPEC.kind, 1005)})
        group.arbitrate(observation, {}, paused=False)
        assert group.wanted == wanted


class TwoGroups(Bench):
    """Each device is a group of its own; the actuator's answer for GPU-0 can be broken."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, Mode.ENFORCE)
        self.broken = False
        direct, bench = DirectActuator(self.core), self

        class Half:
            acquire, heartbeat = direct.acquire, direct.heartbeat
            release, status = direct.release, direct.status

            def set(self, lease: str, device: str, setting: Setting, note: SettingNote) -> Effect:
                effect = direct.set(lease, device, setting, note)
                if bench.broken and device == DEVICES[0]:
                    raise ValueError("an invalid reply")
                return effect

        self.governor = Governor(self.policies, Half(), self)

    def round(self, names: Sequence[str] = DEVICES) -> None:
        self.t_s += 1
        observation = self.observe()
        groups = [
            replace(observation, group=name, devices=(device,)) for name, device in zip(names, observation.devices, strict=True)
        ]
        self.governor.step(groups)
        self.core.tick()


def test_a_group_that_fails_is_released_and_named_and_the_others_go_on(tmp_path: Path) -> None:
    bench = TwoGroups(tmp_path)
    bench.broken = True
    for _ in range(20):
        bench.round()
        assert not bench.locked()[0]
        assert bench.governor.failures.keys() <= {DEVICES[0]}
    assert bench.locked() == [False, True]
    views = {view.device: view for view in bench.governor.views()}
    assert [views[device].lease_active for device in DEVICES] == [False, True]
    bench.broken = False
    for _ in range(70):  # it is tried again after a while
        bench.round()
    assert (bench.locked(), bench.governor.failures) == ([True, True], {})


@given(st.lists(st.sampled_from(["same", "a", "b"]), min_size=2, max_size=2), st.integers(1, 4))
def test_duplicate_group_names_fail_until_they_differ(names: list[str], rounds: int) -> None:
    with TemporaryDirectory() as folder, closing(TwoGroups(Path(folder))) as bench:
        for _ in range(rounds):
            bench.round(names)
            assert bench.governor.failures.keys() == (set(names) if len(set(names)) == 1 else set())
        bench.round()
        assert bench.governor.failures == {}


@pytest.mark.parametrize("restored_s", [0, 1, 2, 3, 9])
def test_a_governor_that_starts_over_a_limit_of_its_predecessor_refers_to_the_original_one(
    tmp_path: Path, restored_s: int
) -> None:
    """The predecessor was killed with 400 of 700 W applied; its lease ends some rounds after the start of the next governor."""
    bench = Bench(tmp_path, Mode.ENFORCE)
    limits = DeviceLimits(frozenset({"power"}), None, None, None)
    journal = ActuatorJournal(tmp_path / "power")
    bench.core = core_of(bench.boards, journal, limits, bench.boot_ns, grace_s=restored_s + 0.5)
    before = DirectActuator(bench.core, 1)
    lease = before.acquire(DEVICES)
    for device in DEVICES:
        before.set(lease, device, Setting(None, 400_000))
    bench.core.closed(1)
    limit_rows: list[list[int | None]] = []

    def note(observation: Observation, state: object, _config: object) -> tuple[Decision, object]:
        limit_rows.append(observation.original_limits_mw())
        return Decision("hold", "looking"), state

    policies = {"static": ConfiguredPolicy(replace(SPEC, decide=note), bench.policies["static"].config)}
    bench.governor = Governor(policies, DirectActuator(bench.core, 2), bench)
    for _ in range(8):
        bench.t_s += 1
        observation = bench.observe()
        limits_mw = [bench.boards.state(device)["limit"] for device in DEVICES]
        late = tuple(
            replace(one, power_limit_mw=limit, boot_ns=bench.boot_ns() - NS // 2)
            for one, limit in zip(observation.devices, limits_mw, strict=True)
        )
        bench.core.tick()  # readings are older than what the actuator has done since
        bench.governor.step([replace(observation, devices=late)])
    complete_rows = [limits for limits in limit_rows if None not in limits]
    assert complete_rows
    assert {tuple(limits) for limits in complete_rows} == {(700_000, 700_000)}
