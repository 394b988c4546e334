"""One experiment: tells whether the setting is to be on now, measures its blocks, and says what they prove. Pure.

Time counts while the setting is on, or a block is measured: what was not steered is neither claimed nor waited for. A block is
cut at readings of the work, where steps or tokens are known exactly, and its energy is interpolated there; one in which no work
ended goes on until some has. A pair that something else disturbed is tried again within its period; a period without a pair is
recorded with the reason, and its energy is not claimed.

An experiment ends with the quarter of the year (UTC): what a quarter claims does not change when a later one is measured.
"""

import json
import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any, Final

from dvfs.proof.estimate import Block, Evidence, Ratio, Verdict, estimate
from dvfs.proof.plan import Plan
from dvfs.types import Progress
from energy_agent.core.proof import Analysis, PairedBlocks, ProofRow
from energy_agent.core.units import NS_PER_S, split_integer

_LONGEST_BLOCK: Final = 10  # times its length in the plan
_LONGEST_ROUND_NS: Final = 60 * NS_PER_S  # of a longer one it is not known what was steered
_WIDEST_NS: Final = 5 * NS_PER_S  # between two readings of energy around a cut
_ATTEMPTS: Final = 3
_PPM_MAX: Final = 10**12


@dataclass(frozen=True, slots=True)
class Reading:
    """A cumulative counter of energy, in uJ, at an instant (boot ns)."""

    t_ns: int
    uj: int


@dataclass(frozen=True, slots=True)
class Work:
    """What a group has done by an instant (boot ns); cumulative. `waits` of 0: no latency is told."""

    t_ns: int
    work: int
    waits_us: int = 0
    waits: int = 0


@dataclass(frozen=True, slots=True)
class Round:
    """What is seen of a group in one round.

    Args:
        boot_ns: when.
        utc_ns: the same.
        steered: a policy is at work, and what it wants is in force; False: nothing of it is, as in a block that is off; None:
            neither.
        enforced_uj: energy since the last round of each device with a setting in force.
        energy: of all its devices.
        work: as it was last told.
    """

    boot_ns: int
    utc_ns: int
    steered: bool | None
    enforced_uj: Mapping[str, int] = field(default_factory=dict)
    energy: Reading | None = None
    work: Work | None = None


@dataclass(frozen=True, slots=True)
class Subject:
    """Of whom rows are."""

    group: str
    workload: str = ""
    policy: str = ""
    owner: str = ""


@dataclass(slots=True)
class _Open:
    """A block that is being measured."""

    on: bool
    start_ns: int
    energy: list[Reading] = field(default_factory=list)
    work: list[Work] = field(default_factory=list)

    def take(self, energy: Reading | None, work: Work | None) -> bool:
        """Add readings that are new; False where a counter fell."""
        if energy is not None and (not self.energy or energy.t_ns > self.energy[-1].t_ns):
            self.energy.append(energy)
        if work is not None and (not self.work or work.t_ns > self.work[-1].t_ns):
            self.work.append(work)
        rose = all(b.uj >= a.uj for a, b in pairwise(self.energy[-2:]))
        return rose and all(
            b.work >= a.work and b.waits_us >= a.waits_us and b.waits >= a.waits for a, b in pairwise(self.work[-2:])
        )


@dataclass(slots=True)
class _Period:
    """What is known of the period that goes on."""

    elapsed_ns: int = 0
    enforced_uj: Counter[str] = field(default_factory=Counter)
    attempts: int = 0
    on: Block | None = None
    off: Block | None = None
    excluded: str = ""

    @property
    def is_measured(self) -> bool:
        return bool(self.excluded) or (self.on is not None and self.off is not None)


