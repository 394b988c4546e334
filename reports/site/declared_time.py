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
    late = {name: undeclared_spans(meters, meter, used) for name, meter in meters.items()}
    return {m: replace(e, window_ns=e.window_ns + sum(end - start for start, end in late[m])) for m, e in meters.items()}


def undeclared_spans(meters: Meters, meter: MeterEnergy, used: Span | None) -> list[Span]:
    """Return when nodes used energy and a meter should have been read, though it was not declared."""
    there = merged(life for each in meters.values() if _alike(each, meter) for life in each.lives)
    if used is None or not meter.lives or not there:
        return []
    first, last = there[0][0], there[-1][1]
    spans = [(used[0], first)] if meter.lives[0][0] == first else []
    if meter.lives[-1][1] == last:
        starts = [max(first, used[0]), *(end for _, end in there)]
        ends = [*(start for start, _ in there), used[1]]
        spans += [(max(start, used[0]), min(end, used[1])) for start, end in zip(starts, ends, strict=True)]
    return [(start, end) for start, end in spans if end > start]


def _alike(one: MeterEnergy, other: MeterEnergy) -> bool:
    """Both measure the same: the total, or IT at one position. Others came with the meters of the total, or later."""
    if other.facts.role is Role.IT:
        return (one.facts.role, one.facts.position) == (Role.IT, other.facts.position)
    return one.facts.role is Role.TOTAL
