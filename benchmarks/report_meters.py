"""Twelve months of a building with many meters: cost in a report, and correctness of its PUE.

`python -m benchmarks report_meters` writes a year of 90 meters in cells of 15 minutes with the product's own ledger (takes
minutes), compacts it, creates a quarter's report, and compares the PUE of the twelve months with sums of integers from the
generator: each meter's readings, with its own mean power for holes.
"""

import json
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from itertools import chain
from pathlib import Path
from typing import Final

from benchmarks.chain import SegmentChainWriter
from benchmarks.report_scale import report
from benchmarks.runner import Row
from energy_agent.core.energy import Entry, Gap, Identity, Method, State, WorkloadFacts
from energy_agent.core.errors import UsageError
from energy_agent.core.meters.facility import METER_KIND, MeterFacts, Position, Role
from energy_agent.ledger.fleet import index
from energy_agent.ledger.fleet.compact import compact_days
from energy_agent.ledger.fleet.sites import Sites
from energy_agent.ledger.journal.book import Batch
from energy_agent.ledger.rows.kinds import CELL_NS, DeviceFacts

SITE: Final = "dc"
END_NS: Final = 1_790_812_800 * 10**9  # 2026-10-01T00:00Z
YEAR: Final = 365
CELLS: Final = 96
DAY_NS: Final = CELLS * CELL_NS
_HOUR: Final = 4
_EDGE_UJ: Final = 3_600_000_000
_HOLE_IN: Final = 50
"""One day in so many of a meter has an hour without readings."""


class BuildingMeters:
    """Meters of a building: a feed, cooling below it, and PDUs. `read_uj` and `read_ns`: energy and time of each meter's
    readings.
    """

    def __init__(self, meters: int) -> None:
        pdus = [MeterFacts(f"pdu-{n:03d}", Role.IT, Position.PDU_OUTPUT, "main") for n in range(meters - 2)]
        self.meters = (MeterFacts("main", Role.TOTAL), MeterFacts("cooling", Role.COOLING, parent="main"), *pdus)
        self.read_uj = dict.fromkeys((m.id for m in self.meters), 0)
        self.read_ns = dict(self.read_uj)

    def day(self, day: int) -> Iterator[Batch]:
        """A day's rows, an hour each."""
        start = END_NS - (YEAR - day) * DAY_NS
        for first in range(0, CELLS, _HOUR):
            entries, gaps = [], []
            for number, meter in enumerate(self.meters):
                device = meter.device(SITE)
                at = start + first * CELL_NS
                if (day * 7 + number * 13) % _HOLE_IN == 0 and first == 40 and meter.role is Role.IT:
                    gaps.append(Gap(device, at, at + _HOUR * CELL_NS, 20_000_000_000_000, "no readings"))
                    continue
                for cell in range(first, first + _HOUR):
                    uj = self._uj(meter, day * CELLS + cell)
                    at = start + cell * CELL_NS
                    entries.append(
                        Entry(at, at + CELL_NS, device, "", State.UNALLOCATED, Method.COUNTER, uj, _EDGE_UJ, CELL_NS)
                    )
                    self.read_uj[meter.id] += uj
                    self.read_ns[meter.id] += CELL_NS
            yield Batch(entries, gaps=gaps)

    def _uj(self, meter: MeterFacts, cell: int) -> int:
        """About 5 kW per PDU, another fifth for cooling, and a little more."""
        pdus = len(self.meters) - 2
        mean = {Role.TOTAL: 6_600_000_000 * pdus, Role.COOLING: 1_000_000_000 * pdus}.get(meter.role, 5_000_000_000)
        return mean * (900 + cell % 97 + len(meter.id))

    def batch(self) -> Batch:
        """Labels and facts of the meters."""
        since = END_NS - YEAR * DAY_NS
        facts = [WorkloadFacts(m.device(SITE), since, METER_KIND, m.labels) for m in self.meters]
        return Batch(facts=facts, devices=[DeviceFacts(m.device(SITE), "modbus", 0, since) for m in self.meters])

    def pue(self) -> Fraction:
        """Total by IT, each with its holes at its own mean power."""
        whole = {m: uj + uj * (YEAR * DAY_NS - self.read_ns[m]) // self.read_ns[m] for m, uj in self.read_uj.items()}
        return Fraction(whole["main"], sum(uj for m, uj in whole.items() if m.startswith("pdu-")))


def ledger(building: BuildingMeters, folder: Path) -> int:
    """Write and compact the year, and a GPU's day in the quarter; returns how many rows the days have."""
    source = folder / "segments"
    source.mkdir()
    site = SegmentChainWriter(source, Identity("bench", SITE, "boot-1", "0.1.0", True))
    for batch in chain([building.batch()], *(building.day(day) for day in range(YEAR))):
        site.add(batch)
    start = END_NS - DAY_NS
    gpu = [
        Entry(t, t + CELL_NS, "GPU-1", "job", State.ACTIVE, Method.COUNTER, 600_000_000_000, 1_000_000, CELL_NS)
        for t in range(start, END_NS, CELL_NS)
    ]
    facts = Batch(facts=[WorkloadFacts("job", start, "pod")], devices=[DeviceFacts("GPU-1", "H100", 0.05, start)])
    SegmentChainWriter(source, Identity("bench", "node", "boot-1", "0.1.0", True)).add(replace(facts, entries=gpu))
    segments = index.build([source])
    return sum(
        one.rows for day in compact_days(segments, folder / "days", segments.days, Sites({}, SITE)) for one in day.statements
    )


def run(meters: int = 90) -> Row:
    """Make it and measure: the PUE's nine digits are right, and the report takes no more than a fleet's may."""
    if meters < 3:
        raise UsageError(f"--meters {meters}: expected a feed, cooling and at least one PDU")
    with tempfile.TemporaryDirectory(prefix="report-meters-") as scratch:
        building, folder = BuildingMeters(meters), Path(scratch)
        rows = ledger(building, folder)
        row = report(folder / "days", folder / "report", "--quarter", "2026Q3")
        figures = json.loads((folder / "report" / "facts.json").read_text())["figures"]
    (trailing,) = (each["value"] for each in figures if each["id"] == f"pue.trailing/site/{SITE}")
    right = abs(Fraction(trailing) - building.pue()) < Fraction(1, 10**8)
    sums = {
        "meters": meters,
        "days": YEAR,
        "rows": rows,
        "pue": trailing,
        "by the meters' sums": f"{float(building.pue()):.9f}",
    }
    return sums | row | {"ok": row["ok"] and right}
