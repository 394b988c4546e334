"""Why a quantity changed between two periods: volume, mix, efficiency, PUE and grid, with effects that sum to the change. Pure.

A quantity is a product, such as CO2e = tokens x J/token x PUE x g/kWh. Changing its factors one after the other gives effects
that depend on the order. The mean over all orders does not (the Shapley value: L. S. Shapley, 1953; in this use J. Albrecht,
D. Francois and K. Schoors, Energy Policy 30, 2002): it sums to the change exactly, gives 0 to what did not change, and only
turns its sign when the periods are swapped. Fractions throughout.

Where several models (or kinds of work) make up the volume, their shares are a factor of their own (mix), so that other traffic
does not read as efficiency.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import combinations
from math import factorial
from typing import Final

from energy_agent.core.units import UJ_PER_KWH

VOLUME: Final = "volume"
MIX: Final = "mix"
EFFICIENCY: Final = "efficiency"
PUE: Final = "pue"
GRID: Final = "grid"
FACTORS_MOST: Final = 10
"""Each further factor doubles the work."""


@dataclass(frozen=True, slots=True)
class Side:
    """What one period puts into a bridge.

    Args:
        volumes: tokens or GPU-hours by model or kind of work; a single key if the period does not distinguish them.
        node_uj: energy of the nodes in uJ, with the same keys.
        pue: facility energy divided by node energy; None: unknown.
        g_per_kwh: location-based mean intensity of that energy; None: unknown.
        absent: why a value is unknown: "pue" or "grid" -> reason.
    """

    volumes: Mapping[str, Fraction | int]
    node_uj: Mapping[str, int]
    pue: Fraction | None = None
    g_per_kwh: Fraction | None = None
    absent: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Bridge:
    """Before, after, and what each factor did; absent (no effects) for `reason`. `effects` are in the order of the chart."""

    before: Fraction | None
    after: Fraction | None
    effects: tuple[tuple[str, Fraction], ...]
    reason: str = ""


@dataclass(frozen=True, slots=True)
class MixAdjusted:
    """Energy per unit of volume, in uJ, at the earlier period's mix of what both periods have; None for `reason`.

    Args:
        left_out: keys that one of the periods does not have.
    """

    before: Fraction | None
    after: Fraction | None
    left_out: tuple[str, ...]
    reason: str = ""


def energy_bridge(before: Side, after: Side) -> Bridge:
    """The change of facility energy, in uJ: volume, mix (where there are several keys), efficiency and PUE."""
    return _bridge(before, after, (PUE,), Fraction(1))


def co2e_bridge(before: Side, after: Side) -> Bridge:
    """The change of location-based CO2e, in g: as `energy_bridge`, and the grid."""
    return _bridge(before, after, (PUE, GRID), Fraction(1, UJ_PER_KWH))


def node_bridge(before: Side, after: Side) -> Bridge:
    """The change of node energy, in uJ, where there is no PUE: volume, mix and efficiency."""
    return _bridge(before, after, (), Fraction(1))


def shapley(value: Callable[[Sequence[bool]], Fraction], factors: int) -> list[Fraction]:
    """The effect of each factor on the way from `value` of all False (before) to `value` of all True (after).

    Effect of i = sum over sets S without i of |S|! (n - |S| - 1)! / n! x (value(S and i) - value(S)).

    Raises:
        ValueError: more than FACTORS_MOST factors.
    """
    if factors > FACTORS_MOST:
        raise ValueError(f"{factors} factors")
    cache: dict[frozenset[int], Fraction] = {}

    def at(those: frozenset[int]) -> Fraction:
        if those not in cache:
            cache[those] = value([i in those for i in range(factors)])
        return cache[those]

    effects = []
    for i in range(factors):
        others = [j for j in range(factors) if j != i]
        effect = Fraction(0)
        for size in range(factors):
            weight = Fraction(factorial(size) * factorial(factors - size - 1), factorial(factors))
            for chosen in combinations(others, size):
                effect += weight * (at(frozenset((*chosen, i))) - at(frozenset(chosen)))
        effects.append(effect)
    return effects


def mix_adjusted(before: Side, after: Side) -> MixAdjusted:
    """What a token (or GPU-hour) took in either period, had the mix stayed as it was before."""
    keys = sorted({*before.volumes, *after.volumes})
    common = [k for k in keys if before.volumes.get(k) and after.volumes.get(k)]
    left_out = tuple(k for k in keys if k not in common and (before.volumes.get(k) or after.volumes.get(k)))
    if not common:
        return MixAdjusted(None, None, left_out, "nothing was served in both periods")
    base = sum((Fraction(before.volumes[k]) for k in common), Fraction(0))

    def intensity(side: Side) -> Fraction:
        per_unit = {k: Fraction(side.node_uj.get(k, 0)) / Fraction(side.volumes[k]) for k in common}
        return sum((Fraction(before.volumes[k]) / base * per_unit[k] for k in common), Fraction(0))

    return MixAdjusted(intensity(before), intensity(after), left_out)


def _bridge(before: Side, after: Side, outer: tuple[str, ...], scale: Fraction) -> Bridge:
    sides = (before, after)
    if missing := [*_missing_factors(before, "before", outer), *_missing_factors(after, "after", outer)]:
        return Bridge(None, None, (), "; ".join(missing))
    keys = sorted({*before.volumes, *after.volumes})
    totals = [sum((Fraction(v) for v in side.volumes.values()), Fraction(0)) for side in sides]
    shares = [{k: Fraction(side.volumes.get(k, 0)) / t for k in keys} for side, t in zip(sides, totals, strict=True)]
    per_unit = _per_unit(keys, sides)
    multipliers = [[_outer(side, name) for name in outer] for side in sides]
    mixed = len([k for k in keys if shares[0][k] or shares[1][k]]) > 1
    names = (VOLUME, *((MIX,) if mixed else ()), EFFICIENCY, *outer)

    intensity = [[sum((share[k] * unit[k] for k in keys), Fraction(0)) for unit in per_unit] for share in shares]

    def value(after_by_factor: Sequence[bool]) -> Fraction:
        chosen = dict(zip(names, after_by_factor, strict=True))
        product = totals[chosen[VOLUME]] * intensity[chosen.get(MIX, False)][chosen[EFFICIENCY]] * scale
        for i, name in enumerate(outer):
            product *= multipliers[chosen[name]][i]
        return product

    ends = value([False] * len(names)), value([True] * len(names))
    return Bridge(*ends, tuple(zip(names, shapley(value, len(names)), strict=True)))


def _per_unit(keys: Sequence[str], sides: tuple[Side, Side]) -> list[dict[str, Fraction]]:
    """What a unit of volume took by key, in uJ, of either side; what one side does not have is as in the other, and so mix."""
    per_side: list[dict[str, Fraction]] = []
    for side, other in (sides, sides[::-1]):
        per_key = {}
        for k in keys:
            of = side if side.volumes.get(k) else other
            per_key[k] = Fraction(of.node_uj.get(k, 0)) / Fraction(of.volumes[k]) if of.volumes.get(k) else Fraction(0)
        per_side.append(per_key)
    return per_side


def _outer(side: Side, name: str) -> Fraction:
    multiplier = side.pue if name == PUE else side.g_per_kwh
    assert multiplier is not None  # _lacking looked
    return multiplier


def _missing_factors(side: Side, when: str, outer: tuple[str, ...]) -> list[str]:
    """Reasons for which this side has no product; [] if it has one."""
    reasons = []
    if not any(side.volumes.values()):
        reasons.append(f"{when}: no volume")
    idle = sorted(k for k, uj in side.node_uj.items() if uj and not side.volumes.get(k))
    if idle and any(side.volumes.values()):
        reasons.append(f"{when}: {idle[0] or 'some work'} used energy but has no volume")
    for name in outer:
        if (side.pue if name == PUE else side.g_per_kwh) is None:
            what = "PUE" if name == PUE else "location-based intensity"
            reasons.append(f"{when}: no {what}{': ' + side.absent[name] if side.absent.get(name) else ''}")
    return reasons
