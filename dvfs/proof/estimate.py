"""What steering saved, from pairs of blocks with the setting on and off. Pure.

For pair i with energy E, work W, time T and mean inter-token latency L of its on and off block
    d_i = ln((E_on / W_on) / (E_off / W_off))        energy per work
    u_i = ln(L_on / L_off), and ln((T_on / W_on) / (T_off / W_off)) where no latency is told
since a server that keeps up takes as long per token as its clients let it. A ratio's error is multiplicative and a pair's slow
drift cancels, so they are taken as draws of a normal distribution. Pair i stands for the energy w_i that was spent under the
setting in its period (dvfs/proof/plan.py), and counts with that weight: a saving that grows, ends or turns is met as often as
it was there. With the weighted mean m and n = (sum w)^2 / sum w^2 (Kish's effective sample size)
    interval m -+ t(1 - chance, 2/3 (n - 1)) s / sqrt(n)        s^2 = sum w_i (d_i - d_(i-1))^2 / (2 sum w_i)
The variance is that of successive differences (von Neumann 1941), as is usual for a sample of one in each period (Wolter,
Introduction to Variance Estimation, ch. 8): what chance adds to a pair is in it, and that the saving was another one in another
week is not. Its degrees of freedom are two thirds of those of the usual variance.

Energy per token also depends on the load, which chance makes differ between the blocks of a pair. With x_i = ln(load_on /
load_off), weighted least squares of d_i = m + b x_i gives m, the saving at equal load (analysis of covariance); the weights
a_i of m = sum a_i d_i give its variance s^2 sum a_i^2, with 2/3 (n - 2) degrees of freedom.
What the load is cannot be told from the blocks, the owner declares it. Open arrivals come whatever the server's speed, so what
it serves in the long run is equal by nature: load is its tokens/s, and m is the log ratio of power at equal tokens/s. Clients
that wait for an answer before they ask again are slowed with the server, and equal tokens/s would credit that loss as a saving:
load is then the mean number of sequences that decode. Under open arrivals that claims too little, since a slowed server's batch
grows, and never too much. u is not adjusted: it is what the requests met.

Saving = 1 - exp(m of d); slowdown = exp(m of u) - 1. Energy saved in the periods of the pairs, of energy X under the setting,
is X (exp(-m) - 1), signed; where the saving differs among periods that is a little less than the truth, never more (Jensen).
Its lower end may be claimed where it is above 0; an estimate below 0 is a loss and is told apart, never netted against a claim.

All of this needs sums over the pairs alone, so an experiment of any length is kept in a few numbers.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, Literal

MIN_PAIRS: Final = 3
MIN_PAIRS_WITH_LOAD: Final = 4  # the slope takes a degree of freedom
MAX_LOAD_RATIO: Final = 2.0
"""Pairs whose loads differ by more are left out: a line through ln(energy per token) is trusted for one doubling."""
_LEAST_SPREAD: Final = 0.001
"""Standard deviation that d has at least: counters step some ten times a second, of blocks of half a minute."""


@dataclass(frozen=True, slots=True)
class Block:
    """One block as measured, from one reading of its work to another.

    Args:
        energy_uj: of all devices of the group.
        work: steps or tokens.
        ns: its time.
        waits_us: sum of the times between two tokens.
        waits: how many such times; 0: no latency is told.
    """

    energy_uj: int
    work: int
    ns: int
    waits_us: int = 0
    waits: int = 0

    def load(self, *, open_arrivals: bool) -> float | None:
        """Tokens/s or, for clients that wait, the mean number of sequences that decode; None where no latency is told."""
        if not self.waits or not self.waits_us:
            return None
        # Each sequence that decodes adds a second of latency a second, so the sum tells the mean batch without sampling.
        return (self.work if open_arrivals else self.waits_us / 1e6) / (self.ns / 1e9)


@dataclass(frozen=True, slots=True)
class Ratio:
    """An estimate with its interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Verdict:
    """What pairs prove. Ratios are None while `reason` says why nothing can be told yet."""

    pairs: int
    saving_ratio: Ratio | None = None  # energy per work saved; negative: lost
    slowdown_ratio: Ratio | None = None
    slowdown_of: Literal["latency", "time_per_work"] = "time_per_work"
    saved_uj: Ratio | None = None  # signed, in the periods of the pairs
    reason: str = ""

    @property
    def claimable_uj(self) -> int:
        """What may be claimed."""
        return max(0, math.floor(self.saved_uj.low)) if self.saved_uj is not None else 0

    @property
    def lost_uj(self) -> int:
        """The estimate of a loss."""
        return max(0, -round(self.saved_uj.value)) if self.saved_uj is not None else 0


