"""One experiment: runs the blocks of a plan, measures them, and analyses what they prove. Pure.

The clock of an experiment advances while the setting is applied or a block is measured, so time without steering is neither
claimed nor waited for. Blocks start and end at readings of the work counter, where the number of steps or tokens is exact; the
energy counter is interpolated there. A block in which no work completes is extended. A disturbed pair is repeated within its
period. A period without a usable pair is recorded with the reason, and its energy is not claimed.

An experiment ends with the calendar quarter (UTC), so a later quarter never changes the claim of an earlier one.
"""

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from itertools import pairwise
from typing import Final

from pydantic import TypeAdapter

from dvfs.proof.estimate import MeasuredBlock, PairSums, Verdict, estimate
from dvfs.proof.plan import ExperimentPlan
from dvfs.types import WorkCounters
from energy_agent.core.curve import CumulativeCurve
from energy_agent.core.interval import ConfidenceInterval
from energy_agent.core.proof import Analysis, PairedBlocks, ProofRow
from energy_agent.core.units import NS_PER_S, split_integer

_MAX_EXTENSION: Final = 10  # of a block, relative to its planned duration
_MAX_ROUND_NS: Final = 60 * NS_PER_S  # in a longer interval between rounds the applied setting is unknown
_MAX_INTERPOLATION_NS: Final = 5 * NS_PER_S  # between the two energy readings around a cut
_MAX_ATTEMPTS: Final = 3
_MAX_PPM: Final = 10**12
_MAX_COUNT: Final = (1 << 63) - 1  # that the ledger stores
_MIN_PAUSE_NS: Final = 10 * NS_PER_S  # without work, which is not an interval between two steps
_PAUSE: Final = 3  # a longer pause, as a multiple of the typical interval between two readings of new work
_QUARTER_NS: Final = 300 * NS_PER_S  # of another quarter before a new experiment starts: UTC may be set by mistake


@dataclass(frozen=True, slots=True)
class EnergyReading:
    """Value of a cumulative energy counter at a boot time."""

    t_ns: int
    uj: int


@dataclass(frozen=True, slots=True)
class WorkReading:
    """Cumulative work of a group at a boot time. `itl_count` is 0 if the engine reports no inter-token latencies."""

    t_ns: int
    work: int
    itl_us: int = 0
    itl_count: int = 0
    unit: str = ""


@dataclass(frozen=True, slots=True)
class Round:
    """Measurements of a group in one round of the governor.

    Args:
        boot_ns: boot time.
        utc_ns: UTC.
        steered: True: a policy is active and its setting is applied; False: the setting is suspended for a control block;
            None: anything else.
        enforced_uj: energy since the last round, by device, of the devices with an applied setting.
        energy: energy counter of all devices together.
        work: last reading of the work.
    """

    boot_ns: int
    utc_ns: int
    steered: bool | None
    enforced_uj: Mapping[str, int] = field(default_factory=dict)
    energy: EnergyReading | None = None
    work: WorkReading | None = None


@dataclass(frozen=True, slots=True)
class Subject:
    """The group that an experiment measures."""

    group: str
    workload: str = ""
    policy: str = ""
    owner: str = ""


@dataclass(slots=True)
class _OpenBlock:
    """A block in progress."""

    is_treatment: bool
    start_ns: int
    unit: str | None = None  # of the work of the pair
    energy: CumulativeCurve = field(default_factory=CumulativeCurve)
    work: list[WorkReading] = field(default_factory=list)

    def add(self, energy: EnergyReading | None, work: WorkReading | None) -> bool:
        """Add new readings; False if a counter decreased or counts something else."""
        if work is not None:
            if self.unit is not None and work.unit != self.unit:
                return False
            self.unit = work.unit
        if energy is not None and self.energy.at_ns[-1:] < [energy.t_ns]:
            self.energy.add(energy.t_ns, energy.uj)
        if work is not None and (not self.work or work.t_ns > self.work[-1].t_ns):
            self.work.append(work)
        return all(after >= before for before, after in pairwise(self.energy.totals[-2:])) and all(
            b.work >= a.work and b.itl_us >= a.itl_us and b.itl_count >= a.itl_count for a, b in pairwise(self.work[-2:])
        )


@dataclass(slots=True)
class _Period:
    """The current period."""

    elapsed_ns: int = 0
    enforced_uj: Counter[str] = field(default_factory=Counter)
    attempts: int = 0
    treatment: MeasuredBlock | None = None
    control: MeasuredBlock | None = None
    excluded: str = ""

    @property
    def is_measured(self) -> bool:
        return bool(self.excluded) or (self.treatment is not None and self.control is not None)


