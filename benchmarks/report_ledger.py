"""A fleet's quarter as compacted days: several processes generate a few days of segments at a time, the product's own command
compacts them, and the segments are deleted.
"""

import json
import shutil
import subprocess
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from decimal import Decimal
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Final

from benchmarks.chain import SegmentChainWriter
from benchmarks.report_fleet import (
    CELL_NS,
    CELLS,
    SITES,
    UTC_DAYS,
    SiteCalendar,
    SyntheticFleet,
    cells_of,
    node_day,
    node_name,
    site_of,
    start_ns,
    window,
)
from benchmarks.report_segments import BOOT, CLUSTER, VERSION, ChainEnd, node_lines, write
from benchmarks.report_truth import ExpectedTotals
from benchmarks.runner import Row, say
from benchmarks.running import own_cpu_s
from energy_agent.core.energy import Entry, Identity, Method, State, WorkloadFacts
from energy_agent.core.meters.facility import METER_KIND, MeterFacts, Position, Role
from energy_agent.factors.basis import Basis, EmissionBoundary
from energy_agent.factors.series import About, IntensityPoint
from energy_agent.ledger.journal.book import Batch
from energy_agent.ledger.rows.kinds import DeviceFacts
from energy_agent.ledger.segments import segment as segments
from energy_agent.site.grid.store import GridStore

BATCH: Final = 4
"""Days whose segments are there at a time."""
HOUR: Final = 4  # cells
METERS: Final = (
    MeterFacts("main", Role.TOTAL, accuracy_ppm=10_000, max_mw=40_000_000_000, source="modbus"),
    MeterFacts("it", Role.IT, Position.UPS_OUTPUT, "main", accuracy_ppm=10_000, max_mw=30_000_000_000, source="modbus"),
    MeterFacts("cooling", Role.COOLING, parent="main", accuracy_ppm=10_000, max_mw=20_000_000_000, source="modbus"),
)
_METER_EDGE_UJ: Final = 36_000_000_000
_OVERHEAD_PERCENT: Final = {"rvk": 8, "blr": 55, "pdx": 21}
HOURLY: Final = "blr"
"""The site with hourly grid intensities; the others have a yearly factor."""


@dataclass(frozen=True)
class CompactedLedger:
    """Compacted days, their expected totals and their cost."""

    folder: Path
    org: Path
    truth: ExpectedTotals
    meters: dict[str, dict[str, dict[int, int]]]  # site -> meter -> cell -> uJ, within the quarter
    costs: list[Row]  # of each batch: wall and CPU seconds of making and of compacting it, and how much it was


