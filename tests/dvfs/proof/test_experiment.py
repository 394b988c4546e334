"""An experiment on worlds whose truth is known: blocks are cut at whole work, every joule is claimed once or not at all."""

import random
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dvfs.proof.experiment import EnergyReading, Experiment, ExperimentState, Round, Subject, WorkReading, work_of
from dvfs.proof.plan import ExperimentPlan
from dvfs.types import WorkCounters
from energy_agent.core.proof import Analysis, PairedBlocks, ProofRow

NS = 1_000_000_000
T0 = int(datetime(2026, 8, 1, tzinfo=UTC).timestamp()) * NS
SUBJECT = Subject("job", "w", "static", "team")
QUICK = ExperimentPlan(5, None, 8.0, 2.0, 20.0)


@dataclass
class World:
    """A job of two boards: each joule without the setting does the same work as `1 - saving` joules with it."""

    experiment: Experiment
    saving: Callable[[float], float] = lambda _: 0.25
    step_s: float = 1.0  # of one unit of work, whether the setting is on or not
    noise: float = 0.0
    stuck: bool = False  # no work ends
    t_s: float = 0.0
    uj: int = 0
    saved_uj: float = 0.0
    enforced_uj: int = 0  # between two rounds with the setting
    was_on: bool = False
    off_s: float = 0.0
    rows: list[ProofRow] = field(default_factory=list)
    draw: random.Random = field(default_factory=lambda: random.Random(1))

    def round(self, seconds: float = 1.0, **changes: object) -> list[ProofRow]:
        on = not self.experiment.is_paused
        share = self.saving(self.t_s) if on else 0.0
        gained = round(400e6 * (1 - share) * seconds * (1 + self.draw.gauss(0, self.noise)))
        self.t_s, self.uj = self.t_s + seconds, self.uj + gained
        if on:
            self.saved_uj += gained * share / (1 - share)
        else:
            self.off_s += seconds
        steps = 0 if self.stuck else int(self.t_s / self.step_s)
        halves = {"GPU-0": gained // 2, "GPU-1": gained - gained // 2} if on else {}
        now = int(self.t_s * NS)
        work = WorkReading(int(steps * self.step_s * NS), steps)
        reading = replace(Round(now, T0 + now, on, halves, EnergyReading(now, self.uj), work), **changes)
        self.enforced_uj += sum(reading.enforced_uj.values()) if self.was_on and reading.steered else 0
        self.was_on = reading.steered is True
        rows = self.experiment.feed(reading, SUBJECT)
        self.rows += rows
        return rows

    def run(self, seconds: float) -> "World":
        while seconds > 0:
            self.round()
            seconds -= 1
        return self

    def until(self, condition: Callable[[], object], **changes: object) -> "World":
        while not condition():
            self.round(**changes)
        return self

    def pairs(self) -> list[PairedBlocks]:
        return [row for row in self.rows if isinstance(row, PairedBlocks)]

    def analyses(self) -> list[Analysis]:
        return [row for row in self.rows if isinstance(row, Analysis)]


def world(plan: ExperimentPlan = QUICK, **changes: object) -> World:
    return World(Experiment(plan, ExperimentState(T0, False, "")), **changes)


def test_what_is_saved_is_claimed_at_the_analysis_and_not_before() -> None:
    sim = world()
    while not sim.analyses():
        assert sim.experiment.state.verdict is None
        assert sim.experiment.state.claimed_uj.total() == 0
        sim.round()
    (first,) = sim.analyses()
    assert (first.pairs, first.excluded, first.number, first.reason) == (12, 0, 1, "")
    assert sim.experiment.state.verdict.saving_ratio.value == pytest.approx(0.25, abs=1e-6)
    assert 0 <= sim.enforced_uj - first.covered_uj < 2 * 400e6, "but what waits for the next step"
    assert first.saved_uj == pytest.approx(first.covered_uj / 3, rel=1e-6)
    assert 0.9 * sim.saved_uj < first.claimed_uj == sim.experiment.state.claimed_uj.total() < sim.saved_uj
    assert sim.off_s < 12 * 10
    assert (first.slowdown_ppm, first.slowdown_of) == (0, "time_per_work")
    claimed_uj = dict(sim.experiment.state.claimed_uj)
    assert claimed_uj["GPU-0"] == pytest.approx(claimed_uj["GPU-1"], rel=1e-6), "shares follow the energy"
    sim.run(15)
    assert sim.experiment.state.claimed_uj == claimed_uj, "nothing is extrapolated"


@settings(max_examples=20)
@given(st.floats(0.2, 30.0), st.floats(-0.1, 0.4))
def test_a_block_holds_whole_steps_however_long_they_are(step_s: float, saving: float) -> None:
    """Cut at the clock, one block would hold one step of 25 s and the next one none."""
    sim = world(ExperimentPlan(5, 6, 30.0, 4.0), saving=lambda _: saving, step_s=step_s)
    sim.run(2500)
    used = [row for row in sim.pairs() if not row.excluded]
    assert len(used) == 6
    for row in used:
        assert row.control_uj / row.control_work == pytest.approx(400e6 * step_s, rel=1e-3)
        assert row.treatment_uj / row.treatment_work == pytest.approx(400e6 * step_s * (1 - saving), rel=1e-3)
        assert row.treatment_ns / row.treatment_work == pytest.approx(step_s * NS, rel=1e-6)


def test_a_block_without_work_goes_on_for_a_while_and_is_then_excluded_with_the_reason() -> None:
    sim = world(stuck=True)
    sim.run(300)
    assert sim.pairs()
    assert {row.excluded for row in sim.pairs()} == {"no work ended in a block"}
    assert sim.experiment.state.claimed_uj.total() == 0
    sim.stuck = False
    sim.run(800)
    last = sim.analyses()[-1]
    assert last.excluded >= 1
    assert last.covered_uj == sum(row.enforced_uj for row in sim.pairs() if not row.excluded and row.t_ns <= last.t_ns)


@settings(max_examples=20)
@given(st.integers(0, 2**32), st.booleans())
def test_every_joule_under_the_setting_is_in_one_period(seed: int, odd: bool) -> None:
    draw = random.Random(seed)
    sim = world(saving=lambda t: 0.2 if t < 300 else -0.1, noise=0.01)
    sim.draw = draw
    while len(sim.analyses()) < 3:
        if odd and draw.random() < 0.005:
            sim.experiment.interrupt("other devices")
        sim.round(enforced_uj={}) if odd and draw.random() < 0.01 else sim.round()
    periods, last = sim.pairs(), sim.analyses()[-1]
    assert 0 <= sim.enforced_uj - sum(row.enforced_uj for row in periods) < 20 * 400e6
    assert [row.number for row in periods] == list(range(len(periods)))
    assert last.covered_uj == sum(row.enforced_uj for row in periods if not row.excluded)
    assert sum(row.claimed_uj for row in sim.analyses()) == sim.experiment.state.claimed_uj.total() == max(0, last.low_uj)
    assert sum(row.lost_uj for row in sim.analyses()) == sim.experiment.state.lost_uj.total() == max(0, -last.saved_uj)


def test_a_claim_falls_when_the_saving_turns() -> None:
    """A saving of 30 % for half an hour, then a loss of 2 % for three hours: what is claimed follows what is true."""
    sim = world(ExperimentPlan(1, None, 12.0, 2.0, 60.0), saving=lambda t: 0.30 if t < 1800 else -0.02, noise=0.01)
    claims = []
    for _ in range(12_000):
        if any(isinstance(row, Analysis) for row in sim.round()):
            claims.append(sim.experiment.state.claimed_uj.total())
            assert claims[-1] <= sim.saved_uj
    assert max(claims) > claims[-1]
    assert min(row.claimed_uj for row in sim.analyses()) < 0, "an adjustment that withdraws savings"


def test_no_analysis_is_skipped_by_a_gap() -> None:
    sim = world()
    sim.until(lambda: len(sim.pairs()) >= 11)
    sim.t_s += 4000  # no round for more than an hour
    sim.run(100)
    assert [row.number for row in sim.analyses()] == [1]
    assert sim.analyses()[0].pairs == 12


def test_energy_around_a_minute_without_readings_is_not_claimed() -> None:
    """Steps of 30 s end before and after 61 s without a round: energy since the last step that was seen is unproven."""
    sim = world(step_s=30.0).run(30)
    proven_uj = sim.enforced_uj
    sim.run(15).round(61.0)
    unproven_uj = sim.enforced_uj - proven_uj
    sim.run(14)
    claimable_uj = sim.enforced_uj - unproven_uj
    assert sim.experiment.state.period.enforced_uj.total() == claimable_uj > proven_uj


def test_a_pair_that_is_disturbed_is_begun_again_and_given_up_in_the_end() -> None:
    sim = world()
    disturbed = 0
    while not sim.pairs():
        sim.round()
        if sim.experiment.is_measuring and disturbed < 2:
            disturbed += 1
            sim.experiment.interrupt("other devices")
            assert not sim.experiment.is_measuring
            assert not sim.experiment.is_paused
    assert (sim.pairs()[0].excluded, disturbed) == ("", 2)
    while len(sim.pairs()) < 2:
        sim.round()
        sim.experiment.interrupt("other devices")
    assert sim.pairs()[1].excluded == "other devices"


def test_a_setting_that_is_not_as_planned_spoils_the_pair() -> None:
    sim = world()
    sim.until(lambda: sim.experiment.is_measuring)
    for _ in range(4):
        sim.round(steered=None)
    assert not sim.experiment.is_measuring
    sim.run(100)
    assert sim.pairs()[0].excluded == "the setting was not as planned"
    assert sim.pairs()[1].excluded == ""


def test_a_counter_that_falls_or_stops_never_makes_a_pair() -> None:
    for stop in ("falls", "stops"):
        sim = world()
        while not sim.experiment.is_paused:
            sim.round()
        for _ in range(5):
            sim.round()
        begun = sim.t_s
        sim.uj = 0 if stop == "falls" else sim.uj
        while not sim.pairs():
            sim.round(**({"energy": None} if stop == "stops" and sim.t_s < begun + 300 else {}))
        row = sim.pairs()[0]
        assert row.excluded or row.control_uj == pytest.approx(400e6 * row.control_ns / NS, rel=0.01)


@settings(max_examples=15)
@given(st.integers(0, 2**32))
def test_an_experiment_goes_on_from_its_stored_state(seed: int) -> None:
    """Stored and loaded between two rounds, however often, it measures the same pairs, and represents no more energy."""
    draw = random.Random(seed)
    whole, parted = world(noise=0.01), world(noise=0.01)
    for _ in range(600):
        whole.round()
        if parted.t_s and not parted.experiment.is_measuring and draw.random() < 0.1:
            last_ns = parted.t_s
            parted.experiment = Experiment.load(parted.experiment.dump(), QUICK)
            parted.experiment.feed(Round(int(last_ns * NS), T0 + int(last_ns * NS), None), SUBJECT)
        parted.round()
    pairs = zip(parted.pairs(), whole.pairs(), strict=True)
    assert all(replace(p, enforced_uj=0) == replace(w, enforced_uj=0) and p.enforced_uj <= w.enforced_uj for p, w in pairs)
    assert parted.experiment.state.claimed_uj.total() <= 1.01 * whole.experiment.state.claimed_uj.total()


def test_a_block_under_way_is_begun_again_after_a_restart() -> None:
    sim = world()
    sim.until(lambda: sim.experiment.is_paused)
    sim.experiment = Experiment.load(sim.experiment.dump(), QUICK)
    assert not sim.experiment.is_measuring
    sim.run(900)
    assert sim.analyses()[0].pairs == 12
    assert sum(row.enforced_uj for row in sim.pairs()) <= sim.enforced_uj


@pytest.mark.parametrize("text", ["", "{}", "[]", "null", '{"since_ns": 1}', '{"since_ns": "x"}', "[" * 5000])
def test_a_state_that_is_damaged_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        Experiment.load(text, QUICK)


def test_a_quarter_keeps_its_claim_and_the_next_one_begins_anew() -> None:
    start = int(datetime(2026, 9, 30, 23, 52, tzinfo=UTC).timestamp()) * NS
    sim = World(Experiment(QUICK, ExperimentState(start, False, "")))
    for _ in range(1200):
        now = int((sim.t_s + 1) * NS)
        sim.round(utc_ns=start + now)
    of_quarter: dict[int, int] = {}
    for row in sim.analyses():
        of_quarter[row.since_ns] = of_quarter.get(row.since_ns, 0) + row.claimed_uj
    old, new = sorted(of_quarter)
    assert old == start
    assert datetime.fromtimestamp(new / NS, UTC) >= datetime(2026, 10, 1, tzinfo=UTC)
    assert of_quarter[old] > 0
    assert of_quarter[new] > 0
    assert sum(of_quarter.values()) == sim.experiment.state.claimed_uj.total()
    last = [row for row in sim.analyses() if row.since_ns == old][-1]
    assert last.covered_uj <= 400e6 * 482


def test_an_experiment_that_ends_analyses_what_is_left() -> None:
    sim = world().run(160)
    assert not sim.analyses()
    rows = sim.experiment.close(T0, SUBJECT)
    (last,) = (row for row in rows if isinstance(row, Analysis))
    assert last.pairs == len([row for row in sim.rows + rows if isinstance(row, PairedBlocks) and not row.excluded]) > 4
    assert last.claimed_uj > 0
    assert sim.experiment.close(T0, SUBJECT) == []


def test_work_is_dated_by_the_end_of_the_last_step() -> None:
    assert work_of(WorkCounters(9 * NS, steps=4, step_end_ns=7 * NS)) == WorkReading(7 * NS, 4, unit="steps")
    assert work_of(WorkCounters(9 * NS, tokens=4)) == WorkReading(9 * NS, 4, unit="tokens")
    timed = WorkCounters(9 * NS, tokens=4, latency_sum_s=0.5, latency_count=3)
    assert work_of(timed) == WorkReading(9 * NS, 4, 500_000, 3, "tokens")
    assert work_of(WorkCounters(9 * NS)) is work_of(None) is None


def test_energy_of_a_cap_without_a_policy_is_not_claimed() -> None:
    """A cap stays applied all the time: what it takes while no policy steers is not under the policy's setting."""
    sim = world()
    while not sim.analyses():
        sim.round(steered=None if sim.t_s % 200 > 100 and not sim.experiment.is_measuring else not sim.experiment.is_paused)
    assert sim.experiment.state.claimed_uj.total() < sim.saved_uj / 1.5


def test_energy_of_a_pause_is_not_claimed() -> None:
    """A job trains for 200 s and evaluates for 100 s, in which the setting costs energy: only training is claimed."""
    sim = world(saving=lambda t: 0.2 if t % 300 < 200 else -0.3)
    trained = 0.0
    while len(sim.analyses()) < 4:
        pauses = sim.t_s % 300 >= 200
        done = int(trained)
        before = sim.uj
        sim.round(work=WorkReading(int(sim.t_s * NS), done))
        trained += 0 if pauses else 1
        assert sim.uj > before
    covered = sim.analyses()[-1].covered_uj
    assert covered < sim.enforced_uj * 0.75
    assert sim.analyses()[-1].saved_uj == pytest.approx(covered * 0.25, rel=0.1)


def test_numbers_that_no_ledger_stores_make_no_pair() -> None:
    sim = world()
    while len(sim.pairs()) < 3:
        t_ns, huge = int((sim.t_s + 1) * NS), int(1e16 * (sim.t_s + 1))
        sim.round(work=WorkReading(t_ns, int(sim.t_s), huge * 1000, int(sim.t_s)))
    for row in sim.rows:
        assert max(value for value in asdict(row).values() if isinstance(value, int)) < 1 << 63


def test_counts_of_another_thing_are_no_work_of_a_pair_and_a_minute_in_another_quarter_is_no_quarter() -> None:
    sim = world()
    for i in range(300):
        sim.round(work=WorkReading(int((sim.t_s + 1) * NS), i, unit="steps" if sim.experiment.is_paused else "tokens"))
    assert not [row for row in sim.pairs() if not row.excluded]
    for _ in range(60):
        sim.round(utc_ns=T0 + 200 * 86_400 * NS)
    sim.run(100)
    assert {row.since_ns for row in sim.rows} == {T0}


@given(st.lists(st.floats(0.2, 2.5), min_size=3, max_size=12), st.floats(1e-9, 0.3))
def test_any_pairs_give_a_verdict_that_a_ledger_stores(ratios: list[float], spread: float) -> None:
    sim = world()
    sim.draw = random.Random(repr(ratios))
    saving = [1 - ratio for ratio in ratios]
    sim.saving = lambda t: saving[int(t / 20) % len(saving)] + spread * sim.draw.random()
    for _ in range(320):
        sim.round()
    for row in sim.rows:
        assert max(abs(value) for value in asdict(row).values() if isinstance(value, int)) < 1 << 63
