"""What steering saved, from paired blocks: the setting is on and off in random order at matched load. Pure.

For pair i with energy E, work W and time T of its on and off block
    d_i = ln((E_on / W_on) / (E_off / W_off))        energy per work
    u_i = ln((T_on / W_on) / (T_off / W_off))        time per work
are taken as draws of a normal distribution (a ratio's error is multiplicative, and a pair's slow drift cancels), so with mean m
and standard deviation s of n pairs the 95 % interval of the mean is m -+ t(0.975, n-1) * s / sqrt(n). Saving = 1 - exp(d);
slowdown = exp(u) - 1. Energy saved over all enforced time, of energy X while on, is X * (exp(-d) - 1), signed. Claimable is its
lower end where that is above 0; a negative estimate is a loss and is counted apart, never netted against a claim.
"""

import hashlib
import itertools
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

MIN_PAIRS = 3


@dataclass(frozen=True, slots=True)
class Slot:
    """One block of the schedule, in seconds from its start; readings count from `settled_s` on."""

    pair: int
    on: bool
    start_s: float
    settled_s: float
    end_s: float


@dataclass(frozen=True, slots=True)
class Reading:
    """A cumulative counter at an instant: energy of all devices in uJ, or work as tokens or steps. Time in ns, of any clock."""

    t_ns: int
    value: int


@dataclass(frozen=True, slots=True)
class Block:
    """One block as measured. `load` is what was offered (requests per second, say), None where it cannot be told."""

    pair: int
    on: bool
    energy_uj: int
    work: float
    seconds: float
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
    unmatched: int
    saving_ratio: Ratio | None = None  # energy per work saved; negative: lost
    slowdown_ratio: Ratio | None = None  # more time per work
    saved_uj: Ratio | None = None  # signed, over all enforced time
    claimable_uj: int = 0
    extra_uj: int = 0
    reason: str = ""
    spoiled: int = 0  # pairs left out because the setting was not as scheduled


def blocks(seed: int, pairs: int, seconds: float, settle_s: float) -> list[Slot]:
    """The schedule: `pairs` times an on and an off block of `seconds` each, the order within a pair drawn from `seed`.

    Raises:
        ValueError: no pairs, or blocks that are all settling.
    """
    if pairs < 1 or not 0 <= settle_s < seconds:
        raise ValueError(f"cannot schedule {pairs} pairs of {seconds} s with {settle_s} s to settle")
    slots: list[Slot] = []
    for pair in range(pairs):
        first = hashlib.sha256(f"{seed}:{pair}".encode()).digest()[0] % 2 == 0
        for on in (first, not first):
            start = len(slots) * seconds
            slots.append(Slot(pair, on, start, start + settle_s, start + seconds))
    return slots


def slot_at(schedule: Sequence[Slot], elapsed_s: float) -> Slot | None:
    """The block in which `elapsed_s` lies; None when the schedule is over."""
    return next((slot for slot in schedule if slot.start_s <= elapsed_s < slot.end_s), None)


def collect(
    schedule: Sequence[Slot], start_ns: int, energy: Sequence[Reading], work: Sequence[Reading], widest_s: float = 5.0
) -> list[Block]:
    """Cut two counters, each read at its own instants, into blocks, interpolating linearly at each edge.

    A block is left out where an edge has no readings on both sides within `widest_s` of each other, or a counter fell.
    """
    found = []
    for slot in schedule:
        low_ns, high_ns = (start_ns + int(s * 1e9) for s in (slot.settled_s, slot.end_s))
        energy_uj, done = (_gain(series, low_ns, high_ns, widest_s) for series in (energy, work))
        if energy_uj is not None and done is not None:
            found.append(Block(slot.pair, slot.on, round(energy_uj), done, (high_ns - low_ns) / 1e9))
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


def estimate(measured: Iterable[Block], enforced_uj: int | None = None, matched_ratio: float = 0.1) -> Saving:
    """Saving, slowdown and what may be claimed.

    Args:
        measured: blocks in any order; a pair with only one of its two is left out.
        enforced_uj: energy over ALL time with the setting on; None: that of the on blocks alone.
        matched_ratio: pairs whose loads differ by more than this are left out and counted as unmatched.
    """
    by_pair: dict[int, dict[bool, Block]] = {}
    for block in measured:
        if block.work > 0 and block.energy_uj > 0 and block.seconds > 0:
            by_pair.setdefault(block.pair, {})[block.on] = block
    whole = [(p[True], p[False]) for p in by_pair.values() if len(p) == 2]
    pairs = [(on, off) for on, off in whole if _matched(on, off, matched_ratio)]
    unmatched = len(whole) - len(pairs)
    if len(pairs) < MIN_PAIRS:
        return Saving(len(pairs), unmatched, reason=f"needs at least {MIN_PAIRS} pairs with work at matched load")
    d = _mean([math.log(on.energy_uj / on.work) - math.log(off.energy_uj / off.work) for on, off in pairs])
    u = _mean([math.log(on.seconds / on.work) - math.log(off.seconds / off.work) for on, off in pairs])
    base = sum(on.energy_uj for on, _ in pairs) if enforced_uj is None else enforced_uj
    saved = Ratio(base * math.expm1(-d.value), base * math.expm1(-d.high), base * math.expm1(-d.low))
    return Saving(
        len(pairs),
        unmatched,
        Ratio(-math.expm1(d.value), -math.expm1(d.high), -math.expm1(d.low)),
        Ratio(math.expm1(u.value), math.expm1(u.low), math.expm1(u.high)),
        saved,
        max(0, math.floor(saved.low)),
        max(0, math.ceil(-saved.value)),
    )


def _matched(on: Block, off: Block, ratio: float) -> bool:
    if on.load is None or off.load is None:
        return True
    return abs(on.load - off.load) <= ratio * max(on.load, off.load)


def _mean(values: Sequence[float]) -> Ratio:
    n, mean = len(values), math.fsum(values) / len(values)
    spread = math.sqrt(math.fsum((v - mean) ** 2 for v in values) / (n - 1) / n)
    half = t_quantile_975(n - 1) * spread
    return Ratio(mean, mean - half, mean + half)


def t_quantile_975(df: int) -> float:
    """Student's t at 0.975 for whole degrees of freedom, by bisection of A&S 26.7.3 and 26.7.4 (closed form)."""
    low, high = 0.0, 20.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if _t_inside(middle, df) < 0.95 else (low, middle)
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
