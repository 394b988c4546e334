"""Sums and ratios of meters over a window, with their bounds. Pure, exact: integers and fractions, rounded outwards once.

Three kinds of error, kept apart. *Gain*: a register is off by an unknown but fixed ratio within its accuracy class. Meters
that share a calibration err together and add up linearly; those that do not are independent, so their 95 % bound is 1.96 times
the root of the summed squares of a / sqrt(3) (a uniform error within +-a; JCGM 100:2008, 4.3.7 and 5.1.2), at most their plain
sum. *Edges* and what an integration doubts add linearly. *What no meter saw* is filled in with bounds (`gaps`), or taken at the
mean power of the same meter in the window; then it can have been anything from nothing to the maximum that can flow.
"""

from collections.abc import Iterable, Mapping, Sequence
from fractions import Fraction
from math import isqrt
from typing import Final

from energy_agent.core.meters.facility import MeterEnergy
from energy_agent.core.quantity import Quantity, Unit, no_quantity
from energy_agent.core.text import list_first

_PPM: Final = 1_000_000
_K: Final = Fraction(196, 100)
_FINE: Final = 10**12
_NAMED: Final = 3

Terms = Mapping[str, int]
"""Meter id -> +1 where it is added, -1 where it is taken off."""


def energy(meters: Mapping[str, MeterEnergy], terms: Terms) -> Quantity:
    """A signed sum of meters in uJ."""
    if missing := _unmetered(meters, terms):
        return no_quantity(missing)
    value = _sum(meters, terms)
    off = _gain_uj({m: Fraction(sign) for m, sign in terms.items()}, meters) + sum(meters[m].edge_uj for m in terms)
    low, high = _sum_at(meters, terms, -1, terms), _sum_at(meters, terms, 1, terms)
    return Quantity(Fraction(value), None if low is None else low - off, None if high is None else high + off, unit=Unit.UJ)


def ratio(meters: Mapping[str, MeterEnergy], above: Terms, below: Terms) -> Quantity:
    """The sum of `above` over that of `below`; a meter that is in both errs in both at once."""
    if missing := _unmetered(meters, {**above, **below}):
        return no_quantity(missing)
    top, bottom = _sum(meters, above), _sum(meters, below)
    if bottom <= 0:
        return no_quantity("no energy was metered in the denominator")

    def slopes(t: int, b: int) -> dict[str, Fraction]:
        """d(T/B) = sum over meters of (t B - b T) / B^2 dE."""
        return {m: Fraction(above.get(m, 0) * b - below.get(m, 0) * t, b * b) for m in {**above, **below}}

    def bound(way: int) -> Fraction | None:
        here = slopes(top, bottom)
        t, b = _sum_at(meters, above, way, here), _sum_at(meters, below, way, here)
        if t is None or b is None or b <= 0:
            return None
        point_slopes = slopes(t, b)  # what nobody saw has moved the ratio, and with it what an error of a meter does to it
        off = _gain_uj(point_slopes, meters) + sum(abs(s) * meters[m].edge_uj for m, s in point_slopes.items())
        return Fraction(t, b) + way * off

    return Quantity(Fraction(top, bottom), bound(-1), bound(1), unit=Unit.RATIO)


def coverage(meters: Iterable[MeterEnergy]) -> Fraction:
    """The share of the window in which the least covered of these meters was read."""
    return min((Fraction(min(m.measured_ns, m.window_ns), m.window_ns) for m in meters), default=Fraction(0))


def _unmetered(meters: Mapping[str, MeterEnergy], terms: Iterable[str]) -> str:
    names = sorted(m for m in terms if not meters[m].measured_ns and meters[m].filled is None)
    return f"meter {list_first(names, _NAMED)}: nothing was metered in this window" if names else ""


def _sum(meters: Mapping[str, MeterEnergy], terms: Terms) -> int:
    return sum(sign * (meters[m].measured_uj + meters[m].imputed_uj) for m, sign in terms.items())


def _sum_at(
    meters: Mapping[str, MeterEnergy], terms: Terms, way: int, slope: Mapping[str, int] | Mapping[str, Fraction]
) -> int | None:
    """The sum with the unread energy that makes a value lowest (`way` -1) or highest (1); `slope`: its change per uJ."""
    total = 0
    for m, sign in terms.items():
        most = slope[m] * way > 0
        unseen = meters[m].missing_bound_uj if most else meters[m].missing_low_uj
        if unseen is None:
            return None
        total += sign * (meters[m].measured_uj + unseen)
    return total


def _gain_uj(slope: Mapping[str, Fraction], meters: Mapping[str, MeterEnergy]) -> Fraction:
    groups: dict[str, Fraction] = {}
    for m, s in slope.items():
        facts = meters[m].facts
        # The register shows true x (1 + g), |g| <= a: the truth is off by at most a / (1 - a) of what it shows.
        most = abs(s) * meters[m].measured_uj * Fraction(facts.accuracy_ppm, _PPM - facts.accuracy_ppm)
        groups[facts.calibration] = groups.get(facts.calibration, Fraction(0)) + most
    return spread(list(groups.values()))


def spread(bounds: Sequence[Fraction]) -> Fraction:
    """The 95 % bound of the sum of independent errors, each uniform within its bound; rounded up."""
    squares = sum((b * b for b in bounds), Fraction(0)) * _K * _K / 3
    root = Fraction(isqrt(int(squares * _FINE * _FINE)) + 1, _FINE) if squares else Fraction(0)
    return min(sum(bounds, Fraction(0)), root)
