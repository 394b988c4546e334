"""Energy by ledger cell times intensities: grams, exactly, with a statement for every source that was used. Pure.

Energy within a cell is spread evenly over its time, in whole microjoules by largest remainder. Each instant takes the first
source of the list that knows it. What no source knows is a statement too: it has energy and no grams. So the energy of the
statements is the energy that came in, to the last microjoule.
"""

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from fractions import Fraction
from typing import Final

from energy_agent.core.errors import UsageError
from energy_agent.core.units import NS_PER_S, UJ_PER_KWH, split_integer
from energy_agent.factors.basis import Basis, basis_of
from energy_agent.factors.record import Factor
from energy_agent.factors.series import IntensitySeries, Piece

CELL_NS: Final = 900 * NS_PER_S
"""A ledger's cell: a quarter of an hour, UTC."""
NOWHERE: Final = ""
"""Id of the statement of what no source knows."""
_FOREVER_NS: Final = 1 << 63


@dataclass(frozen=True, slots=True)
class IntensitySource:
    """A source of intensities, created by `of_series` or `of_factor`.

    Args:
        pieces: disjoint, in order.
        quality: 1 (metered supplier) to 5 (annual country average).
        reasons: why no better source was chosen, as far as the caller knows.
    """

    id: str
    basis: Basis
    quality: int
    pieces: tuple[Piece, ...]
    reasons: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class SourceUse:
    """What one source was used for.

    Args:
        id: of the source; NOWHERE for what no source knows.
        grams: None for what no source knows.
        ns: time of the cells that it was used for.
        estimated_uj: part of `uj` whose intensity is an estimate, by its publisher's word.
        reasons: why a better one was not used.
    """

    id: str
    uj: int
    grams: Fraction | None
    ns: int
    quality: int | None
    estimated_uj: int
    reasons: tuple[str, ...]

    @property
    def hours(self) -> Fraction:
        """Time in hours."""
        return Fraction(self.ns, 3600 * NS_PER_S)

    @property
    def estimated_share(self) -> Fraction | None:
        """Share of its energy whose intensity is an estimate; None without energy."""
        return Fraction(self.estimated_uj, self.uj) if self.uj else None


@dataclass(frozen=True, slots=True)
class CarbonTotal:
    """A total of one basis."""

    basis: Basis
    statements: tuple[SourceUse, ...]

    @property
    def uj(self) -> int:
        """The energy that came in."""
        return sum(s.uj for s in self.statements)

    @property
    def grams_known(self) -> Fraction:
        """Grams of the energy that a source knows."""
        return sum((s.grams for s in self.statements if s.grams is not None), Fraction(0))

    @property
    def grams(self) -> Fraction | None:
        """Grams of all the energy; None where a part of it is of no source."""
        return None if self.uj_unknown else self.grams_known

    @property
    def uj_unknown(self) -> int:
        """Energy that no source knows."""
        return sum(s.uj for s in self.statements if s.grams is None)


def of_series(intensities: IntensitySeries, as_of_ns: int) -> IntensitySource:
    """A series as it was known at `as_of_ns`. Its id has the hash of what was known then."""
    revision = intensities.as_of(as_of_ns)
    identity = f"series.{intensities.about.id}.{intensities.about.zone}.{intensities.about.basis.name}.{revision.sha256}"
    return IntensitySource(identity, intensities.about.basis, intensities.about.quality, revision.pieces())


def of_factor(factor: Factor, reasons: Iterable[str] = ()) -> IntensitySource:
    """A factor, which holds for all time."""
    piece = Piece(0, _FOREVER_NS, factor.value, estimated=False)
    return IntensitySource(factor.id, basis_of(factor), factor.quality, (piece,), tuple(reasons))


def join(cells: Mapping[int, int], sources: Sequence[IntensitySource], cell_ns: int = CELL_NS) -> CarbonTotal:
    """Grams of an energy.

    Args:
        cells: energy in uJ by the UTC ns at which its cell starts.
        sources: the best first; all of one basis.
        cell_ns: length of a cell.

    Raises:
        UsageError: no source, one there twice, or sources of more than one basis.
        ValueError: a negative energy.
    """
    basis = _one_basis(sources)
    sums = [_Sum() for _ in range(len(sources) + 1)]
    for start_ns, parts in _by_cell(cells, sources, cell_ns):
        shares = split_integer(cells[start_ns], [length for _, _, length in parts])
        for (index, piece, length_ns), uj in zip(parts, shares, strict=True):
            sums[index].take(piece, uj, length_ns)
    used = {index: each for index, each in enumerate(sums) if each.ns}
    statements = []
    gap_notes: list[str] = []
    for index, source in enumerate(sources):
        if index in used:
            statements.append(used[index].statement(source.id, source.quality, (*source.reasons, *gap_notes)))
        missing_ns = sum(s.ns for i, s in used.items() if i > index)
        if missing_ns:
            gap_notes.append(f"{source.id}: no value for {_hours(missing_ns)} h")
    if len(sources) in used:
        statements.append(used[len(sources)].statement(NOWHERE, None, tuple(gap_notes)))
    return CarbonTotal(basis, tuple(statements))