def intensity(cell: int) -> Decimal:
    """Carbon intensity of the grid with hourly values, g/kWh."""
    return Decimal(60_000 + (cell // HOUR) * 7_919 % 23_000).scaleb(-2)


def make(fleet: SyntheticFleet, folder: Path, days: int = UTC_DAYS, jobs: int = 2) -> CompactedLedger:
    """Make the first `days` of UTC."""
    folder.mkdir(parents=True, exist_ok=True)
    ledger = CompactedLedger(folder / "days", _inputs(fleet, folder), ExpectedTotals(), {}, [])
    heads: dict[str, ChainEnd] = {}
    for first in range(0, days, BATCH):
        batch = range(first, min(days, first + BATCH))
        truth, meters, cost = _batch(fleet, folder, batch, heads, ledger.truth.touching, jobs)
        ledger.truth.touching = set()
        ledger.truth.merge(truth)
        for site, of_meter in meters.items():
            for meter, cells in of_meter.items():
                ledger.meters.setdefault(site, {}).setdefault(meter, {}).update(cells)
        ledger.costs.append(cost)
        say(f"days {batch}: {cost}")
    return ledger


_Job = tuple[SyntheticFleet, Path, int, range, dict[str, ChainEnd], set[str]]


def _batch(
    fleet: SyntheticFleet, folder: Path, days: range, heads: dict[str, ChainEnd], touching: set[str], jobs: int
) -> tuple[ExpectedTotals, dict[str, Any], Row]:
    """Generate and compact some days; `heads` move on with each chain."""
    source = folder / "segments"
    shutil.rmtree(source, ignore_errors=True)
    for day in days:
        (source / f"{day:02d}").mkdir(parents=True)
    began, cpu = time.perf_counter(), own_cpu_s()
    truth, count, size = ExpectedTotals(), 0, 0
    touched: dict[int, set[str]] = {}
    for name in touching:
        touched.setdefault(int(name.partition("/")[0]), set()).add(name)
    work = [
        (
            fleet, source, block, days,
            {n: heads[n] for n in map(node_name, fleet.nodes_of(block)) if n in heads},
            {name for node in fleet.nodes_of(block) for name in touched.get(node, ())},
        )
        for block in range(fleet.blocks)
    ]  # fmt: skip
    with ProcessPoolExecutor(jobs, get_context("spawn")) as pool:
        for of_block, ends, files, written in pool.map(_block, work):
            truth.merge(of_block)
            heads.update(ends)
            count, size = count + files, size + written
    meters: dict[str, Any] = {}
    for site in SITES[: min(len(SITES), fleet.blocks)]:
        head, meters[site.name], files, written = _site(source, site, days, heads.get(site.name, ChainEnd()), truth)
        heads[site.name] = head
        count, size = count + files, size + written
    made_s, made_cpu_s = time.perf_counter() - began, own_cpu_s() - cpu
    began, cpu = time.perf_counter(), own_cpu_s()
    command = [sys.executable, "-m", "wattlens", "ledger", "compact", str(source), "--out", str(folder / "days")]
    command += ["--inventory", str(folder / "inventory.csv"), "--jobs", str(jobs), "--json"]
    result = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    booked: dict[str, int] = {}
    for statement in result:
        booked[statement["site"]] = booked.get(statement["site"], 0) + int(statement["energy_uj"])
    for site_name, of_meter in meters.items():
        metered = of_meter.pop("all")
        assert booked[site_name] == truth.booked_uj[site_name] + metered, (site_name, booked, truth.booked_uj, metered)
    cost = {
        "days": len(days), "segments": count, "bytes": size, "rows": sum(s["rows"] for s in result), "generate_s": made_s,
        "generate_cpu_s": made_cpu_s, "compact_s": time.perf_counter() - began, "compact_cpu_s": own_cpu_s() - cpu,
    }  # fmt: skip
    return truth, meters, cost


def _block(job: _Job) -> tuple[ExpectedTotals, dict[str, ChainEnd], int, int]:
    """Segments and sums of a block's nodes over some days."""
    fleet, folder, block, days, heads, touching = job
    truth, ends = ExpectedTotals(touching=touching), dict[str, ChainEnd]()
    count = size = 0
    for node in fleet.nodes_of(block):
        name = node_name(node)
        head = heads.get(name, ChainEnd())
        for day in days:
            cells = list(node_day(fleet, node, day))
            truth.add(node, cells)
            for at in range(0, len(cells), HOUR):
                hour = cells[at : at + HOUR]
                start = start_ns(hour[0].cell)
                span = (start, start + len(hour) * CELL_NS)
                head, written = write(folder / f"{day:02d}", name, head, span, node_lines(node, hour))
                count, size = count + 1, size + written
        ends[name] = head
    return truth, ends, count, size


def meter_energy(site: SiteCalendar, cell: int, nodes_uj: int) -> dict[str, int]:
    """Energy of a site's meters in a cell with this energy of its nodes."""
    it = nodes_uj * 102 // 100 + cell % 1_000
    overhead = it * (_OVERHEAD_PERCENT[site.name] * 100 + cell % 300) // 10_000
    return {"main": it + overhead, "it": it, "cooling": overhead * 4 // 5}


def _site(
    folder: Path, site: SiteCalendar, days: range, head: ChainEnd, truth: ExpectedTotals
) -> tuple[ChainEnd, dict[str, Any], int, int]:
    """The site's own ledger, written by the product's book; meters of the quarter's cells, and the sum of all."""
    chain = SegmentChainWriter(folder, Identity(CLUSTER, site.name, BOOT, VERSION, True), *head)
    by_meter, everything = {m.id: dict[int, int]() for m in METERS}, 0
    names = {m.id: m.device(site.name) for m in METERS}
    facts = [WorkloadFacts(names[m.id], start_ns(0), METER_KIND, m.labels) for m in METERS]
    devices = [DeviceFacts(names[m.id], m.source, m.accuracy_ppm / 10**6, start_ns(0)) for m in METERS]
    nodes, within = truth.cells.get(site.name, {}), window(site)
    size = 0
    for day in days:
        chain.folder = folder / f"{day:02d}"
        cells = cells_of(day)
        for first in range(cells.start, cells.stop, HOUR):
            entries = []
            for cell in range(first, first + HOUR):
                start, end = start_ns(cell), start_ns(cell) + CELL_NS
                uj = sum(sum(sums) for sums in nodes[cell].values()) if cell in nodes else 10**12
                for meter, energy in meter_energy(site, cell, uj).items():
                    of = (start, end, names[meter], "", State.UNALLOCATED, Method.COUNTER, energy, _METER_EDGE_UJ, CELL_NS)
                    entries.append(Entry(*of))
                    everything += energy
                    if cell in within:
                        by_meter[meter][cell] = energy
            chain.add(Batch(entries, facts=facts, devices=devices))
            size += (chain.folder / segments.file_name(CLUSTER, site.name, chain.number - 1)).stat().st_size
    return ChainEnd(chain.number, chain.previous), {**by_meter, "all": everything}, chain.number - head.sequence, size


def _inputs(fleet: SyntheticFleet, folder: Path) -> Path:
    """The inventory, the hourly grid factors, and org.yaml, which names both."""
    lines = ["cluster,node,uuid,sku,site,from,to"]
    lines += [f"{CLUSTER},{node_name(node)},,,{site_of(node).name},," for node in range(fleet.nodes)]
    (folder / "inventory.csv").write_text("\n".join([*lines, ""]))
    about = About("csv_file.hours", "IN", Basis(EmissionBoundary.LIFE_CYCLE), "the benchmark", "none", "not stated", 3)
    hours = range(0, CELLS, HOUR)
    points = (IntensityPoint(start_ns(cell), start_ns(cell + HOUR), intensity(cell), False, start_ns(cell)) for cell in hours)
    GridStore(folder / "state" / "grid").append(about, points)
    text = ["organisation: {name: Example AI}", "inventory: inventory.csv", "least_coverage_percent: 90", "sites:"]
    for site in SITES[: min(len(SITES), fleet.blocks)]:
        zone = "zone: IN, " if site.name == HOURLY else ""
        text.append(f"  - site: {{name: {site.name}, time_zone: {site.zone}}}")
        text.append(f"    grid: {{{zone}country: {site.country}, boundary: life-cycle}}")
        text += ["    state: state"] * (site.name == HOURLY)
    path = folder / "org.yaml"
    path.write_text("\n".join([*text, ""]))
    return path
