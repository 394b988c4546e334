"""Energy of a site's meters over any window of whole cells, from the site's ledger.

Old cells are folded into days, so that a year of many meters stays small; a window must begin and end with a day there.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby, pairwise
from typing import Final

from energy_agent.core.boundary import is_meter, site_and_meter
from energy_agent.core.boundary import meter as meter_device
from energy_agent.core.energy import Gap, Method, WorkloadFacts
from energy_agent.core.meters.facility import METER_GONE, METER_KIND, MeterEnergy, MeterFacts, Position, Role, facts_of
from energy_agent.core.units import NS_PER_DAY
from energy_agent.ledger.rows.kinds import CELL_NS, Cell, GapRow, Row
from energy_agent.ledger.rows.kinds import EdgeRow as SpanRow
from energy_agent.ledger.rows.uncertainty import EdgeRun, bound_of, follow

DAY_NS: Final = NS_PER_DAY
FOREVER_NS: Final = 1 << 63


@dataclass(slots=True)
class _Slot:
    """What a meter counted in one cell, or one day."""

    energy_uj: dict[Method, int] = field(default_factory=dict)
    measured_ns: int = 0
    twice_ns: int = 0  # metered beyond the length of a cell, as when a clock was set back
    runs: list[EdgeRun] = field(default_factory=list)
    gaps: list[Gap] = field(default_factory=list)


@dataclass(slots=True)
class _Meter:
    facts: dict[int, MeterFacts | None] = field(default_factory=dict)  # effective-dated; None: it is gone
    first_ns: int | None = None  # the first instant that was metered
    cells: dict[int, _Slot] = field(default_factory=dict)  # by start, UTC ns
    days: dict[int, _Slot] = field(default_factory=dict)


class FacilityBook:
    """Rows of one site's ledger in, energy of its meters over a window out."""

    def __init__(self, site: str) -> None:
        self._site = site
        self._meters: dict[str, _Meter] = {}
        self.first_ns: int | None = None  # the earliest instant in the rows that were added
        self.until_ns: int | None = None  # the latest one

    @property
    def meters(self) -> tuple[str, ...]:
        """Ids of the meters that exist according to their last metadata."""
        return tuple(sorted(m for m, meter in self._meters.items() if meter.facts and meter.facts[max(meter.facts)]))

    @property
    def empty(self) -> bool:
        """Whether the rows declare no meter."""
        return not any(facts for meter in self._meters.values() for facts in meter.facts.values())

    def changed_ns(self) -> frozenset[int]:
        """When a meter came, went or changed, UTC ns."""
        return frozenset(since for meter in self._meters.values() for since in meter.facts)

    def roles(self, device: str) -> frozenset[Role]:
        """Every role that one of this site's meters had."""
        return frozenset(facts.role for facts in self._meter(site_and_meter(device)[1]).facts.values() if facts is not None)

    def parent_of(self, device: str) -> str:
        """Return the device of the meter above one of this site's, by its last metadata; "" without one."""
        meter_facts = [facts for facts in self._meter(site_and_meter(device)[1]).facts.values() if facts is not None]
        return meter_device(self._site, meter_facts[-1].parent) if meter_facts and meter_facts[-1].parent else ""

    @property
    def span_ns(self) -> tuple[int, int] | None:
        """From the first cell's start to the last one's end; None: nothing is recorded."""
        starts = [t for meter in self._meters.values() for part in (meter.cells, meter.days) for t in part]
        if not starts:
            return None
        end = max((t + CELL_NS for meter in self._meters.values() for t in meter.cells), default=max(starts) + DAY_NS)
        return min(starts), end

    def add(self, row: Row) -> None:
        """Take a row; what is not of a meter of this site is left alone."""
        if isinstance(row, WorkloadFacts):
            if row.kind in (METER_KIND, METER_GONE) and site_and_meter(row.workload)[0] == self._site:
                meter_id = site_and_meter(row.workload)[1]
                gone = row.kind == METER_GONE
                self._meter(meter_id).facts[row.since_ns] = None if gone else facts_of(meter_id, row.labels)
            return
        if not isinstance(row, Cell | SpanRow | GapRow) or not is_meter(row.device):
            return
        site, meter_id = site_and_meter(row.device)
        if site != self._site:
            return
        meter = self._meter(meter_id)
        slot = meter.cells.setdefault(row.cell_start_ns, _Slot())
        if isinstance(row, Cell):
            slot.energy_uj[row.method] = slot.energy_uj.get(row.method, 0) + row.energy_uj
            slot.measured_ns += row.gpu_ns
        elif isinstance(row, SpanRow):
            slot.runs.append(row.run)
            meter.first_ns = row.run.start_ns if meter.first_ns is None else min(meter.first_ns, row.run.start_ns)
            self._reaches(row.run.start_ns, row.run.end_ns)
        else:
            self._reaches(row.start_ns, row.end_ns)
            slot.gaps.append(Gap(row.device, row.start_ns, row.end_ns, row.bound_uj, row.reason))

    def add_day(self, device: str, day_ns: int, energy_uj: Mapping[Method, int], run: EdgeRun) -> None:
        """Take a whole UTC day of one of this site's meters, which was metered from its start to its end, without a gap."""
        meter = self._meter(site_and_meter(device)[1])
        meter.days[day_ns] = _Slot(dict(energy_uj), DAY_NS, runs=[run])
        meter.first_ns = run.start_ns if meter.first_ns is None else min(meter.first_ns, run.start_ns)
        self._reaches(run.start_ns, run.end_ns)

    def fold_before(self, t_ns: int) -> None:
        """Fold the cells of whole UTC days that end by `t_ns` into days; not of days in which a meter came, went or changed."""
        until = t_ns - t_ns % DAY_NS
        changed = {since - since % DAY_NS for since in self.changed_ns()}
        for meter in self._meters.values():
            old = sorted(s for s in meter.cells if s < until and s - s % DAY_NS not in changed)
            for day_ns, starts in groupby(old, key=lambda s: s - s % DAY_NS):
                day = meter.days.setdefault(day_ns, _Slot())
                tally = _Tally(day_ns)
                for start in starts:
                    tally.add(day, start, meter.cells.pop(start), CELL_NS)

    def forget_before(self, t_ns: int) -> None:
        """Release days that ended before `t_ns`."""
        for meter in self._meters.values():
            meter.days = {start: day for start, day in meter.days.items() if start + DAY_NS > t_ns}

    def window(
        self,
        start_ns: int,
        end_ns: int,
        *,
        since_ns: int = 0,
        until_ns: int | None = None,
        additional: "FacilityBook | None" = None,
        only: Iterable[str] | None = None,
    ) -> dict[str, MeterEnergy]:
        """Energy of each meter in [start_ns, end_ns), with its last metadata and its largest error in that window.

        A meter counts while it is declared, and before that where it has rows from an imported history. It does not count
        while another meter of the same sum, since removed, was declared: that was the same meter with another id.

        Args:
            start_ns: start of the first cell.
            end_ns: end of the last cell.
            since_ns: if later than `start_ns`, the window begins here. This shortens its length only: cells are not cut.
            until_ns: if earlier than `end_ns`, the window ends here because its last cell is still open.
            additional: another ledger with further rows, such as unsealed ones.
            only: ids of the meters to return; None: all.

        Raises:
            ValueError: the window is empty, cuts a cell, or cuts a folded day.
        """
        if end_ns <= start_ns or start_ns % CELL_NS or end_ns % CELL_NS:
            raise ValueError("expected a window of whole 15-minute cells")
        window = (max(start_ns, since_ns), end_ns if until_ns is None else min(end_ns, until_ns))
        books = [self] if additional is None else [self, additional]
        parts = {m: [b._meters[m] for b in books if m in b._meters] for m in sorted({m for b in books for m in b._meters})}
        facts_by_meter = {m: dict(sorted((t, f) for each in of for t, f in each.facts.items())) for m, of in parts.items()}
        energies = {}
        wanted = parts.keys() if only is None else set(only)
        for meter_id, spans in _lives(parts, facts_by_meter).items():
            if meter_id not in wanted:
                continue
            intervals = [(max(window[0], since), min(window[1], until)) for since, until in spans]
            intervals = [span for span in intervals if span[1] > span[0]]
            if not intervals:
                continue
            facts = _within(facts_by_meter[meter_id], window)
            whole = _collected(parts[meter_id], (start_ns, end_ns), intervals[0][0], spans)
            length_ns = sum(end - start for start, end in intervals)
            gaps = tuple(sorted(whole.gaps, key=lambda g: (g.start_ns, g.end_ns, g.reason)))
            edge_uj = bound_of(whole.runs)
            energies[meter_id] = MeterEnergy(
                facts, length_ns, whole.measured_ns, whole.energy_uj, edge_uj, gaps, tuple(intervals), window[1] - window[0]
            )
        # A parent that did not exist in the window does not count as one.
        return {
            m: e if e.facts.parent in energies else replace(e, facts=replace(e.facts, parent="")) for m, e in energies.items()
        }

    def cells_of(self, meter_id: str, start_ns: int, end_ns: int) -> dict[int, tuple[int, int]]:
        """(energy in uJ, metered ns) of a meter by cell that is not folded, while it was declared."""
        parts = {m: [meter] for m, meter in self._meters.items()}
        lives = _lives(parts, {m: dict(sorted(meter.facts.items())) for m, meter in self._meters.items()})
        return {
            start: (sum(slot.energy_uj.values()), min(slot.measured_ns, CELL_NS))
            for start, slot in sorted(self._meter(meter_id).cells.items())
            if start_ns <= start < end_ns and _overlaps_any(start, CELL_NS, lives.get(meter_id, ()))
        }

    def _reaches(self, start_ns: int, end_ns: int) -> None:
        self.first_ns = start_ns if self.first_ns is None else min(self.first_ns, start_ns)
        self.until_ns = max(self.until_ns or 0, end_ns)

    def _meter(self, meter_id: str) -> _Meter:
        return self._meters.setdefault(meter_id, _Meter())