class Experiment:
    """The experiment of one group. One thread uses it."""

    def __init__(self, plan: Plan, utc_ns: int, *, open_arrivals: bool = False) -> None:
        """Begin; nothing is measured yet. `open_arrivals`: see dvfs/proof/estimate.py."""
        self._plan, self.open_arrivals = plan, open_arrivals
        self._begin(utc_ns)
        self._block: _Open | None = None
        self._last_ns: int | None = None
        self.claimed_uj: Counter[str] = Counter()
        """What may be claimed, by device."""
        self.lost_uj: Counter[str] = Counter()
        """The estimate of losses, by device."""

    def _begin(self, utc_ns: int) -> None:
        self.since_ns = utc_ns
        self._number = self._looks = self._at_look = self._excluded = 0
        self._period, self._evidence = _Period(), Evidence()
        self._covered_uj: Counter[str] = Counter()
        self._claim_uj: Counter[str] = Counter()  # of this quarter
        self._loss_uj: Counter[str] = Counter()
        self.verdict: Verdict | None = None
        """Of the last analysis; None before the first."""

    @property
    def is_paused(self) -> bool:
        """Whether the setting is to be off now."""
        return self._block is not None and not self._block.on

    @property
    def is_measuring(self) -> bool:
        """Whether a block goes on."""
        return self._block is not None

    @property
    def pairs(self) -> int:
        """Pairs that are used so far."""
        return self._evidence.pairs

    def feed(self, seen: Round, subject: Subject) -> list[ProofRow]:
        """Take a round; the rows that came of it. Whether the setting is to be on is known afterwards."""
        rows: list[ProofRow] = []
        if _quarter(seen.utc_ns) > _quarter(self.since_ns):
            rows += self.close(seen.utc_ns, subject)
            self._begin(seen.utc_ns)
        gone_ns = 0 if self._last_ns is None else seen.boot_ns - self._last_ns
        self._last_ns = seen.boot_ns
        if self._plan.is_over(self._number):
            return rows
        period = self._period
        period.enforced_uj.update(seen.enforced_uj)
        if gone_ns > _LONGEST_ROUND_NS:
            self.interrupt("no readings")
        elif seen.steered or self._block is not None:
            period.elapsed_ns += max(0, gone_ns)
        if self._block is not None:
            self._measure(self._block, seen)
        elif seen.steered and not period.is_measured and period.elapsed_ns >= self._plan.place_s(self._number) * NS_PER_S:
            self._block = _Open(self._plan.is_on_first(self._number), seen.boot_ns)
        if period.is_measured and period.elapsed_ns >= self._plan.length_s(self._number) * NS_PER_S:
            rows.append(self._end_period(seen.utc_ns, subject))
            if self._plan.is_look(self._number):
                rows.append(self._analyse(seen.utc_ns, subject))
        return rows

    def interrupt(self, why: str) -> None:
        """Something else changed: a pair that has begun is begun again, a few times at most."""
        period = self._period
        if self._block is None and (period.is_measured or (period.on, period.off) == (None, None)):
            return
        self._block, period.on, period.off = None, None, None
        period.attempts += 1
        if period.attempts >= _ATTEMPTS:
            period.excluded = why

    def close(self, utc_ns: int, subject: Subject) -> list[ProofRow]:
        """End it: the period that goes on is cut, and what was not analysed yet is."""
        self.interrupt("ended")
        rows: list[ProofRow] = []
        if self._period.is_measured:
            rows.append(self._end_period(utc_ns, subject))
        if self._number > self._at_look:
            rows.append(self._analyse(utc_ns, subject))
        return rows

    def _measure(self, block: _Open, seen: Round) -> None:
        plan, period = self._plan, self._period
        settled_ns = block.start_ns + int(plan.settle_s * NS_PER_S)
        if seen.boot_ns >= settled_ns and seen.steered is not block.on:
            self.interrupt("the setting was not as planned")
            return
        if not block.take(seen.energy, seen.work if seen.work is not None and seen.work.t_ns >= settled_ns else None):
            self.interrupt("a counter fell")
            return
        if seen.boot_ns < block.start_ns + int(plan.seconds * NS_PER_S):
            return
        found = _cut(block, int((plan.seconds - plan.settle_s) / 2 * NS_PER_S))
        if isinstance(found, Block):
            if block.on:
                period.on = found
            else:
                period.off = found
            self._block = None if period.is_measured else _Open(not block.on, seen.boot_ns)
        elif seen.boot_ns >= block.start_ns + int(_LONGEST_BLOCK * plan.seconds * NS_PER_S):
            self._block, period.on, period.off, period.excluded = None, None, None, found

    def _end_period(self, utc_ns: int, subject: Subject) -> PairedBlocks:
        period, none = self._period, Block(0, 0, 0)
        on, off, enforced_uj = period.on or none, period.off or none, sum(period.enforced_uj.values())
        excluded = period.excluded or self._evidence.add(on, off, enforced_uj, open_arrivals=self.open_arrivals)
        if excluded:
            self._excluded += 1
        else:
            self._covered_uj.update(period.enforced_uj)
        number, self._number, self._period = self._number, self._number + 1, _Period()
        return PairedBlocks(
            utc_ns, subject.group, subject.workload, subject.policy, self.since_ns, number, enforced_uj,
            on.energy_uj, on.work, on.ns, on.waits_us, on.waits, off.energy_uj, off.work, off.ns, off.waits_us, off.waits,
            "open" if self.open_arrivals else "closed", excluded,
        )  # fmt: skip

    def _analyse(self, utc_ns: int, subject: Subject) -> Analysis:
        self._looks, self._at_look = self._looks + 1, self._number
        chance = self._plan.chance(self._looks)
        verdict = self.verdict = estimate(self._evidence, chance)
        claimed_uj = lost_uj = 0
        if not verdict.reason:  # else what was proven before still holds
            claimed_uj = _adjust(self._claim_uj, self.claimed_uj, verdict.claimable_uj, self._covered_uj)
            lost_uj = _adjust(self._loss_uj, self.lost_uj, verdict.lost_uj, self._covered_uj)
        saved, slower = verdict.saved_uj or Ratio(0, 0, 0), verdict.slowdown_ratio or Ratio(0, 0, 0)
        return Analysis(
            utc_ns, subject.group, subject.workload, subject.policy, self.since_ns, self._looks, verdict.pairs, self._excluded,
            max(1, round(chance * 1e9)), sum(self._covered_uj.values()),
            round(saved.value), math.floor(saved.low), math.ceil(saved.high), claimed_uj, lost_uj,
            _ppm(slower.value), _ppm(slower.low), _ppm(slower.high),
            "" if verdict.reason else verdict.slowdown_of, verdict.reason,
        )  # fmt: skip

    # What is stored of it.

    def dump(self) -> str:
        """All that it goes on from, as text. A block that is being measured is not: it is begun again."""
        period = self._period
        return json.dumps(
            {
                "since_ns": self.since_ns,
                "open_arrivals": self.open_arrivals,
                "number": self._number,
                "looks": self._looks,
                "at_look": self._at_look,
                "excluded": self._excluded,
                "period": {
                    "elapsed_ns": period.elapsed_ns,
                    "enforced_uj": period.enforced_uj,
                    "attempts": period.attempts,
                    "excluded": period.excluded,
                    **_both(period),
                },
                "evidence": asdict(self._evidence),
                "covered_uj": self._covered_uj,
                "claim_uj": self._claim_uj,
                "loss_uj": self._loss_uj,
                "claimed_uj": self.claimed_uj,
                "lost_uj": self.lost_uj,
                "verdict": asdict(self.verdict) if self.verdict is not None else None,
            },
            separators=(",", ":"),
        )

    @classmethod
    def load(cls, text: str, plan: Plan) -> "Experiment":
        """The experiment of `dump`.

        Raises:
            ValueError: it is damaged.
        """
        try:
            body = json.loads(text)
            found = cls(plan, int(body["since_ns"]), open_arrivals=bool(body["open_arrivals"]))
            found._number, found._looks = int(body["number"]), int(body["looks"])
            found._at_look, found._excluded = int(body["at_look"]), int(body["excluded"])
            found._period = _period(body["period"])
            found._evidence = Evidence(**body["evidence"])
            found._covered_uj, found._claim_uj = _counter(body["covered_uj"]), _counter(body["claim_uj"])
            found._loss_uj = _counter(body["loss_uj"])
            found.claimed_uj, found.lost_uj = _counter(body["claimed_uj"]), _counter(body["lost_uj"])
            found.verdict = _verdict(body["verdict"])
        except (KeyError, TypeError, AttributeError, ArithmeticError, RecursionError) as error:
            raise ValueError(f"not the state of an experiment: {error}") from error
        return found


