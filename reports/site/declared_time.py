"""Check whether a building's meters existed for as long as its nodes used energy. Pure.

Meters that are added or removed within a period have no data for the rest of it. A short rest counts as unread time: it is
imputed at their mean power and bounded by their maximum power. With a longer rest the building has no energy value. A site
that opened in the period together with its nodes is complete.
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from fractions import Fraction

from energy_agent.core.meters.facility import MeterEnergy, Role
from energy_agent.site.building.pue import COVERED
from energy_agent.site.building.spans import Span, merged, overlap_ns

Meters = Mapping[str, MeterEnergy]


def undeclared(meters: Meters, terms: Iterable[str], used: Span | None) -> str:
    """Why a sum of meters is not that of the time in which nodes used energy; "": it is, or nearly."""
    there = [meters[m].lives for m in terms]
    if used is None or not there or not all(there):
        return ""
    share = Fraction(overlap_ns(merged(life for lives in there for life in lives), used), used[1] - used[0])
    return "" if share >= COVERED else f"its meters covered {float(share):.1%} of the time in which nodes used energy"


def with_undeclared(meters: Meters, used: Span | None) -> dict[str, MeterEnergy]:
    """Return the meters, with time marked as unread if nodes used energy and no meter of the same quantity existed.

    Only the first and last meters of a quantity lose that time: a meter that was added next to an existing one is new, not
    late.
    """
    return {name: replace(meter, window_ns=meter.window_ns + _unread_ns(meters, meter, used)) for name, meter in meters.items()}


def _unread_ns(meters: Meters, meter: MeterEnergy, used: Span | None) -> int:
    there = merged(life for each in meters.values() if _alike(each, meter) for life in each.lives)
    if used is None or not meter.lives or not there:
        return 0
    (first, _), (_, last) = there[0], there[-1]
    before_ns = max(0, first - used[0]) if meter.lives[0][0] == first else 0
    after_ns = max(0, used[1] - max(first, used[0])) - overlap_ns(there, used) if meter.lives[-1][1] == last else 0
    return before_ns + after_ns


def _alike(one: MeterEnergy, other: MeterEnergy) -> bool:
    """Both measure the same: the total, or IT at one position. Others came with the meters of the total, or later."""
    if other.facts.role is Role.IT:
        return (one.facts.role, one.facts.position) == (Role.IT, other.facts.position)
    return one.facts.role is Role.TOTAL
