"""The intensity of a grid over time, as it was known at any moment. Pure.

A value for an hour is often told again later, better. Every telling is kept with the moment at which it was learnt, and `as_of`
gives the series as it stood then: so a report of a closed period stays the same, whatever is learnt afterwards.
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
    """One telling of the intensity of one interval.

    Args:
        start_ns: UTC ns; the interval ends before `end_ns`.
        g_per_kwh: exactly as reported. What was not told has no point.
        estimated: whoever told it says that it is an estimate.
        known_ns: when it was learnt, UTC ns.
        method: how it was estimated, in the publisher's word.
        raw_sha256: of the bytes it came in.
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
            raise ValueError(f"a stretch of time from {self.start_ns} to {self.end_ns} is none")
        if not self.g_per_kwh.is_finite() or not 0 <= self.g_per_kwh <= MOST_G:
            raise ValueError(f"{str(self.g_per_kwh)[:40]} g/kWh is no intensity")
        if len(self.g_per_kwh.as_tuple().digits) > DIGITS_MAX:
            raise ValueError(f"an intensity of more than {DIGITS_MAX} digits")

    @property
    def content(self) -> tuple[int, int, Decimal, bool, str]:
        """What it tells, whenever it was learnt."""
        return self.start_ns, self.end_ns, self.g_per_kwh, self.estimated, self.method


@dataclass(frozen=True, slots=True)
class Piece:
    """An interval in which one telling holds."""

    start_ns: int
    end_ns: int
    g_per_kwh: Decimal
    estimated: bool


@dataclass(frozen=True, slots=True)
class IntensitySeries:
    """Every telling of a zone's intensity, in one order whatever order they came in. Make it by `series`."""

    about: About
    points: tuple[IntensityPoint, ...]

    def as_of(self, t_ns: int) -> "IntensitySeries":
        """The series as it was known at `t_ns`."""
        return IntensitySeries(self.about, tuple(p for p in self.points if p.known_ns <= t_ns))

    @property
    def sha256(self) -> str:
        """Hash of what it tells: of its basis and of every telling, but not of who packaged it."""
        rows = [
            [p.start_ns, p.end_ns, decimal_text(p.g_per_kwh), p.estimated, p.known_ns, p.method, p.raw_sha256]
            for p in self.points
        ]
        text = json.dumps([self.about.zone, self.about.basis.name, rows], separators=(",", ":"), ensure_ascii=True)
        return hashlib.sha256(text.encode("ascii")).hexdigest()

    def pieces(self) -> tuple[Piece, ...]:
        """What holds when: of tellings of the same instant the one learnt last, of those the one of the shortest interval."""
        edges = sorted({edge for p in self.points for edge in (p.start_ns, p.end_ns)})
        found: list[Piece] = []
        # Of equals the one that is no estimate, then the higher: the order is of what is told, never of how it came.
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
            if found and last is holds and found[-1].end_ns == start_ns:
                found[-1] = Piece(found[-1].start_ns, end_ns, holds.g_per_kwh, holds.estimated)
            else:
                found.append(Piece(start_ns, end_ns, holds.g_per_kwh, holds.estimated))
            last = holds
        return tuple(found)


def series(about: About, points: Iterable[IntensityPoint]) -> IntensitySeries:
    """A series of these tellings; the same one told twice at one moment counts once."""
    return IntensitySeries(about, tuple(sorted(set(points), key=_order)))


def decimal_text(value: Decimal) -> str:
    """The one text of a value: 1.50 is 1.5."""
    text = f"{value:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def _order(p: IntensityPoint) -> tuple[int, int, int, Decimal, bool, str, str]:
    return p.start_ns, p.end_ns, p.known_ns, p.g_per_kwh, p.estimated, p.method, p.raw_sha256


def _rank(p: IntensityPoint, index: int) -> tuple[int, int, bool, Decimal, str, int]:
    return -p.known_ns, p.end_ns - p.start_ns, p.estimated, -p.g_per_kwh, p.method, index
