"""Electricity that was bought by contract or certificate, matched with what was consumed, period by period. Pure.

A lot is a volume that may be matched with the consumption of its own period and of no other: an hour, a month, a year. Never
more is covered than was consumed in that period, only within the site's own market, and no kilowatt-hour is covered twice: lots
of short periods go first, and the energy they cover is not available to the longer ones. Of equal periods certificates go
before contracts (Scope 2 Guidance 2015, table 6.3). The unused rest of a lot is reported with the reason, and so is the whole
of a lot that may not be claimed.
"""

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum
from fractions import Fraction
from itertools import pairwise
from typing import Final

from energy_agent.core.units import NS_PER_S, UJ_PER_KWH, split_integer
from reports.inputs.market import MarketBoundary

HOUR_NS: Final = 3600 * NS_PER_S
CERTIFICATE_UJ: Final = 1000 * UJ_PER_KWH
"""Energy of one certificate of any registry: 1 MWh."""
NOT_RETIRED: Final = "not retired"
UNCERTIFIED: Final = "more than its certificates of 1 MWh each"


class InstrumentKind(StrEnum):
    """What was bought."""

    PPA = "ppa"  # a power purchase agreement
    GO = "go"  # guarantees of origin
    REC = "rec"  # renewable energy certificates
    I_REC = "i-rec"
    OTHER = "other"


class Technology(StrEnum):
    """What made the electricity."""

    WIND = "wind"
    SOLAR = "solar"
    HYDRO = "hydro"
    GEOTHERMAL = "geothermal"
    BIOMASS = "biomass"
    OCEAN = "ocean"
    NUCLEAR = "nuclear"
    FOSSIL = "fossil"
    MIXED = "mixed"

    @property
    def renewable(self) -> bool:
        """Whether it counts for REF; a mix that nobody takes apart does not."""
        return self not in (Technology.NUCLEAR, Technology.FOSSIL, Technology.MIXED)

    @property
    def clean(self) -> bool:
        """Whether it counts for hourly matching with clean electricity: renewable or nuclear."""
        return self.renewable or self is Technology.NUCLEAR

    @property
    def may_burn_biomass(self) -> bool:
        """Whether its electricity may have biogenic CO2, which is reported apart from the scopes."""
        return self in (Technology.BIOMASS, Technology.MIXED)

    @property
    def burns_nothing(self) -> bool:
        """Whether its direct emissions are 0 by its nature; geothermal wells and biomass have some."""
        return self in (Technology.WIND, Technology.SOLAR, Technology.HYDRO, Technology.OCEAN, Technology.NUCLEAR)


CERTIFICATES: Final = frozenset({InstrumentKind.GO, InstrumentKind.REC, InstrumentKind.I_REC})
"""Certificates, which a registry issues apart from the electricity."""


@dataclass(frozen=True, slots=True)
class Lot:
    """A volume of one contract that is matched with the consumption of one period.

    Args:
        g_per_kwh: of the electricity that was bought.
        start_ns: UTC ns; the period ends before `end_ns`.
        uj: the volume.
        uncertified_uj: part of the volume that the contract's certificates do not prove (`certified`); it covers nothing.
        objection: why it may not be claimed and covers nothing; "": it may be claimed.
        timed: its period is that of a delivery with a time stamp, not of a volume that was spread evenly.
        proof: registry, retirement and serial numbers of its certificates, as text.
        biogenic_g_per_kwh: biogenic CO2 of the electricity; None: not stated.
    """

    contract: str
    kind: InstrumentKind
    zone: str
    technology: Technology
    g_per_kwh: Decimal
    start_ns: int
    end_ns: int
    uj: int
    objection: str = ""
    timed: bool = False
    proof: str = ""
    biogenic_g_per_kwh: Decimal | None = None
    uncertified_uj: int = 0


@dataclass(frozen=True, slots=True)
class ContractUse:
    """What came of one contract in a window.

    Args:
        available_uj: its volume within the window.
        covered_uj: of it, matched with consumption.
        unused: of it, not matched, by reason; with `covered_uj` it is all that was available.
        grams: of what it covers.
        biogenic_grams: biogenic CO2 of what it covers; None: not stated.
    """

    contract: str
    kind: InstrumentKind
    technology: Technology
    same_zone: bool
    available_uj: int
    covered_uj: int
    unused: Mapping[str, int]
    grams: Fraction
    proof: str = ""
    biogenic_grams: Fraction | None = None


@dataclass(frozen=True, slots=True)
class ContractCoverage:
    """A window's consumption and what covers it.

    Args:
        consumed_uj: all of it.
        remaining: by cell what nothing covers: it takes the residual mix.
        claims: by contract, in the order of their ids.
    """

    consumed_uj: int
    remaining: Mapping[int, int]
    claims: tuple[ContractUse, ...]

    @property
    def covered_uj(self) -> int:
        """Energy that a contract covers, renewable or not."""
        return sum(c.covered_uj for c in self.claims)

    @property
    def renewable_uj(self) -> int:
        """Energy that renewable electricity covers."""
        return sum(c.covered_uj for c in self.claims if c.technology.renewable)

    @property
    def grams(self) -> Fraction:
        """Grams of what is covered."""
        return sum((c.grams for c in self.claims), Fraction(0))

    @property
    def renewable_share(self) -> Fraction | None:
        """The part of REF (ISO/IEC 30134-3) that contracts bring; None without consumption."""
        return Fraction(self.renewable_uj, self.consumed_uj) if self.consumed_uj else None


