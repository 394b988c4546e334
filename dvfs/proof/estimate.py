"""What steering saved, from paired blocks: the setting is on and off in random order. Pure.

For pair i with energy E, work W, time T and mean inter-token latency L of its on and off block
    d_i = ln((E_on / W_on) / (E_off / W_off))        energy per work
    u_i = ln(L_on / L_off), and ln((T_on / W_on) / (T_off / W_off)) where no latency is told
since a server that keeps up takes as long per token as its clients let it. A ratio's error is multiplicative and a pair's slow
drift cancels, so they are taken as draws of a normal distribution: with mean m and standard deviation s of n pairs the 95 %
interval of the mean is m -+ t(0.975, n-1) s / sqrt(n), wider where it is looked at more than once (dvfs/proof/blocks.py).

Energy per token also depends on the load, which chance makes differ between the blocks of a pair. With x_i = ln(load_on /
load_off), least squares of d_i = m + b x_i gives m, the saving at equal load (analysis of covariance):
    m = mean(d) - b mean(x)        b = sum((x_i - mean(x)) d_i) / S        S = sum((x_i - mean(x))^2)
    interval m -+ t(0.975, n-2) s sqrt(1/n + mean(x)^2 / S)        s^2 = sum(residual^2) / (n-2)
What the load is cannot be told from the blocks, the owner declares it. Open arrivals come whatever the server's speed, so what
it serves in the long run is equal by nature: load is its tokens/s, and m is the log ratio of power at equal tokens/s. Clients
that wait for an answer before they ask again are slowed with the server, and equal tokens/s would credit that loss as a saving:
load is then the mean number of sequences that decode. Under open arrivals that claims too little, since a slowed server's batch
grows, and never too much. u is not adjusted: it is what the requests met.

Saving = 1 - exp(m of d); slowdown = exp(m of u) - 1. Energy saved over all enforced time, of energy X while on, is
X (exp(-m) - 1), signed. Claimable is its lower end where that is above 0; a negative estimate is a loss and is counted apart,
never netted against a claim.
"""

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from dvfs.proof.blocks import Slot

MIN_PAIRS = 3
MIN_PAIRS_WITH_LOAD = 4  # the slope takes a degree of freedom
MAX_LOAD_RATIO = 2.0
"""Pairs whose loads differ by more are left out: a line through ln(energy per token) is trusted for one doubling."""

Counter = Literal["energy_uj", "work", "latency_sum_s", "latency_count"]


@dataclass(frozen=True, slots=True)
class Reading:
    """A cumulative counter at an instant. Time in ns, of any clock."""

    t_ns: int
    value: float


@dataclass(frozen=True, slots=True)
class Block:
    """One block as measured. None, where there is no such thing (training) or it is not told: `latency_s`, the mean inter-token
    latency, and `load`, tokens/s or the mean number of sequences that decode.
    """

    pair: int
    on: bool
    energy_uj: int
    work: float
    seconds: float
    latency_s: float | None = None
    load: float | None = None