def work_of(progress: Progress | None) -> Work | None:
    """The work of a group as a reading; None: not told."""
    if progress is None or progress.work is None:
        return None
    t_ns = progress.boot_ns
    if progress.steps is not None and progress.step_end_ns is not None:
        t_ns = progress.step_end_ns  # a count of steps was right when the last one ended
    if progress.latency_sum_s is None or progress.latency_count is None:
        return Work(t_ns, progress.work)
    return Work(t_ns, progress.work, round(progress.latency_sum_s * 1e6), progress.latency_count)


def _cut(block: _Open, least_ns: int) -> Block | str:
    """What was measured between the first and the last reading of the work that have readings of energy around them."""
    known = [(work, uj) for work in block.work if (uj := _uj_at(block.energy, work.t_ns)) is not None]
    if len(known) < 2 or known[-1][0].t_ns - known[0][0].t_ns < least_ns:
        return "no work ended in a block" if len(block.work) < 2 else "a block was not measured in whole"
    (first, first_uj), (last, last_uj) = known[0], known[-1]
    if last.work == first.work or last_uj == first_uj:
        return "no work ended in a block"
    return Block(
        last_uj - first_uj,
        last.work - first.work,
        last.t_ns - first.t_ns,
        last.waits_us - first.waits_us,
        last.waits - first.waits,
    )