def book_of(site: str, rows: Iterable[Row]) -> FacilityBook:
    """Create the book of one site's rows."""
    book = FacilityBook(site)
    for row in rows:
        book.add(row)
    return book


Span = tuple[int, int]
"""Start and end, UTC ns."""


def _at(facts: Mapping[int, MeterFacts | None], t_ns: int) -> MeterFacts:
    """The meter's last metadata before an instant; its first metadata where nothing is older than the instant."""
    known_facts = [fact for fact in facts.values() if fact is not None]
    before = [fact for since, fact in facts.items() if fact is not None and since < t_ns]
    return before[-1] if before else known_facts[0]


def _within(facts: Mapping[int, MeterFacts | None], window: Span) -> MeterFacts:
    """The meter's last metadata in a window, with the largest error and maximum power in it: its accuracy class may change."""
    last = _at(facts, window[1])
    ends = [*list(facts)[1:], FOREVER_NS]
    spans = zip(facts.values(), facts, ends, strict=True)
    all_facts = [last, *(f for f, since, end in spans if f is not None and since < window[1] and end > window[0])]
    most = [f.max_mw for f in all_facts if f.max_mw is not None]
    max_mw = max(most) if len(most) == len(all_facts) else None
    return replace(last, accuracy_ppm=max(f.accuracy_ppm for f in all_facts), max_mw=max_mw)