def intensities(cells: Iterable[int], sources: Sequence[IntensitySource], cell_ns: int = CELL_NS) -> dict[int, Fraction]:
    """Mean intensity of each cell in g/kWh, exactly; a cell of which a part is of no source is not there.

    Args:
        cells: the UTC ns at which they start.
        sources: as for `join`, which this agrees with for energy that is spread evenly within its cell.
        cell_ns: length of a cell.

    Raises:
        UsageError: as `join`.
    """
    _one_basis(sources)
    by_hour: dict[int, Fraction] = {}
    exact: dict[Decimal, Fraction] = {}
    for start_ns, parts in _by_cell(cells, sources, cell_ns):
        values = [(piece.g_per_kwh, ns) for _, piece, ns in parts if piece is not None]
        for value, _ in values:
            if value not in exact:
                exact[value] = Fraction(value)
        if len(parts) == 1 and values:
            by_hour[start_ns] = exact[values[0][0]]
        elif len(values) == len(parts):
            by_hour[start_ns] = sum((exact[value] * ns for value, ns in values), Fraction(0)) / cell_ns
    return by_hour


def _one_basis(sources: Sequence[IntensitySource]) -> Basis:
    if not sources:
        raise UsageError("this energy has no carbon intensity")
    for source in sources:
        if source.basis != sources[0].basis:
            raise UsageError(
                f"{sources[0].basis} ({sources[0].id}) and {source.basis} ({source.id}) cannot be added to one total; "
                "create a total for each"
            )
    ids = [source.id for source in sources]
    if len(set(ids)) < len(ids):
        raise UsageError(f"duplicate source {next(i for i in ids if ids.count(i) > 1)}")
    return sources[0].basis


@dataclass(slots=True)
class _Sum:
    uj: int = 0
    uj_by_value: dict[Decimal, int] = field(default_factory=dict)
    estimated_uj: int = 0
    ns: int = 0

    def take(self, piece: Piece | None, uj: int, length_ns: int) -> None:
        self.uj += uj
        self.ns += length_ns
        if piece is not None:
            self.uj_by_value[piece.g_per_kwh] = self.uj_by_value.get(piece.g_per_kwh, 0) + uj
            self.estimated_uj += uj if piece.estimated else 0

    def statement(self, identity: str, quality: int | None, reasons: tuple[str, ...]) -> SourceUse:
        grams = None
        if quality is not None:
            grams = sum((Fraction(value) * uj for value, uj in self.uj_by_value.items()), Fraction(0)) / UJ_PER_KWH
        return SourceUse(identity, self.uj, grams, self.ns, quality, self.estimated_uj, reasons)


class _Search:
    """The pieces of a source, by time."""

    def __init__(self, pieces: tuple[Piece, ...]) -> None:
        self._pieces = pieces
        self._starts = [p.start_ns for p in pieces]

    def at(self, t_ns: int, end_ns: int) -> tuple[Piece | None, int]:
        """What holds at an instant, and until when that is so, at most until `end_ns`."""
        index = bisect_right(self._starts, t_ns) - 1
        if index >= 0 and self._pieces[index].end_ns > t_ns:
            return self._pieces[index], min(end_ns, self._pieces[index].end_ns)
        following = self._starts[index + 1] if index + 1 < len(self._starts) else end_ns
        return None, min(end_ns, following)


_Part = tuple[int, Piece | None, int]
"""(index of the source, its piece, ns); the index for time without a source is one past the last."""


def _by_cell(cells: Iterable[int], sources: Sequence[IntensitySource], cell_ns: int) -> Iterator[tuple[int, list[_Part]]]:
    """Each cell, in order, with its parts."""
    searches = [_Search(source.pieces) for source in sources]
    last: Piece | None = None  # most cells lie in the piece of the one before
    for start_ns in sorted(cells):
        if last is not None and last.start_ns <= start_ns and start_ns + cell_ns <= last.end_ns:
            yield start_ns, [(0, last, cell_ns)]
            continue
        parts = list(_parts(start_ns, start_ns + cell_ns, searches))
        yield start_ns, parts
        # A better source may begin anywhere; only the best one's piece is sure to hold until its end.
        last = parts[-1][1] if parts[-1][0] == 0 else None


def _parts(start_ns: int, end_ns: int, searches: Sequence[_Search]) -> Iterable[_Part]:
    """The parts of a cell."""
    t_ns = start_ns
    while t_ns < end_ns:
        until_ns = end_ns
        for index, search in enumerate(searches):
            piece, until_ns = search.at(t_ns, until_ns)
            if piece is not None:
                yield index, piece, until_ns - t_ns
                break
        else:
            yield len(searches), None, until_ns - t_ns
        t_ns = until_ns


def _hours(ns: int) -> str:
    """Hours as text, to the second decimal: a quarter of an hour is the least there is."""
    hundredths = round(Fraction(ns * 100, 3600 * NS_PER_S))
    return f"{hundredths // 100}.{hundredths % 100:02d}".removesuffix(".00")