def _uj_at(energy: list[Reading], t_ns: int) -> int | None:
    """Energy at an instant, between the readings around it; None where they are too far apart."""
    after = next((one for one in energy if one.t_ns >= t_ns), None)
    before = next((one for one in reversed(energy) if one.t_ns <= t_ns), None)
    if before is None or after is None or after.t_ns - before.t_ns > _WIDEST_NS:
        return None
    if after.t_ns == before.t_ns:
        return before.uj
    return before.uj + (after.uj - before.uj) * (t_ns - before.t_ns) // (after.t_ns - before.t_ns)


def _adjust(quarter: Counter[str], total: Counter[str], target_uj: int, covered_uj: Counter[str]) -> int:
    """Divide what holds now over the devices as their energy is; by how much the whole changed."""
    names = sorted(covered_uj)
    parts = dict(zip(names, split_integer(target_uj, [covered_uj[name] for name in names]), strict=True))
    changed = {name: parts.get(name, 0) - quarter[name] for name in quarter.keys() | parts.keys()}
    quarter.update(changed)
    total.update(changed)
    return sum(changed.values())


def _quarter(utc_ns: int) -> tuple[int, int]:
    date = datetime.fromtimestamp(utc_ns // NS_PER_S, UTC)
    return date.year, (date.month - 1) // 3


def _both(period: _Period) -> dict[str, Any]:
    """Both blocks of a pair, or none: half of one is begun again."""
    if period.on is None or period.off is None:
        return {"on": None, "off": None}
    return {"on": asdict(period.on), "off": asdict(period.off)}


def _period(body: Any) -> _Period:
    on, off = (None if body[name] is None else Block(**body[name]) for name in ("on", "off"))
    return _Period(
        int(body["elapsed_ns"]), _counter(body["enforced_uj"]), int(body["attempts"]), on, off, str(body["excluded"])
    )


def _verdict(body: Any) -> Verdict | None:
    if body is None:
        return None
    ratios = {name: Ratio(**body[name]) if body[name] else None for name in ("saving_ratio", "slowdown_ratio", "saved_uj")}
    return Verdict(**(body | ratios))


def _ppm(ratio: float) -> int:
    return round(min(max(ratio * 1e6, -_PPM_MAX), _PPM_MAX))


def _counter(body: Any) -> Counter[str]:
    return Counter({str(name): int(uj) for name, uj in body.items()})