@dataclass(frozen=True, slots=True)
class Ratio:
    """An estimate with its 95 % interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Saving:
    """The verdict. Ratios are None, and the energies 0, while `reason` says why nothing can be told yet."""

    pairs: int
    unmatched: int  # pairs left out because their loads differ too much
    saving_ratio: Ratio | None = None  # energy per work saved; negative: lost
    slowdown_ratio: Ratio | None = None
    slowdown_of: Literal["latency", "time_per_work"] = "time_per_work"
    saved_uj: Ratio | None = None  # signed, over all enforced time
    claimable_uj: int = 0
    extra_uj: int = 0
    reason: str = ""
    spoiled: int = 0  # pairs left out because the setting was not as scheduled


def collect(
    schedule: Iterable[Slot],
    start_ns: int,
    series: Mapping[Counter, Sequence[Reading]],
    *,
    open_arrivals: bool = False,
    widest_s: float = 5.0,
) -> list[Block]:
    """Cut counters, each read at its own instants, into blocks, interpolating linearly at each edge.

    A block is left out where energy or work has no readings on both sides of an edge within `widest_s` of each other, or fell.
    """
    found = []
    for slot in schedule:
        low_ns, high_ns = (start_ns + int(s * 1e9) for s in (slot.settled_s, slot.until_s))
        gain = {counter: _gain(readings, low_ns, high_ns, widest_s) for counter, readings in series.items()}
        energy_uj, work, seconds = gain.get("energy_uj"), gain.get("work"), (high_ns - low_ns) / 1e9
        if energy_uj is None or work is None:
            continue
        latency_s, load = None, None
        waited_s, count = gain.get("latency_sum_s"), gain.get("latency_count")
        if waited_s and count:
            # Each sequence that decodes adds a second of latency a second, so the sum tells the mean batch without sampling.
            latency_s, load = waited_s / count, (work if open_arrivals else waited_s) / seconds
        found.append(Block(slot.pair, slot.on, round(energy_uj), work, seconds, latency_s, load))
    return found


def _gain(readings: Sequence[Reading], low_ns: int, high_ns: int, widest_s: float) -> float | None:
    low, high = _at(readings, low_ns, widest_s), _at(readings, high_ns, widest_s)
    if low is None or high is None or _fell([r for r in readings if low_ns <= r.t_ns <= high_ns]) or high < low:
        return None
    return high - low


def _at(readings: Sequence[Reading], t_ns: int, widest_s: float) -> float | None:
    after = next((r for r in readings if r.t_ns >= t_ns), None)
    before = next((r for r in reversed(readings) if r.t_ns <= t_ns), None)
    if before is None or after is None or after.t_ns - before.t_ns > widest_s * 1e9 or after.value < before.value:
        return None
    part = 0.0 if after.t_ns == before.t_ns else (t_ns - before.t_ns) / (after.t_ns - before.t_ns)
    return before.value + part * (after.value - before.value)


def _fell(readings: Sequence[Reading]) -> bool:
    return any(b.value < a.value for a, b in itertools.pairwise(readings))


def estimate(measured: Iterable[Block], enforced_uj: int | None = None, chance: float = 0.025) -> Saving:
    """Saving, slowdown and what may be claimed.

    Args:
        measured: blocks in any order; a pair with only one of its two is left out.
        enforced_uj: energy over ALL time with the setting on; None: that of the on blocks alone.
        chance: that the truth lies below an interval, and that it lies above it; that of a claim on nothing.
    """
    by_pair: dict[int, dict[bool, Block]] = {}
    for block in measured:
        if block.work > 0 and block.energy_uj > 0 and block.seconds > 0:
            by_pair.setdefault(block.pair, {})[block.on] = block
    whole = [(p[True], p[False]) for p in by_pair.values() if len(p) == 2]
    with_load = any(on.load and off.load for on, off in whole)
    pairs = [(on, off) for on, off in whole if not with_load or _comparable(on, off)]
    needed, unmatched = MIN_PAIRS_WITH_LOAD if with_load else MIN_PAIRS, len(whole) - len(pairs)
    if len(pairs) < needed:
        return Saving(len(pairs), unmatched, reason=f"needs at least {needed} pairs with work at matched load")
    d = [math.log(on.energy_uj / on.work) - math.log(off.energy_uj / off.work) for on, off in pairs]
    x = [math.log(on.load / off.load) for on, off in pairs if on.load and off.load]
    waits = [(on.latency_s, off.latency_s) for on, off in pairs]
    u = [math.log(on_s / off_s) for on_s, off_s in waits if on_s and off_s]
    of_latency = len(u) == len(pairs)
    if not of_latency:
        u = [math.log(on.seconds / on.work) - math.log(off.seconds / off.work) for on, off in pairs]
    energy, time = _at_equal_load(d, x, chance) if with_load else _mean(d, chance), _mean(u, chance)
    base = sum(on.energy_uj for on, _ in pairs) if enforced_uj is None else enforced_uj
    saved = Ratio(*(base * math.expm1(-m) for m in (energy.value, energy.high, energy.low)))
    return Saving(
        len(pairs),
        unmatched,
        Ratio(*(-math.expm1(m) for m in (energy.value, energy.high, energy.low))),
        Ratio(*(math.expm1(m) for m in (time.value, time.low, time.high))),
        "latency" if of_latency else "time_per_work",
        saved,
        max(0, math.floor(saved.low)),
        max(0, math.ceil(-saved.value)),
    )


def _comparable(on: Block, off: Block) -> bool:
    if not on.load or not off.load:
        return False
    return max(on.load, off.load) <= MAX_LOAD_RATIO * min(on.load, off.load)


def _mean(values: Sequence[float], chance: float) -> Ratio:
    n, mean = len(values), math.fsum(values) / len(values)
    spread = math.sqrt(math.fsum((v - mean) ** 2 for v in values) / (n - 1) / n)
    half = t_quantile(n - 1, chance) * spread
    return Ratio(mean, mean - half, mean + half)


def _at_equal_load(values: Sequence[float], x: Sequence[float], chance: float) -> Ratio:
    """The line's value at x = 0 with its interval; the plain mean where all loads are equal."""
    n, mean_x, mean = len(x), math.fsum(x) / len(x), math.fsum(values) / len(values)
    spread = math.fsum((one - mean_x) ** 2 for one in x)
    if spread < 1e-18:  # all alike but for rounding: there is no slope to be found
        return _mean(values, chance)
    slope = math.fsum((one - mean_x) * v for one, v in zip(x, values, strict=True)) / spread
    value = mean - slope * mean_x
    square = math.fsum((v - value - slope * one) ** 2 for one, v in zip(x, values, strict=True)) / (n - 2)
    half = t_quantile(n - 2, chance) * math.sqrt(square * (1 / n + mean_x**2 / spread))
    return Ratio(value, value - half, value + half)


def t_quantile_975(df: int) -> float:
    """Student's t at 0.975 for whole degrees of freedom."""
    return t_quantile(df, 0.025)


def t_quantile(df: int, above: float) -> float:
    """Student's t beyond which `above` of the distribution lies, by bisection of A&S 26.7.3 and 26.7.4 (closed form)."""
    low, high = 0.0, 1e4
    for _ in range(80):
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