@dataclass(slots=True)
class ExperimentState:
    """State that survives a restart of the agent. The amounts are by device, of the quarter except for the last two.

    Args:
        since_ns: start of the experiment or of its quarter, UTC.
        open_arrivals: see dvfs/proof/estimate.py.
        salt: secret that makes the plan's offsets and orders different from those of other experiments.
        verdict: result of the last analysis; None before the first one.
        claimed_uj: claimed saving over all quarters.
        lost_uj: estimated loss over all quarters.
    """

    since_ns: int
    open_arrivals: bool
    salt: str
    periods: int = 0
    analyses: int = 0
    periods_analysed: int = 0
    excluded: int = 0
    period: _Period = field(default_factory=_Period)
    evidence: PairSums = field(default_factory=PairSums)
    covered_uj: Counter[str] = field(default_factory=Counter)
    quarter_claimed_uj: Counter[str] = field(default_factory=Counter)
    quarter_lost_uj: Counter[str] = field(default_factory=Counter)
    verdict: Verdict | None = None
    claimed_uj: Counter[str] = field(default_factory=Counter)
    lost_uj: Counter[str] = field(default_factory=Counter)


_STATE: Final = TypeAdapter(ExperimentState)


class Experiment:
    """The experiment of one group. Not thread-safe."""

    def __init__(self, plan: ExperimentPlan, state: ExperimentState) -> None:
        """Start an experiment, or continue one. `plan`: when blocks run."""
        self._plan = replace(plan, seed=f"{plan.seed}:{state.salt}")
        self.state = state
        self._block: _OpenBlock | None = None
        self._last_ns: int | None = None
        self._was_steered = False
        self._other_quarter_ns: int | None = None  # since when UTC is in another quarter
        self._new_work: WorkReading | None = None  # the last reading with new work
        self._work_interval_ns = 0.0  # typical interval between such readings
        self._unproven_uj: Counter[str] = Counter()  # energy since then

    @property
    def is_paused(self) -> bool:
        """Whether the setting has to be suspended now, for a control block."""
        return self._block is not None and not self._block.is_treatment

    @property
    def is_measuring(self) -> bool:
        """Whether a block is in progress."""
        return self._block is not None

    def feed(self, readings: Round, subject: Subject) -> list[ProofRow]:
        """Process one round and return the rows that it completes. `is_paused` is valid for the next round afterwards."""
        rows: list[ProofRow] = []
        if self._is_quarter_over(readings):
            rows += self.close(readings.utc_ns, subject)
            old = self.state
            self.state = ExperimentState(
                readings.utc_ns, old.open_arrivals, old.salt, claimed_uj=old.claimed_uj, lost_uj=old.lost_uj
            )
        interval_ns = 0 if self._last_ns is None else readings.boot_ns - self._last_ns
        self._last_ns = readings.boot_ns
        if self._plan.is_complete(self.state.periods):
            return rows
        period, was_steered = self.state.period, self._was_steered
        self._was_steered = readings.steered is True
        if interval_ns > _MAX_ROUND_NS:
            self.interrupt("no readings")
            self._unproven_uj.clear()
        else:
            if readings.steered or self._block is not None:
                period.elapsed_ns += max(0, interval_ns)
            if was_steered and self._was_steered:
                self._unproven_uj.update(readings.enforced_uj)
        self._follow_work(readings.work)
        if self._block is not None:
            self._measure(self._block, readings)
        elif (
            readings.steered
            and not period.is_measured
            and period.elapsed_ns >= self._plan.pair_offset_s(self.state.periods) * NS_PER_S
        ):
            self._block = _OpenBlock(self._plan.is_treatment_first(self.state.periods), readings.boot_ns)
        if period.is_measured and period.elapsed_ns >= self._plan.period_s(self.state.periods) * NS_PER_S:
            rows.append(self._end_period(readings.utc_ns, subject))
            if self._plan.is_analysis_due(self.state.periods):
                rows.append(self._analyse(readings.utc_ns, subject))
        return rows

    def _is_quarter_over(self, readings: Round) -> bool:
        if _quarter(readings.utc_ns) == _quarter(self.state.since_ns):
            self._other_quarter_ns = None
            return False
        if self._other_quarter_ns is None:
            self._other_quarter_ns = readings.boot_ns
        return readings.boot_ns - self._other_quarter_ns >= _QUARTER_NS

    def _follow_work(self, work: WorkReading | None) -> None:
        """Add energy to the period when work progresses; energy in a pause (evaluation, checkpoint, no load) is not claimed."""
        last = self._new_work
        if work is None or (last is not None and work.unit == last.unit and work.work == last.work):
            return
        self._new_work = work
        interval_ns = work.t_ns - last.t_ns if last is not None else 0
        if last is not None and work.unit == last.unit and work.work > last.work and interval_ns > 0:
            if not self._is_pause(interval_ns):
                self.state.period.enforced_uj.update(self._unproven_uj)
            typical_ns = self._work_interval_ns or interval_ns
            self._work_interval_ns = typical_ns + 0.1 * (min(interval_ns, _PAUSE * typical_ns) - typical_ns)
        self._unproven_uj.clear()

    def _is_pause(self, interval_ns: int) -> bool:
        return interval_ns > max(_MIN_PAUSE_NS, _PAUSE * self._work_interval_ns) and self._work_interval_ns > 0

    def interrupt(self, reason: str, attempts: int = 1) -> None:
        """Discard a pair in progress. It is repeated, and the period is excluded after three `attempts`."""
        period = self.state.period
        if self._block is None and (period.is_measured or (period.treatment, period.control) == (None, None)):
            return
        self._block, period.treatment, period.control = None, None, None
        period.attempts += attempts
        if period.attempts >= _MAX_ATTEMPTS:
            period.excluded = reason

    def close(self, utc_ns: int, subject: Subject) -> list[ProofRow]:
        """End the experiment: end the current period early and analyse the periods since the last analysis."""
        self.interrupt("ended")
        rows: list[ProofRow] = []
        if self.state.period.is_measured:
            rows.append(self._end_period(utc_ns, subject))
        if self.state.periods > self.state.periods_analysed:
            rows.append(self._analyse(utc_ns, subject))
        return rows

    def _measure(self, block: _OpenBlock, readings: Round) -> None:
        plan, period = self._plan, self.state.period
        settled_ns = block.start_ns + int(plan.settle_s * NS_PER_S)
        if readings.boot_ns >= settled_ns and readings.steered is not block.is_treatment:
            # Not repeated: a policy that releases because of the treatment itself would select the pairs.
            self.interrupt("the setting was not as planned", _MAX_ATTEMPTS)
            return
        is_settled = readings.work is not None and readings.work.t_ns >= settled_ns
        if not block.add(readings.energy, readings.work if is_settled else None):
            self.interrupt("a counter fell or counts something else")
            return
        if len(block.work) > 1 and self._is_pause(block.work[-1].t_ns - block.work[-2].t_ns):
            self.interrupt("work paused in a block")
            return
        if readings.boot_ns < block.start_ns + int(plan.seconds * NS_PER_S):
            return
        result = _cut(block, int((plan.seconds - plan.settle_s) / 2 * NS_PER_S))
        if isinstance(result, MeasuredBlock):
            if block.is_treatment:
                period.treatment = result
            else:
                period.control = result
            self._block = None if period.is_measured else _OpenBlock(not block.is_treatment, readings.boot_ns, block.unit)
        elif readings.boot_ns >= block.start_ns + int(_MAX_EXTENSION * plan.seconds * NS_PER_S):
            self.interrupt(result, _MAX_ATTEMPTS)

    def _end_period(self, utc_ns: int, subject: Subject) -> PairedBlocks:
        state, period, empty = self.state, self.state.period, MeasuredBlock(0, 0, 0)
        treatment, control = period.treatment or empty, period.control or empty
        enforced_uj = sum(period.enforced_uj.values())
        if max(*asdict(treatment).values(), *asdict(control).values()) > _MAX_COUNT:
            treatment, control, period.excluded = empty, empty, "a counter is out of range"
        excluded = period.excluded or state.evidence.add(treatment, control, enforced_uj, open_arrivals=state.open_arrivals)
        if excluded:
            state.excluded += 1
        else:
            state.covered_uj.update(period.enforced_uj)
        number, state.periods, state.period = state.periods, state.periods + 1, _Period()
        return PairedBlocks(
            utc_ns, subject.group, subject.workload, subject.policy, state.since_ns, number, enforced_uj,
            treatment.energy_uj, treatment.work, treatment.ns, treatment.itl_us, treatment.itl_count,
            control.energy_uj, control.work, control.ns, control.itl_us, control.itl_count,
            "open" if state.open_arrivals else "closed", excluded,
        )  # fmt: skip

    def _analyse(self, utc_ns: int, subject: Subject) -> Analysis:
        state = self.state
        state.analyses, state.periods_analysed = state.analyses + 1, state.periods
        probability = self._plan.error_probability(state.analyses)
        verdict = state.verdict = estimate(state.evidence, probability)
        saved, slowdown = verdict.saved_uj or ConfidenceInterval(0, 0, 0), verdict.slowdown_ratio or ConfidenceInterval(0, 0, 0)
        saved_uj, low_uj = round(saved.value), math.floor(saved.low)
        claimed_uj = lost_uj = 0
        if not verdict.reason:  # otherwise the previous claim remains valid
            claimed_uj = _adjust(state.quarter_claimed_uj, state.claimed_uj, max(0, low_uj), state.covered_uj)
            lost_uj = _adjust(state.quarter_lost_uj, state.lost_uj, max(0, -saved_uj), state.covered_uj)
        return Analysis(
            utc_ns, subject.group, subject.workload, subject.policy, state.since_ns, state.analyses, verdict.pairs,
            state.excluded, max(1, round(probability * 1e9)), sum(state.covered_uj.values()),
            saved_uj, low_uj, math.ceil(saved.high), claimed_uj, lost_uj,
            _ppm(slowdown.value), _ppm(slowdown.low), _ppm(slowdown.high),
            "" if verdict.reason else verdict.slowdown_of, verdict.reason,
        )  # fmt: skip

    def dump(self) -> str:
        """The state as JSON. A block in progress is not part of it and is repeated after `load`."""
        period = replace(self.state.period, attempts=self.state.period.attempts + (self._block is not None))
        if period.treatment is None or period.control is None:
            period.treatment = period.control = None
        return _STATE.dump_json(replace(self.state, period=period)).decode()

    @classmethod
    def load(cls, text: str, plan: ExperimentPlan) -> "Experiment":
        """Restore an experiment from `dump`.

        Raises:
            ValueError: `text` is not a valid state.
        """
        state = _STATE.validate_json(text)
        if state.period.attempts >= _MAX_ATTEMPTS and state.period.treatment is None:
            state.period.excluded = state.period.excluded or "the agent restarted"
        return cls(plan, state)