@dataclass(slots=True)
class Evidence:
    """The sums over all pairs that are used, in their order.

    Each is named by what it sums: `wxd` is that of w x d, with weights in J, t for u of time per work, and l for u of latency.
    Those with v are of the steps from a pair to the next: `vxd` is the sum of w (x_i - x_(i-1)) (d_i - d_(i-1)).
    """

    pairs: int = 0
    with_load: bool = False
    w: float = 0.0
    ww: float = 0.0
    wd: float = 0.0
    wx: float = 0.0
    wxx: float = 0.0
    wxd: float = 0.0
    wwx: float = 0.0
    wwxx: float = 0.0
    wt: float = 0.0
    wl: float = 0.0
    last: Sequence[float] = ()  # d, x, t and l of the last pair
    v: float = 0.0  # weights of all pairs but the first
    vdd: float = 0.0
    vxd: float = 0.0
    vxx: float = 0.0
    vtt: float = 0.0
    vll: float = 0.0

    def add(self, on: Block, off: Block, enforced_uj: int, *, open_arrivals: bool = False) -> str:
        """Take a pair and the energy that it stands for; why it cannot be used, or "" where it is."""
        if min(on.energy_uj, off.energy_uj, on.work, off.work, on.ns, off.ns, enforced_uj) <= 0:
            return "no energy or no work"
        loads = on.load(open_arrivals=open_arrivals), off.load(open_arrivals=open_arrivals)
        has_load = None not in loads
        if self.pairs and has_load != self.with_load:
            return "the load is not told as it was"
        x = 0.0
        if loads[0] and loads[1]:
            x = math.log(loads[0] / loads[1])
            if abs(x) > math.log(MAX_LOAD_RATIO):
                return "the loads of the two blocks differ too much"
        w, d = enforced_uj / 1e6, math.log(on.energy_uj / on.work) - math.log(off.energy_uj / off.work)
        t = math.log(on.ns / on.work) - math.log(off.ns / off.work)
        self.pairs, self.with_load = self.pairs + 1, has_load
        self.w, self.ww, self.wd, self.wt = self.w + w, self.ww + w * w, self.wd + w * d, self.wt + w * t
        self.wx, self.wxx, self.wxd = self.wx + w * x, self.wxx + w * x * x, self.wxd + w * x * d
        self.wwx, self.wwxx = self.wwx + w * w * x, self.wwxx + w * w * x * x
        latency = 0.0
        if has_load:
            latency = math.log(on.waits_us / on.waits) - math.log(off.waits_us / off.waits)
            self.wl += w * latency
        now = d, x, t, latency
        if self.last:
            dd, dx, dt, dl = (b - a for a, b in zip(self.last, now, strict=True))
            self.v, self.vdd, self.vxd, self.vxx = (
                self.v + w,
                self.vdd + w * dd**2,
                self.vxd + w * dx * dd,
                self.vxx + w * dx**2,
            )
            self.vtt, self.vll = self.vtt + w * dt**2, self.vll + w * dl**2
        self.last = now
        return ""

    @property
    def effective_pairs(self) -> float:
        """So many pairs of equal weight would tell as much."""
        return self.w * self.w / self.ww if self.pairs else 0.0


