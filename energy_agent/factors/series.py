"""The intensity of a grid over time, as it was known at any moment. Pure.

Publishers often revise the value of an hour later. Every published value is kept with the time at which it was received, and
`as_of` returns the series as it was known at a time. So later revisions do not change a report of a closed period.
"""

import hashlib
import heapq
import json
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from itertools import pairwise
from typing import Final

from energy_agent.factors.basis import Basis

MOST_G: Final = Decimal(10_000)
"""No grid makes 10 kg a kWh."""
DIGITS_MAX: Final = 24


@dataclass(frozen=True, slots=True)
class About:
    """Whose series it is, and what it counts.

    Args:
        id: names the source within a site, such as electricity_maps.
        zone: as the source names it.
        quality: 1 (metered supplier) to 5 (annual country average).
    """

    id: str
    zone: str
    basis: Basis
    publisher: str
    licence: str
    gwp_set: str = ""
    quality: int = 3


@dataclass(frozen=True, slots=True)
class IntensityPoint:
    """One published value of the intensity of one interval.

    Args:
        start_ns: UTC ns; the interval ends before `end_ns`.
        g_per_kwh: exactly as published. An interval without a value has no point.
        estimated: the publisher marks it as an estimate.
        known_ns: when it was received, UTC ns.
        method: the publisher's name of the estimation method.
        raw_sha256: of the bytes that contained it.
    """

    start_ns: int
    end_ns: int
    g_per_kwh: Decimal
    estimated: bool
    known_ns: int
    method: str = ""
    raw_sha256: str = ""

    def __post_init__(self) -> None:
        if not 0 <= self.start_ns < self.end_ns:
            raise ValueError(f"expected an interval that ends after its start, got {self.start_ns} to {self.end_ns}")
        if not self.g_per_kwh.is_finite() or not 0 <= self.g_per_kwh <= MOST_G:
            raise ValueError(f"expected an intensity of at least 0 g/kWh, got {str(self.g_per_kwh)[:40]}")
        if len(self.g_per_kwh.as_tuple().digits) > DIGITS_MAX:
            raise ValueError(f"expected an intensity of at most {DIGITS_MAX} digits")

    @property
    def content(self) -> tuple[int, int, Decimal, bool, str]:
        """The published content, without the time at which it was received."""
        return self.start_ns, self.end_ns, self.g_per_kwh, self.estimated, self.method


@dataclass(frozen=True, slots=True)
class Piece:
    """An interval in which one published value applies."""

    start_ns: int
    end_ns: int
    g_per_kwh: Decimal
    estimated: bool


@dataclass(frozen=True, slots=True)
class IntensitySeries:
    """Every published value of a zone's intensity, in an order that does not depend on arrival. Create it with `series`."""

    about: About
    points: tuple[IntensityPoint, ...]

    def as_of(self, t_ns: int) -> "IntensitySeries":
        """The series as it was known at `t_ns`."""
        return IntensitySeries(self.about, tuple(p for p in self.points if p.known_ns <= t_ns))

    @property
    def sha256(self) -> str:
        """Hash of the content: the zone, the basis and every published value, but not the packager."""
        rows = [
            [p.start_ns, p.end_ns, decimal_text(p.g_per_kwh), p.estimated, p.known_ns, p.method, p.raw_sha256]
            for p in self.points
        ]
        text = json.dumps([self.about.zone, self.about.basis.name, rows], separators=(",", ":"), ensure_ascii=True)
        return hashlib.sha256(text.encode("ascii")).hexdigest()

    def pieces(self) -> tuple[Piece, ...]:
        """The value that applies at each time: the last one received, and among those the one of the shortest interval."""
        edges = sorted({edge for p in self.points for edge in (p.start_ns, p.end_ns)})
        pieces: list[Piece] = []
        # Among equals, prefer the one that is not an estimate, then the higher one: order by content, never by arrival.
        heap: list[tuple[tuple[int, int, bool, Decimal, str, int], IntensityPoint]] = []
        following = 0
        last: IntensityPoint | None = None
        for start_ns, end_ns in pairwise(edges):
            while following < len(self.points) and self.points[following].start_ns <= start_ns:
                point = self.points[following]
                heapq.heappush(heap, (_rank(point, following), point))
                following += 1
            while heap and heap[0][1].end_ns <= start_ns:
                heapq.heappop(heap)
            if not heap:
                continue
            holds = heap[0][1]
            if pieces and last is holds and pieces[-1].end_ns == start_ns:
                pieces[-1] = Piece(pieces[-1].start_ns, end_ns, holds.g_per_kwh, holds.estimated)
            else:
                pieces.append(Piece(start_ns, end_ns, holds.g_per_kwh, holds.estimated))
            last = holds
        return tuple(pieces)


def series(about: About, points: Iterable[IntensityPoint]) -> IntensitySeries:
    """Create a series from published values; a duplicate with the same time of receipt counts once."""
    return IntensitySeries(about, tuple(sorted(set(points), key=_order)))


def decimal_text(value: Decimal) -> str:
    """The canonical text of a value: 1.5 for 1.50."""
    text = f"{value:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def _order(p: IntensityPoint) -> tuple[int, int, int, Decimal, bool, str, str]:
    return p.start_ns, p.end_ns, p.known_ns, p.g_per_kwh, p.estimated, p.method, p.raw_sha256


def _rank(p: IntensityPoint, index: int) -> tuple[int, int, bool, Decimal, str, int]:
    return -p.known_ns, p.end_ns - p.start_ns, p.estimated, -p.g_per_kwh, p.method, index
