"""Water that entered a site over a window, from bills and readings that begin and end where they do. Pure, exact."""

from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction


@dataclass(frozen=True, slots=True)
class WaterUse:
    """Water that entered a site in a period.

    Args:
        start_ns: UTC ns of the local midnight at which the period begins.
        end_ns: UTC ns of the one at which it is over.
        relative: bound of the error, as a share of `liters`.
        category: 1, 2 or 3 of the WUE (ISO/IEC 30134-9).
        source: where the figure stands.
    """

    start_ns: int
    end_ns: int
    liters: Fraction
    relative: Fraction
    category: int
    source: str = ""


@dataclass(frozen=True, slots=True)
class WaterTotal:
    """Of a window: liters, the bound of their error, the share of the window that is known, the categories that are in it."""

    liters: Fraction
    bound: Fraction
    known: Fraction
    categories: frozenset[int]


def water_in(rows: Iterable[WaterUse], start_ns: int, end_ns: int) -> WaterTotal:
    """Water of a window; a row that reaches beyond it counts by time.

    How the water of a bill falls within it is not known: what of it lies in the window can be anything from none to all. With
    the bill's own error r that is up to (1 + r) L, so a share s of L liters is off by at most max(s, 1 + r - s) L.
    """
    liters = bound = Fraction(0)
    known_ns = 0
    categories: set[int] = set()
    for row in rows:
        inside_ns = min(row.end_ns, end_ns) - max(row.start_ns, start_ns)
        if inside_ns <= 0:
            continue
        share = Fraction(inside_ns, row.end_ns - row.start_ns)
        known_ns += inside_ns
        liters += row.liters * share
        bound += row.liters * (row.relative if share == 1 else max(share, 1 + row.relative - share))
        categories.add(row.category)
    return WaterTotal(liters, bound, Fraction(known_ns, end_ns - start_ns), frozenset(categories))
