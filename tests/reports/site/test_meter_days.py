"""Day sums of meters match their rows: energy, time, gaps and bounds, whatever happens to the meters."""

import tempfile
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from energy_agent.core.energy import Entry, Gap, Method, State, WorkloadFacts
from energy_agent.core.meters.facility import METER_GONE, METER_KIND, MeterFacts, Position, Role
from energy_agent.ledger.facility import FacilityBook
from energy_agent.ledger.fleet.sites import Sites
from energy_agent.ledger.journal.book import Batch
from energy_agent.ledger.rows.kinds import CELL_NS, DeviceFacts
from energy_agent.ledger.segments import segment
from energy_agent.site.building.pue import YEAR_NS
from reports.ledger.days import DayStorage, find_days
from reports.ledger.store import open_store
from reports.ledger.sums import SiteWindow
from reports.site.meters import read_books
from tests.reports import chains
from tests.reports.chains import DAY, HOUR, KWH
from tests.reports.golden import at

FIRST, DAYS = at("2026-06-28"), 6
JULY = FIRST + 3 * DAY
MAIN = MeterFacts("main", Role.TOTAL, accuracy_ppm=5_000)
OTHERS = (
    MeterFacts("it", Role.IT, Position.UPS_OUTPUT, "main", accuracy_ppm=2_000),
    MeterFacts("cool", Role.COOLING, parent="main"),
)
METERS = (MAIN, *OTHERS)


def named(meter: MeterFacts) -> str:
    return meter.device("here")


def facts(meter: MeterFacts, since_ns: int, kind: str = METER_KIND) -> WorkloadFacts:
    return WorkloadFacts(named(meter), since_ns, kind, meter.labels)


def read(meter: MeterFacts, start_ns: int, kwh: int, method: Method = Method.COUNTER, length_ns: int = CELL_NS) -> Entry:
    edge = KWH // 100 + kwh
    return Entry(start_ns, start_ns + length_ns, named(meter), "", State.UNALLOCATED, method, kwh * KWH, edge, length_ns)


EVENT = st.tuples(
    st.sampled_from(["unread", "gap", "twice", "other_method", "half"]), st.integers(0, 2), st.integers(0, DAYS * 96 - 1)
)
CHANGE = st.none() | st.tuples(st.sampled_from(["gone", "changed"]), st.integers(1, 2), st.integers(0, DAYS * 24 - 1))


def batches(events: Sequence[tuple[str, int, int]], change: tuple[str, int, int] | None) -> list[Batch]:
    """A batch a day, as the site's process leaves them; what was metered twice comes right after the first time."""
    of = {(number, cell): what for what, number, cell in events}
    all_batches = []
    for day in range(DAYS):
        entries, gaps = list[Entry](), list[Gap]()
        for cell in range(day * 96, day * 96 + 96):
            start = FIRST + cell * CELL_NS
            for number, meter in enumerate(METERS):
                what, kwh = of.get((number, cell), ""), 1 + (cell * (3 + number)) % 17
                if what == "gap":
                    gaps.append(Gap(named(meter), start, start + CELL_NS, 40 * KWH, "no readings"))
                elif what == "other_method":
                    entries.append(read(meter, start, kwh, Method.INTEGRATED))
                elif what == "half":
                    entries.append(read(meter, start, kwh, length_ns=CELL_NS // 2))
                elif what != "unread":
                    entries += [read(meter, start, kwh)] * (2 if what == "twice" else 1)
        meter_facts = [facts(m, FIRST) for m in METERS] if not day else []
        if change is not None and change[2] // 24 == day:
            kind, number, hour = change
            meter = METERS[number]
            other = MeterFacts(meter.id, meter.role, meter.position, meter.parent, accuracy_ppm=9_000)
            meter_facts.append(
                facts(meter, FIRST + hour * HOUR, METER_GONE) if kind == "gone" else facts(other, FIRST + hour * HOUR)
            )
        devices = [DeviceFacts(named(m), "meter modbus", 0, FIRST) for m in METERS] if not day else []
        all_batches.append(Batch(entries, gaps=gaps, facts=meter_facts, devices=devices))
    return all_batches


@pytest.mark.smoke
@example(events=[("twice", 1, 394), ("unread", 1, 404)], change=None, start=JULY, end=FIRST + DAYS * DAY)
@example(events=[("half", 1, 394), ("twice", 1, 404)], change=("gone", 2, 30), start=JULY, end=FIRST + DAYS * DAY)
@given(
    events=st.lists(EVENT, max_size=6), change=CHANGE,
    start=st.sampled_from([JULY, JULY - 5 * HOUR, JULY + CELL_NS]),
    end=st.sampled_from([FIRST + DAYS * DAY, FIRST + 5 * DAY + 7 * HOUR, FIRST + 5 * DAY + 7 * HOUR + 1]),
)  # fmt: skip
@settings(max_examples=25, suppress_health_check=[HealthCheck.too_slow], deadline=None)
def test_days_of_a_meter_equal_its_rows(events, change, start, end):
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        paths = chains.write(folder / "segments", "lab", "site", batches(events, change))
        system = DayStorage(str(chains.compacted(folder / "segments", folder / "days", Sites({}, "here"))))
        by_rows = FacilityBook("here")
        for row in (row for path in paths for row in segment.read(path).rows):
            by_rows.add(row)
        days, windows = find_days(system), {"here": SiteWindow(start, end)}
        opened: list[tuple[str, int]] = []
        with open_store(system, [d for d in days if d.end_ns > start], windows, days) as store:

            def read_rows_of(wanted):
                opened.extend(wanted)
                store.open_meters(system, [d for d in days if (d.site, d.start_ns) in wanted])

            by_days = read_books(store, windows, read_rows_of)["here"]
        assert by_days.meters == by_rows.meters
        assert (by_days.first_ns, by_days.until_ns) == (by_rows.first_ns, by_rows.until_ns)
        first, last, end_ns = start - start % CELL_NS, end + -end % CELL_NS, end - end % CELL_NS
        asked = {"since_ns": start, "until_ns": end}
        assert by_days.window(first, last, **asked) == by_rows.window(first, last, **asked)
        assert by_days.window(end_ns - YEAR_NS, end_ns) == by_rows.window(end_ns - YEAR_NS, end_ns)
        assert by_days.cells_of("main", first, end) == by_rows.cells_of("main", first, end)
        if not events and change is None and (start, end) == (JULY, FIRST + DAYS * DAY):
            within = {("here", FIRST + day * DAY) for day in (3, 4, 5)}
            assert set(opened) == within | {("here", FIRST)}, "by rows: the days of the total, and that of the first facts"
