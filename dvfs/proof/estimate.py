"""Estimate of what steering saved, from pairs of treatment blocks (with the setting) and control blocks (without it). Pure.

For pair i with energy E, work W, duration T and mean inter-token latency L of its treatment (t) and control (c) block
    d_i = ln((E_t / W_t) / (E_c / W_c))        energy per work
    u_i = ln(L_t / L_c)                        or ln((T_t / W_t) / (T_c / W_c)) if the engine reports no latencies
Latency is preferred, since a server that keeps up takes as long per token as its clients let it. Errors of a ratio are
multiplicative and the slow drift of a pair cancels, so d_i and u_i are treated as normal. Pair i represents the energy w_i that
was spent under the setting in its period (dvfs/proof/plan.py) and has that weight, so a saving that grows, ends or reverses
counts as often as it occurred. With the weighted mean m and n = (sum w)^2 / sum w^2 (Kish's effective sample size)
    interval m -+ t(1 - probability, 2/3 (n - 1)) s / sqrt(n)        s^2 = sum w_i (d_i - d_(i-1))^2 / (2 sum w_i), i >= 2
The variance is that of successive differences (von Neumann 1941), the usual choice for one sample per period (Wolter,
Introduction to Variance Estimation, ch. 8): it contains the random error of a pair and excludes the drift of the saving over a
week. It has two thirds of the degrees of freedom of the ordinary variance.

Energy per token also depends on the load, which differs randomly between the blocks of a pair. With x_i = ln(load_t / load_c),
weighted least squares of d_i = m + b x_i gives m, the saving at equal load (analysis of covariance). m = sum a_i d_i has the
variance s^2 sum a_i^2 and 2/3 (n - 2) degrees of freedom.
The owner declares what the load is, as no measurement can. Open arrivals are independent of the server's speed, so the served
tokens are equal in the long run: the load is tokens/s, and m is the log ratio of the power at equal tokens/s. Clients that wait
for a response before the next request slow down with the server, and equal tokens/s would count that slowdown as a saving: the
load is the mean number of decoding sequences. With open arrivals that underestimates the saving, since the batch of a slower
server grows; it never overestimates it. u is not adjusted: it is what the requests experienced.

The saving is 1 - exp(m) of d, the slowdown exp(m) - 1 of u, and the energy saved in the periods of the pairs, which took the
energy X under the setting, is X (exp(-m) - 1), signed. If the saving differs between periods this is slightly less than the
truth, never more (Jensen). A lower bound above 0 can be claimed. A negative estimate is a loss; it is reported separately,
never netted against a claim.

All of this depends on sums over the pairs only, so the state of an experiment has a fixed size.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

from energy_agent.core.interval import ConfidenceInterval, t_quantile

MIN_PAIRS: Final = 3
MIN_PAIRS_WITH_LOAD: Final = 4  # the slope uses one degree of freedom
MAX_LOAD_RATIO: Final = 2.0
"""Pairs whose loads differ by more are excluded: the line through ln(energy per token) is trusted over one doubling."""
MAX_ENERGY_RATIO: Final = 4.0
"""Pairs whose energies per work differ by more are excluded: no clock or power limit saves three quarters of the energy."""
_SAME_LOAD: Final = 1e-4  # mean difference of ln(load) that counts as none
_MAX_HALF_WIDTH: Final = 3.0  # of the logarithm; a wider interval contains no information
_MIN_SPREAD: Final = 0.001
"""Lower bound of the standard deviation of d: energy counters update about ten times per second, in blocks of half a minute."""


@dataclass(frozen=True, slots=True)
class MeasuredBlock:
    """Measured block, from one reading of the work counter to another.

    Args:
        energy_uj: energy of all devices of the group.
        work: steps or tokens.
        ns: duration.
        itl_us: sum of inter-token latencies.
        itl_count: number of inter-token latencies; 0 if the engine reports none.
    """

    energy_uj: int
    work: int
    ns: int
    itl_us: int = 0
    itl_count: int = 0

    def load(self, *, open_arrivals: bool) -> float | None:
        """Tokens/s for open arrivals, otherwise the mean number of decoding sequences; None without latencies."""
        if not self.itl_count or not self.itl_us:
            return None
        # Each decoding sequence adds one second of latency per second, so the sum yields the mean batch without sampling.
        return (self.work if open_arrivals else self.itl_us / 1e6) / (self.ns / 1e9)


@dataclass(frozen=True, slots=True)
class Verdict:
    """Result of an analysis. Ratios: None without an estimate; `reason` says why."""

    pairs: int
    saving_ratio: ConfidenceInterval | None = None  # of the energy per work; negative: a loss
    slowdown_ratio: ConfidenceInterval | None = None
    slowdown_of: Literal["latency", "time_per_work"] = "time_per_work"
    saved_uj: ConfidenceInterval | None = None  # signed, in the periods of the pairs
    reason: str = ""


@dataclass(slots=True)
class PairSums:
    """Sums over all pairs used, in their order.

    Each field is named after its terms: `wxd` is the sum of w x d, weights in J; t is u of time per work, l that of latency.
    Fields with v are sums over the differences of successive pairs: `vxd` is the sum of w (x_i - x_(i-1)) (d_i - d_(i-1)).
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

    def add(self, treatment: MeasuredBlock, control: MeasuredBlock, enforced_uj: int, *, open_arrivals: bool = False) -> str:
        """Add a pair that represents `enforced_uj`. Returns the reason if the pair is not usable, otherwise ""."""
        amounts = (treatment.energy_uj, control.energy_uj, treatment.work, control.work, treatment.ns, control.ns, enforced_uj)
        if min(amounts) <= 0:
            return "no energy or no work"
        d = math.log(treatment.energy_uj / treatment.work) - math.log(control.energy_uj / control.work)
        if abs(d) > math.log(MAX_ENERGY_RATIO):
            return "the energies per work of the two blocks differ too much"
        loads = treatment.load(open_arrivals=open_arrivals), control.load(open_arrivals=open_arrivals)
        has_load = None not in loads
        if self.pairs and has_load != self.with_load:
            return "the load is not reported as before"
        if open_arrivals and not has_load:
            return "with open arrivals, slowdown needs the exact sum of latencies, which the engine does not report"
        x = 0.0
        if loads[0] and loads[1]:
            x = math.log(loads[0] / loads[1])
            if abs(x) > math.log(MAX_LOAD_RATIO):
                return "the loads of the two blocks differ too much"
        w = enforced_uj / 1e6
        t = math.log(treatment.ns / treatment.work) - math.log(control.ns / control.work)
        self.pairs, self.with_load = self.pairs + 1, has_load
        self.w, self.ww, self.wd, self.wt = self.w + w, self.ww + w * w, self.wd + w * d, self.wt + w * t
        self.wx, self.wxx, self.wxd = self.wx + w * x, self.wxx + w * x * x, self.wxd + w * x * d
        self.wwx, self.wwxx = self.wwx + w * w * x, self.wwxx + w * w * x * x
        latency = 0.0
        if has_load:
            latency = math.log(treatment.itl_us / treatment.itl_count) - math.log(control.itl_us / control.itl_count)
            self.wl += w * latency
        pair = d, x, t, latency
        if self.last:
            dd, dx, dt, dl = (b - a for a, b in zip(self.last, pair, strict=True))
            self.v, self.vdd, self.vtt, self.vll = self.v + w, self.vdd + w * dd**2, self.vtt + w * dt**2, self.vll + w * dl**2
            self.vxd, self.vxx = self.vxd + w * dx * dd, self.vxx + w * dx**2
        self.last = pair
        return ""

    @property
    def effective_pairs(self) -> float:
        """Number of equally weighted pairs with the same information."""
        return self.w * self.w / self.ww if self.pairs else 0.0