def work_of(progress: WorkCounters | None) -> WorkReading | None:
    """The work counters of a group as a reading; None without counters."""
    if progress is None or progress.work is None:
        return None
    t_ns, unit = progress.boot_ns, "tokens" if progress.steps is None else "steps"
    if progress.steps is not None and progress.step_end_ns is not None:
        t_ns = progress.step_end_ns  # the number of steps is exact at the end of a step
    if progress.latency_sum_s is None or progress.latency_count is None:
        return WorkReading(t_ns, progress.work, unit=unit)
    return WorkReading(t_ns, progress.work, round(progress.latency_sum_s * 1e6), progress.latency_count, unit)


def _cut(block: _OpenBlock, min_ns: int) -> MeasuredBlock | str:
    """The block between its first and last work reading with a known energy, or the reason why it is not usable."""
    gaps_ns = [(work, block.energy.gap_ns(work.t_ns)) for work in block.work]
    cuts = [work for work, gap_ns in gaps_ns if gap_ns is not None and gap_ns <= _MAX_INTERPOLATION_NS]
    if len(cuts) < 2 or cuts[-1].t_ns - cuts[0].t_ns < min_ns:
        return "no work ended in a block" if len(block.work) < 2 else "a block was not measured in whole"
    first, last = cuts[0], cuts[-1]
    energy_uj = block.energy.at(last.t_ns) - block.energy.at(first.t_ns)
    if last.work == first.work or not energy_uj:
        return "no work ended in a block"
    return MeasuredBlock(
        energy_uj,
        last.work - first.work,
        last.t_ns - first.t_ns,
        last.itl_us - first.itl_us,
        last.itl_count - first.itl_count,
    )


def _adjust(quarter_uj: Counter[str], total_uj: Counter[str], target_uj: int, covered_uj: Counter[str]) -> int:
    """Set the quarter's amount to `target_uj`, divided over the devices by their energy; return the change."""
    devices = sorted(covered_uj)
    targets = dict(zip(devices, split_integer(target_uj, [covered_uj[device] for device in devices]), strict=True))
    changes = {device: targets.get(device, 0) - quarter_uj[device] for device in quarter_uj.keys() | targets.keys()}
    quarter_uj.update(changes)
    total_uj.update(changes)
    return sum(changes.values())


def _quarter(utc_ns: int) -> tuple[int, int]:
    date = datetime.fromtimestamp(utc_ns // NS_PER_S, UTC)
    return date.year, (date.month - 1) // 3


def _ppm(ratio: float) -> int:
    return round(min(max(ratio * 1e6, -_MAX_PPM), _MAX_PPM))