def _lives(
    meters: Mapping[str, Sequence[_Meter]], facts_by_meter: Mapping[str, Mapping[int, MeterFacts | None]]
) -> dict[str, list[Span]]:
    """When each meter was there, from its facts and its first row."""
    gone: dict[tuple[Role, Position | None], list[int]] = {}
    for facts in facts_by_meter.values():
        for before, since in pairwise(facts):
            was = facts[before]
            if was is not None and facts[since] is None:
                gone.setdefault((was.role, was.position), []).append(since)
    by_meter: dict[str, list[Span]] = {}
    for meter_id, facts in facts_by_meter.items():
        ends = [*list(facts)[1:], FOREVER_NS]
        lives: list[Span] = []
        for (since, fact), end in zip(facts.items(), ends, strict=True):
            if fact is None:
                continue
            if lives and lives[-1][1] == since:
                lives[-1] = (lives[-1][0], end)
                continue
            if not lives:
                rows_ns = min((part.first_ns for part in meters[meter_id] if part.first_ns is not None), default=since)
                earlier = [t for t in gone.get((fact.role, fact.position), ()) if t <= since]
                since = min(since, max(rows_ns, max(earlier, default=0)))
            lives.append((since, end))
        if lives:
            by_meter[meter_id] = lives
    return by_meter


def _overlaps_any(start_ns: int, length_ns: int, lives: Sequence[Span]) -> bool:
    return any(start_ns < until and start_ns + length_ns > since for since, until in lives)


def _collected(parts: Sequence[_Meter], window: Span, since_ns: int, lives: Sequence[Span]) -> _Slot:
    """What a meter counted in a window, as far as it was there."""
    slots = [(start, DAY_NS, day) for part in parts for start, day in part.days.items()]
    slots += [(start, CELL_NS, cell) for part in parts for start, cell in part.cells.items()]
    whole, tally = _Slot(), _Tally(since_ns)
    for start, length_ns, slot in sorted(slots, key=lambda each: each[0]):
        if start >= window[1] or start + length_ns <= window[0] or not _overlaps_any(start, length_ns, lives):
            continue
        if start < window[0] or start + length_ns > window[1]:
            raise ValueError("expected a window of whole UTC days, because older cells are kept by day")
        tally.add(whole, start, slot, length_ns)
    return whole


@dataclass(slots=True)
class _Tally:
    """Adds slots in the order of time, and sets off what was metered twice against an earlier hole that nobody named.

    A clock that was set ahead leaves such a hole, and set back it meters as much time twice: the one is the other.
    """

    at_ns: int
    hole_ns: int = 0

    def add(self, into: _Slot, start_ns: int, slot: _Slot, length_ns: int) -> None:
        """Add a slot that begins at `start_ns`."""
        measured_ns = min(slot.measured_ns, length_ns)
        named_ns = sum(gap.end_ns - gap.start_ns for gap in slot.gaps)
        twice_ns = slot.twice_ns + slot.measured_ns - measured_ns
        offset_ns = min(twice_ns, self.hole_ns + max(0, start_ns - self.at_ns))
        self.hole_ns += max(0, start_ns - self.at_ns) + max(0, length_ns - measured_ns - named_ns) - offset_ns
        self.at_ns = max(self.at_ns, start_ns + length_ns)
        into.measured_ns += measured_ns + offset_ns
        into.twice_ns += twice_ns - offset_ns
        for method, uj in slot.energy_uj.items():
            into.energy_uj[method] = into.energy_uj.get(method, 0) + uj
        into.gaps += slot.gaps
        for run in sorted(slot.runs, key=lambda r: (r.start_ns, r.end_ns)):
            into.runs = [follow(into.runs[0], run)] if into.runs else [run]