def estimate(evidence: PairSums, probability: float = 0.025) -> Verdict:
    """Estimate saving and slowdown.

    Args:
        evidence: sums over all pairs.
        probability: probability that the truth lies below the interval, and that it lies above it.
    """
    min_pairs = MIN_PAIRS_WITH_LOAD if evidence.with_load else MIN_PAIRS
    # A pair that outweighs all others leaves no information about the random error.
    if evidence.pairs < min_pairs or evidence.effective_pairs < min_pairs - 1:
        return Verdict(evidence.pairs, reason=f"needs at least {min_pairs} pairs with work at matched load")
    if evidence.with_load and _has_one_ratio(evidence):
        return Verdict(evidence.pairs, reason="the load differs between treatment and control blocks, always by the same ratio")
    if evidence.with_load:
        energy, time = _at_equal_load(evidence, probability), _mean(evidence, evidence.wl, evidence.vll, probability)
    else:
        energy = _mean(evidence, evidence.wd, evidence.vdd, probability)
        time = _mean(evidence, evidence.wt, evidence.vtt, probability)
    if max(energy.high - energy.value, time.high - time.value) > _MAX_HALF_WIDTH:
        return Verdict(evidence.pairs, reason="the interval is too wide")
    if abs(energy.value) > math.log(MAX_ENERGY_RATIO):  # a line can leave the range of its points
        return Verdict(evidence.pairs, reason="the estimate is outside of what was measured")
    spent_uj, bounds = evidence.w * 1e6, (energy.value, energy.high, energy.low)
    return Verdict(
        evidence.pairs,
        ConfidenceInterval(*(-math.expm1(m) for m in bounds)),
        ConfidenceInterval(*(math.expm1(m) for m in (time.value, time.low, time.high))),
        "latency" if evidence.with_load else "time_per_work",
        ConfidenceInterval(*(spent_uj * math.expm1(-m) for m in bounds)),
    )