def estimate(evidence: Evidence, chance: float = 0.025) -> Verdict:
    """Saving, slowdown and what may be claimed.

    Args:
        evidence: of all pairs.
        chance: that the truth lies below an interval, and that it lies above it; that of a claim on nothing.
    """
    needed = MIN_PAIRS_WITH_LOAD if evidence.with_load else MIN_PAIRS
    # Where one pair outweighs the others, they tell as little as fewer do.
    if evidence.pairs < needed or evidence.effective_pairs < needed - 1:
        return Verdict(evidence.pairs, reason=f"needs at least {needed} pairs with work at matched load")
    of_latency = evidence.with_load
    energy = _at_equal_load(evidence, chance) if evidence.with_load else _mean(evidence, evidence.wd, evidence.vdd, chance)
    sums = (evidence.wl, evidence.vll) if of_latency else (evidence.wt, evidence.vtt)
    time, spent_uj = _mean(evidence, *sums, chance), evidence.w * 1e6
    ends = (energy.value, energy.high, energy.low)
    return Verdict(
        evidence.pairs,
        Ratio(*(-math.expm1(m) for m in ends)),
        Ratio(*(math.expm1(m) for m in (time.value, time.low, time.high))),
        "latency" if of_latency else "time_per_work",
        Ratio(*(spent_uj * math.expm1(-m) for m in ends)),
    )


def _mean(evidence: Evidence, sum_: float, squares: float, chance: float) -> Ratio:
    mean, n = sum_ / evidence.w, evidence.effective_pairs
    half = t_quantile(_whole(n - 1), chance) * _spread(evidence, squares) / math.sqrt(n)
    return Ratio(mean, mean - half, mean + half)


def _at_equal_load(e: Evidence, chance: float) -> Ratio:
    """The line's value at x = 0 with its interval; the plain mean where all loads are equal."""
    n, determinant = e.effective_pairs, e.w * e.wxx - e.wx * e.wx
    if determinant < 1e-18 * e.w * e.w:  # all alike but for rounding: there is no slope to be found
        return _mean(e, e.wd, e.vdd, chance)
    value = (e.wxx * e.wd - e.wx * e.wxd) / determinant
    slope = (e.w * e.wxd - e.wx * e.wd) / determinant
    spread = _spread(e, e.vdd - 2 * slope * e.vxd + slope**2 * e.vxx)
    of_value = (e.wxx**2 * e.ww - 2 * e.wxx * e.wx * e.wwx + e.wx**2 * e.wwxx) / determinant**2
    half = t_quantile(_whole(n - 2), chance) * spread * math.sqrt(of_value)
    return Ratio(value, value - half, value + half)


def _spread(evidence: Evidence, squares: float) -> float:
    """Standard deviation of what chance adds to a pair, from the weighted squares of successive differences."""
    return math.sqrt(max(squares / evidence.v / 2, _LEAST_SPREAD**2))


def _whole(degrees: float) -> int:
    """Degrees of freedom of successive differences, rounded down: the wider interval."""
    return max(1, math.floor(degrees * 2 / 3 + 1e-9))


def t_quantile_975(df: int) -> float:
    """Student's t at 0.975 for whole degrees of freedom."""
    return t_quantile(df, 0.025)


@lru_cache(maxsize=256)
def t_quantile(df: int, above: float) -> float:
    """Student's t beyond which `above` of the distribution lies, by bisection of A&S 26.7.3 and 26.7.4 (closed form)."""
    low, high = 0.0, 1e9
    for _ in range(90):
        middle = (low + high) / 2
        low, high = (middle, high) if _t_inside(middle, df) < 1 - 2 * above else (low, middle)
    return high


def _t_inside(t: float, df: int) -> float:
    """P(|T| < t)."""
    theta = math.atan(t / math.sqrt(df))
    cos2, term, total = math.cos(theta) ** 2, 1.0, 0.0
    first = 3 if df % 2 else 2
    if df > 1:
        term = math.cos(theta) if df % 2 else 1.0
        total = term
        for k in range(first, df - 1, 2):
            term *= cos2 * (k - 1) / k
            total += term
    if df % 2:
        return 2 / math.pi * (theta + math.sin(theta) * total)
    return math.sin(theta) * total