def cover(
    cells: Mapping[int, int],
    lots: Iterable[Lot],
    zone: str,
    start_ns: int,
    end_ns: int,
    market: MarketBoundary = MarketBoundary.GUIDANCE_2015,
) -> ContractCoverage:
    """Match consumption of a window with lots.

    Of a lot whose period is longer than the window only the window's share of time is available. The rest is for the other
    windows of the period, so that two quarters never use one certificate twice.

    Args:
        cells: consumption in uJ by the UTC ns at which its cell starts; cells outside of the window are left out.
        lots: of any contracts.
        zone: the site's.
        start_ns: UTC ns; the window ends before `end_ns`.
        end_ns: see `start_ns`.
        market: rule for the place of generation.

    Raises:
        ValueError: a negative consumption or volume.
    """
    remaining = {t: uj for t, uj in sorted(cells.items()) if start_ns <= t < end_ns}
    if min(remaining.values(), default=0) < 0:
        raise ValueError("consumption must not be negative")
    starts = list(remaining)
    consumed = sum(remaining.values())
    tallies: dict[str, _Tally] = {}
    for lot in sorted(lots, key=_order):
        if lot.uj < 0:
            raise ValueError(f"contract {lot.contract!r}: its volume must not be negative")
        available = _within(lot, lot.uj, start_ns, end_ns)
        if not available:
            continue
        tally = tallies.setdefault(lot.contract, _Tally(lot, lot.zone == zone))
        tally.available_uj += available
        if not market.accepts(zone, lot.zone):
            tally.leave(market.objection, available)
        elif lot.objection:
            tally.leave(lot.objection, available)
        else:
            lot_cells = starts[bisect_left(starts, lot.start_ns) : bisect_left(starts, lot.end_ns)]
            proven = min(available, _within(lot, lot.uj - lot.uncertified_uj, start_ns, end_ns))
            taken = _take(remaining, lot_cells, proven)
            tally.covered_uj[lot.g_per_kwh] = tally.covered_uj.get(lot.g_per_kwh, 0) + taken
            tally.leave("more than was consumed in its period", proven - taken)
            tally.leave(UNCERTIFIED, available - proven)
    claims = tuple(tally.claim() for _, tally in sorted(tallies.items()))
    return ContractCoverage(consumed, remaining, claims)


def _order(lot: Lot) -> tuple[int, bool, int, str, int]:
    """Short periods first, then certificates before contracts."""
    return lot.end_ns - lot.start_ns, lot.kind not in CERTIFICATES, lot.start_ns, lot.contract, lot.uj


def certified(volumes: Sequence[int], certificates: int) -> list[int]:
    """Of each volume of a contract, in uJ, the part that its certificates prove: all of it, or each in proportion.

    A contract of any kind is claimed by its certificates. In proportion, because nothing states which hours they are of.
    """
    most = certificates * CERTIFICATE_UJ
    return list(volumes) if sum(volumes) <= most else split_integer(most, list(volumes))


def hourly_lots(uj: int, start_ns: int, end_ns: int) -> Iterator[tuple[int, int, int]]:
    """(start, end, uJ) of each hour of a delivery that is the same in every hour; the parts sum to `uj`.

    Raises:
        ValueError: the period is not of whole quarters of an hour.
    """
    edges = [start_ns, *range((start_ns // HOUR_NS + 1) * HOUR_NS, end_ns, HOUR_NS), end_ns]
    lengths = [b - a for a, b in pairwise(edges)]
    if any(length % (HOUR_NS // 4) for length in lengths):
        raise ValueError("the period of delivery must start and end on a quarter of an hour")
    for begin, length, part in zip(edges, lengths, split_integer(uj, lengths), strict=False):
        yield begin, begin + length, part


@dataclass(slots=True)
class _Tally:
    lot: Lot
    same_zone: bool
    available_uj: int = 0
    covered_uj: dict[Decimal, int] = field(default_factory=dict)  # by grams per kWh
    unused: dict[str, int] = field(default_factory=dict)

    def leave(self, reason: str, uj: int) -> None:
        if uj:
            self.unused[reason] = self.unused.get(reason, 0) + uj

    def claim(self) -> ContractUse:
        lot = self.lot
        what = (lot.contract, lot.kind, lot.technology, self.same_zone)
        grams = sum((Fraction(g) * uj for g, uj in self.covered_uj.items()), Fraction(0)) / UJ_PER_KWH
        covered = sum(self.covered_uj.values())
        factor = lot.biogenic_g_per_kwh
        biogenic = None if factor is None else Fraction(factor) * covered / UJ_PER_KWH
        return ContractUse(*what, self.available_uj, covered, dict(sorted(self.unused.items())), grams, lot.proof, biogenic)


def _within(lot: Lot, uj: int, start_ns: int, end_ns: int) -> int:
    """A window's part of a volume, spread evenly over the lot's period: adjacent windows take no more than all."""
    until = [uj * (min(max(t, lot.start_ns), lot.end_ns) - lot.start_ns) for t in (start_ns, end_ns)]
    return until[1] // (lot.end_ns - lot.start_ns) - until[0] // (lot.end_ns - lot.start_ns)


def _take(remaining: dict[int, int], cells: Sequence[int], most_uj: int) -> int:
    """Take up to `most_uj` from these cells, from each in proportion to what is left of it."""
    available_uj = [remaining[t] for t in cells]
    taken = min(most_uj, sum(available_uj))
    if taken:
        for t, part in zip(cells, split_integer(taken, available_uj), strict=True):
            remaining[t] -= part
    return taken