def _mean(evidence: PairSums, total: float, squares: float, probability: float) -> ConfidenceInterval:
    mean, n = total / evidence.w, evidence.effective_pairs
    half = t_quantile(_degrees_of_freedom(n - 1), probability) * _spread(evidence, squares) / math.sqrt(n)
    return ConfidenceInterval(mean, mean - half, mean + half)


def _at_equal_load(e: PairSums, probability: float) -> ConfidenceInterval:
    """Intercept of the line at x = 0 with its interval; the mean if the loads of each pair are equal."""
    if e.wxx <= _SAME_LOAD**2 * e.w:
        return _mean(e, e.wd, e.vdd, probability)
    n, determinant = e.effective_pairs, e.w * e.wxx - e.wx * e.wx
    value = (e.wxx * e.wd - e.wx * e.wxd) / determinant
    slope = (e.w * e.wxd - e.wx * e.wd) / determinant
    spread = _spread(e, e.vdd - 2 * slope * e.vxd + slope**2 * e.vxx)
    squared_weights = (e.wxx**2 * e.ww - 2 * e.wxx * e.wx * e.wwx + e.wx**2 * e.wwxx) / determinant**2
    half = t_quantile(_degrees_of_freedom(n - 2), probability) * spread * math.sqrt(max(0.0, squared_weights))
    return ConfidenceInterval(value, value - half, value + half)


def _has_one_ratio(e: PairSums) -> bool:
    """Whether the loads of all pairs differ by the same ratio, so that its effect cannot be separated from the saving."""
    return e.wxx > _SAME_LOAD**2 * e.w and e.w * e.wxx - e.wx * e.wx < 1e-6 * e.w * e.wxx


def _spread(evidence: PairSums, squares: float) -> float:
    """Standard deviation of a pair's random error, from the weighted squares of successive differences."""
    return math.sqrt(max(squares / evidence.v / 2, _MIN_SPREAD**2))


def _degrees_of_freedom(ordinary: float) -> int:
    """Degrees of freedom of successive differences, rounded down for a wider interval, but at least 1."""
    return max(1, math.floor(ordinary * 2 / 3 + 1e-9))
