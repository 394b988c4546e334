"""Report of an invented company: a metered building in Ireland, invoices in Texas. Every figure is computed again next to it.

Period: the second quarter of a fiscal year from April. The load is drawn here; the ledger has what meters with errors read of
it, with three gaps of the building's feed. The computation takes these readings, the workbook and the factors that the report
prints, and uses plain fractions.
"""

import json
from collections.abc import Callable, Iterable
from datetime import UTC, date, datetime
from fractions import Fraction
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from energy_agent.core.boundary import host
from energy_agent.core.energy import Entry, Gap, Method, State, WorkloadFacts
from energy_agent.core.meters.facility import METER_KIND, MeterFacts, Position, Role
from energy_agent.ledger.fleet.sites import Sites
from energy_agent.ledger.journal.book import Batch
from energy_agent.ledger.rows.kinds import DeviceFacts
from tests.reports import chains
from tests.reports.chains import CELL, HOUR, S
from tests.wattlens.report.books import book
from wattlens.cli import main

IE, US = "dublin", "austin"
ZONE = ZoneInfo("Europe/Dublin")
CELLS, AROUND = 92 * 96, 4
"""Quarters of an hour in the period, and in the hour that the ledger has on both sides of it."""
START = int(datetime(2026, 7, 1, tzinfo=ZONE).timestamp()) * S
KWH_J = 3_600_000
MILLI_UJ = 3_600_000  # uJ per mWh
FEED, COOLING, IT = (
    MeterFacts("feed", Role.TOTAL, accuracy_ppm=5_000, calibration="feed", max_mw=12_000_000),
    MeterFacts("cooling", Role.COOLING, parent="feed", accuracy_ppm=20_000, calibration="cooling", max_mw=4_000_000),
    MeterFacts("it", Role.IT, Position.IT_INPUT, "feed", accuracy_ppm=10_000, calibration="it", max_mw=8_000_000),
)
GAIN = {FEED: Fraction(1003, 1000), COOLING: Fraction(1012, 1000), IT: Fraction(994, 1000)}
"""What each meter reads of a kWh."""
PHYSICS, CHAT = "slurm:5", "pod:chat"
SKU = "NVIDIA H100 80GB HBM3"
GPUS = ("GPU-1f00", "GPU-2f00")


def cell_of(month: int, day: int, hour: int) -> int:
    """Return the number of a cell that begins at this local time."""
    return int((datetime(2026, month, day, hour, tzinfo=ZONE).timestamp() * S - START) // CELL)


BELOW = range(cell_of(7, 8, 9), cell_of(7, 8, 19))  # the meters below the feed are read
BRIDGED = range(cell_of(8, 12, 3), cell_of(8, 14, 14))  # somebody reads the register before and after
OPEN = range(cell_of(9, 17, 6), cell_of(9, 17, 22))  # no meter is read
GAPS = {FEED: {*BELOW, *BRIDGED, *OPEN}, COOLING: {*OPEN}, IT: {*OPEN}}


def load(n: int) -> dict[MeterFacts, int]:
    """Return the true energy of a cell in mWh."""
    afternoon = 60_000 if 40 <= n % 96 < 76 else 0
    it = 800_000 + 37 * (n * 7919 % 9973) + afternoon
    cooling = 150_000 + 13 * (n * 6007 % 4999) + 2 * afternoon
    return {FEED: it + cooling + 70_000 + n * 811 % 30_011, COOLING: cooling, IT: it}


def node(n: int) -> list[tuple[str, str, int]]:
    """Return device, workload and mWh of a cell of the node."""
    second = CHAT if n % 96 >= 32 else ""
    return [
        (GPUS[0], PHYSICS, 120_000 + n * 389 % 40_009),
        (GPUS[1], second, (110_000 if second else 20_000) + n * 97 % 9_001),
        (host("lab", "a1"), PHYSICS if n % 2 else CHAT, 90_000 + n * 53 % 20_011),
    ]


def reading_uj(meter: MeterFacts, n: int) -> int:
    return int(load(n)[meter] * MILLI_UJ * GAIN[meter])


def entries(n: int) -> tuple[list[Entry], list[Entry], list[Gap]]:
    """Return the rows of a cell: of the node, of the meters, and the meters' gaps."""
    at, end = START + n * CELL, START + (n + 1) * CELL
    used = [
        Entry(at, end, device, workload, State.ACTIVE if workload else State.UNALLOCATED, Method.COUNTER, mwh * MILLI_UJ, 0,
              CELL if workload else 0)
        for device, workload, mwh in node(n)
    ]  # fmt: skip
    read = [
        Entry(at, end, meter.device(IE), "", State.UNALLOCATED, Method.COUNTER, reading_uj(meter, n), 0, CELL)
        for meter in GAIN
        if n not in GAPS[meter]
    ]
    lost = [
        Gap(meter.device(IE), at, end, int(meter.max_mw or 0) * (CELL // S) * 1000, "no readings")
        for meter in GAIN
        if n in GAPS[meter]
    ]
    return used, read, lost


def ledger(folder: Path) -> Path:
    """Write the segments of the node and of the building, one per day, and compact them."""
    since = START - AROUND * CELL
    labels = [WorkloadFacts(PHYSICS, since, "slurm", {"account": "phys-9"}),
              WorkloadFacts(CHAT, since, "pod", {"namespace": "nlp-chat"})]  # fmt: skip
    devices = [DeviceFacts(gpu, SKU, 0.02, since) for gpu in GPUS] + [DeviceFacts(host("lab", "a1"), "host", 0.02, since)]
    nodes = [Batch(facts=labels, devices=devices)]
    building = [Batch(
        facts=[WorkloadFacts(meter.device(IE), since, METER_KIND, meter.labels) for meter in GAIN],
        devices=[DeviceFacts(meter.device(IE), "meter modbus", 0, since) for meter in GAIN],
    )]  # fmt: skip
    for first in range(-AROUND, CELLS + AROUND, 96):
        rows = [entries(n) for n in range(first, min(first + 96, CELLS + AROUND))]
        nodes.append(Batch([entry for row in rows for entry in row[0]]))
        building.append(Batch([entry for row in rows for entry in row[1]], gaps=[gap for row in rows for gap in row[2]]))
    chains.write(folder / "segments", "lab", "a1", nodes)
    chains.write(folder / "segments", "lab", IE, building)
    return chains.compacted(folder / "segments", folder / "days", Sites({}, IE))


def utc(ns: int) -> str:
    return f"{datetime.fromtimestamp(ns // S, UTC):%Y-%m-%dT%H:%M:%SZ}"


HOURS = range(CELLS // 4)
YEARLY_FROM = cell_of(9, 28, 0)  # from then on no hourly intensity


def intensity(hour: int) -> Fraction:
    return Fraction(1200 + hour * 53 % 3001 + (700 if hour % 24 >= 18 else 0), 10)


def delivered(hour: int) -> Fraction:
    """Return the kWh of the wind park in an hour."""
    return Fraction(hour * 37 % 100, 10) if hour % 24 < 14 else Fraction(0)


INVOICES = ((7, 31, "10250.5", "912.45"), (8, 31, "11020", "1001.1"), (9, 30, "9875.25", "899.9"))
REGISTER = {8: Fraction("41200.5")}
REGISTER[9] = REGISTER[8] + Fraction(
    round(sum(load(n)[FEED] for n in range(cell_of(8, 1, 0), cell_of(9, 1, 0))) * Fraction(1001, 1000)), 10**6
)


def write(folder: Path) -> Path:
    """Write the workbook, hourly intensities, deliveries and the residual mix."""
    (folder / "factors").mkdir(parents=True)
    (folder / "mix.csv").write_text("zone,name,g_per_kwh,year\nIRL,Ireland,420.75,2026\n")
    origin = ("--publisher", "Invented", "--source", "letter", "--licence", "own use", "--year", "2026", "--gwp-set", "AR5")
    files = (str(folder / "mix.csv"), "--out", str(folder / "factors"), "--fetched", "2026-06-02")
    assert main(["factors", "import", "csv", *files, *origin, "--accounting", "residual-mix"]) == 0
    hours = [f"{utc(START + t * HOUR)},IE,{float(intensity(t))},direct" for t in HOURS if 4 * t < YEARLY_FROM]
    (folder / "hours.csv").write_text("\n".join(["ts_utc,zone,g_per_kwh,kind", *hours, ""]))
    wind = [f"{utc(START + t * HOUR)},{float(delivered(t))}" for t in HOURS]
    (folder / "wind.csv").write_text("\n".join(["ts_utc,kwh", *wind, ""]))
    proof = {"retired": date(2026, 11, 2), "technology": "wind"}
    july, tariff = date(2026, 7, 1), {"site": IE, "id": "2026", "currency": "EUR"}
    rate = {"site": IE, "supplier": "Liffey Power", "zone": "IE", "start": date(2026, 8, 1), "end": date(2026, 8, 31)}
    quality = {"of_delivered": "yes", "certificates_retired": "yes", "sold_at_residual_mix": "yes"}
    meter = {"site": IE, "max_power_unit": "W", "source": "modbus"}
    sheets: dict[str, list[dict[str, Any]]] = {
        "Organisation": [{"name": "Corrib Inference plc", "legal_entities": "Corrib Hosting Ltd; Corrib Compute LLC",
                          "consolidation": "operational control", "fiscal_year_start": 4}],
        "Sites": [
            {"name": IE, "time_zone": "Europe/Dublin", "grid_zone": "IE", "country": "IRL", "factors": "factors",
             "hours_file": "hours.csv", "hours_publisher": "Invented", "hours_licence": "own use"},
            {"name": US, "time_zone": "America/Chicago", "grid_zone": "US-ERCT", "country": "USA"},
        ],
        "Inventory": [{"cluster": "lab", "node": "a1", "uuid": gpu, "sku": SKU, "site": IE} for gpu in GPUS],
        "Meters": [
            {**meter, "id": m.id, "role": m.role.value, "position": m.position.value if m.position else None,
             "parent": m.parent or None, "accuracy_percent": m.accuracy_ppm / 10_000, "calibration": m.calibration,
             "max_power": (m.max_mw or 0) // 1000} for m in GAIN
        ],
        "Teams": [
            {"kind": "slurm", "account": "phys*", "namespace": None, "team": "physics"},
            {"kind": None, "account": None, "namespace": "nlp-*", "team": "language"},
        ],
        "Contracts": [{"site": IE, "id": "wind", "kind": "ppa", "zone": "IE", "hourly_file": "wind.csv", "registry": "SEMO",
                       "serials": "IE-1..IE-4", "retirement_id": "R-1", "plant": "Slieve", "beneficiary": "Corrib Hosting Ltd",
                       **proof}],
        "Certificates": [
            {"site": IE, "id": "go", "kind": "go", "zone": "IE", "start": date(2026, 9, 1), "end": date(2026, 9, 30),
             "volume": 2, "serials": "IE-7", "retirement_id": "R-2", "registry": "SEMO", "plant": "Slieve",
             "beneficiary": "CORRIB INFERENCE PLC", **proof},
            {"site": US, "id": "rec", "kind": "rec", "zone": "US-ERCT", "start": date(2026, 8, 1), "end": date(2026, 8, 31),
             "volume": 9, "serials": "T-1..T-9", "retirement_id": "R-3", "registry": "ERCOT", "plant": "Mesa",
             "beneficiary": "Corrib Compute LLC.", **proof},
        ],
        "Supplier rates": [{**rate, "g_per_kwh": 260, "g_boundary": "direct", "source": "label of 2025", **quality}],
        "Tariffs": [
            {**tariff, "price": 181.5, "price_unit": "MWh", "valid_from": july, "demand_price": 4.5, "source": "contract"},
            {**tariff, "price": 0.2725, "price_unit": "kWh", "times": "Mon-Fri 07:00-19:00"},
            {**tariff, "id": "autumn", "price": 0.203, "price_unit": "kWh", "valid_from": date(2026, 9, 1), "source": "offer"},
        ],
        "Invoices": [
            {"site": US, "number": f"T-{month}", "start": date(2026, month, 1), "end": date(2026, month, last),
             "energy": float(kwh), "energy_unit": "kWh", "basis": "read", "accuracy_percent": 1, "amount": float(usd),
             "currency": "USD", "tax": "excluded"}
            for month, last, kwh, usd in INVOICES
        ],
        "Readings": [{"site": IE, "meter": "feed", "day": date(2026, month, 1), "register": float(kwh), "register_unit": "kWh"}
                     for month, kwh in REGISTER.items()],
    }  # fmt: skip
    for row in sheets["Certificates"]:
        row |= {"volume_unit": "MWh", "granularity": "month"}
    heads = {title: list(dict.fromkeys(key for row in rows for key in row)) for title, rows in sheets.items()}
    return book(folder / "org.xlsx", {title: [heads[title], *([row.get(key) for key in heads[title]] for row in rows)]
                                      for title, rows in sheets.items()})  # fmt: skip


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the compacted days and the workbook."""
    folder = tmp_path_factory.mktemp("site")
    ledger(folder)
    write(folder / "inputs")
    return folder


def create(inputs: Path, *period: str) -> dict[str, Any]:
    """Create a report; return its facts."""
    options = ("--as-of", "2026-12-01", "--formats", "csv", "--out", str(inputs / period[-1]))
    assert main(["report", "--ledger", str(inputs / "days"), "--org", str(inputs / "inputs/org.xlsx"), *period, *options]) == 0
    return json.loads((inputs / period[-1] / "facts.json").read_bytes())


@pytest.fixture(scope="module")
def facts(inputs: Path) -> dict[str, Any]:
    return create(inputs, "--fiscal-quarter", "2027Q2")


# The computation, in J.

QUARTER = range(CELLS)
MONTHS = {month: range(cell_of(month, 1, 0), cell_of(month + 1, 1, 0)) for month in (7, 8, 9)}
READ = {meter: {n: Fraction(reading_uj(meter, n), 10**6) for n in QUARTER if n not in GAPS[meter]} for meter in GAIN}
ERROR = {meter: Fraction(meter.accuracy_ppm, 10**6) for meter in GAIN}
Bounds = tuple[Fraction, Fraction]


def total(values: Iterable[Fraction]) -> Fraction:
    return sum(values, Fraction(0))


class Building:
    """Energy of the building in a period, by cell, with bounds of each gap."""

    def __init__(self, period: range) -> None:
        self.read = {meter: {n: cells[n] for n in period if n in cells} for meter, cells in READ.items()}
        rests = [uj - READ[IT][n] - READ[COOLING][n] for n, uj in self.read[FEED].items()]
        least = {n: total(READ[meter][n] / (1 + ERROR[meter]) for meter in (IT, COOLING)) for n in READ[IT].keys() & period}
        rest, peak = total(rests) / len(rests), max(uj / (1 - ERROR[FEED]) - least[n] for n, uj in self.read[FEED].items())
        below = {n: READ[IT][n] + READ[COOLING][n] for n in (*BELOW, *BRIDGED) if n in period}
        self.cells = self.read[FEED] | {n: joules + rest for n, joules in below.items()}
        self.gaps: dict[range, Bounds] = {}
        for gap in (BELOW, BRIDGED):
            if gap[0] in period:
                most = total(READ[meter][n] / (1 - ERROR[meter]) for meter in (IT, COOLING) for n in gap)
                self.gaps[gap] = total(least[n] for n in gap), most + peak * len(gap)
        if BRIDGED in self.gaps:  # the register less the metered energy, spread as the meters below were
            metered = total(self.read[FEED].get(n, Fraction(0)) for n in MONTHS[8])
            remainder_j, error = (REGISTER[9] - REGISTER[8]) * KWH_J - metered, metered * ERROR[FEED] / (1 - ERROR[FEED])
            share = remainder_j / total(self.cells[n] for n in BRIDGED)
            self.cells |= {n: self.cells[n] * share for n in BRIDGED}
            low, high = self.gaps[BRIDGED]
            self.gaps[BRIDGED] = max(low, remainder_j - error), min(high, remainder_j + error)
        if OPEN[0] in period:
            self.cells |= dict.fromkeys(OPEN, self.mean(FEED))
            self.gaps[OPEN] = Fraction(0), Fraction((FEED.max_mw or 0) * 900 * len(OPEN), 1000)
        self.energy = total(self.cells.values())

    def mean(self, meter: MeterFacts) -> Fraction:
        """Return the mean energy of a cell of a meter while it was read."""
        return total(self.read[meter].values()) / len(self.read[meter])

    def whole(self, meter: MeterFacts) -> Fraction:
        """Return the energy of a meter below the feed, whose only gap is the open one."""
        return total(self.read[meter].values()) + self.mean(meter) * len(OPEN)

    def bounds(self) -> Bounds:
        metered = total(self.read[FEED].values())
        error = metered * ERROR[FEED] / (1 - ERROR[FEED])
        lows, highs = zip(*self.gaps.values(), strict=True)
        return metered - error + total(lows), metered + error + total(highs)


B = Building(QUARTER)
US_KWH, US_USD = (total(Fraction(row[column]) for row in INVOICES) for column in (2, 3))
RESIDUAL, RATE = Fraction("420.75"), Fraction(260)


def price(n: int) -> Fraction:
    """Return the price of a kWh in a cell."""
    at = datetime.fromtimestamp((START + n * CELL) // S, ZONE)
    if at.month == 9:
        return Fraction("0.203")
    return Fraction("0.2725") if at.weekday() < 5 and 7 <= at.hour < 19 else Fraction("0.1815")


def demand(cells: dict[int, Fraction], *months: int) -> Fraction:
    """Return the charge for the highest cell of each month; the tariff of September has none."""
    return Fraction("4.5") * total(max(cells[n] for n in MONTHS[month]) / 900_000 for month in months)


def worth(cells: dict[int, Fraction], per_kwh: Callable[[int], Fraction]) -> Fraction:
    return total(joules * per_kwh(n) for n, joules in cells.items()) / KWH_J


def grid(n: int) -> Fraction:
    """Return the intensity of the grid: of its hour, else the yearly factor of Ireland in 2024."""
    return intensity(n // 4) if n < YEARLY_FROM else Fraction(237)


def levels() -> dict[str, Fraction]:
    """Return the kWh of each level of the market-based method.

    The certificates of the wind park are fewer than its MWh: each delivery counts in proportion, and covers the consumption of
    its own hour. A certificate of September covers the same share of what remains in each hour of that month.
    """
    wind = 4000 / total(map(delivered, HOURS))
    used = {hour: total(B.cells[n] for n in range(4 * hour, 4 * hour + 4)) / KWH_J for hour in HOURS}
    rest = {hour: max(Fraction(0), kwh - wind * delivered(hour)) for hour, kwh in used.items()}
    by_month = {month: total(rest[n // 4] for n in cells[::4]) for month, cells in MONTHS.items()}
    return {
        "certificates": Fraction(1000),
        "contracts": total(used.values()) - total(rest.values()),
        "supplier-specific rate": by_month[8],
        "residual mix": by_month[7] + by_month[9] - 1000,
    }


def by_hand(texas: Fraction) -> dict[str, Fraction]:
    """Return figures by id; `texas` is the printed factor of its grid."""
    level, it = levels(), B.whole(IT)
    location, cost = worth(B.cells, grid), worth(B.cells, price) + demand(B.cells, 7, 8)
    rate, residual = level["supplier-specific rate"] * RATE, level["residual mix"] * RESIDUAL
    figures = {
        f"energy.facility/site/{IE}": B.energy,
        f"energy.facility/site/{US}": US_KWH * KWH_J,
        "energy.facility": B.energy + US_KWH * KWH_J,
        f"energy.it/site/{IE}": it,
        f"energy.part/{IE}/cooling": B.whole(COOLING),
        f"pue/site/{IE}": B.energy / it,
        f"co2e.location/site/{IE}": location,
        f"co2e.location/site/{US}": US_KWH * texas,
        "co2e.location": location + US_KWH * texas,
        f"cue/site/{IE}": location * KWH_J / it / 1000,
        f"co2e.market.supplier/site/{IE}": rate,
        f"co2e.market.residual/site/{IE}": residual,
        f"co2e.market/site/{IE}": rate + residual,
        f"co2e.market/site/{US}": (US_KWH - 9000) * texas,
        "co2e.market": rate + residual + (US_KWH - 9000) * texas,
        f"contract/{IE}/wind": level["contracts"],
        f"contract/{IE}/go": level["certificates"],
        f"contract/{US}/rec": Fraction(9000),
        f"ref/site/{IE}": (level["certificates"] + level["contracts"]) * KWH_J / B.energy,
        f"ref/site/{US}": 9000 / US_KWH,
        f"matched.hourly/site/{IE}": level["contracts"] * KWH_J / B.energy,
        f"cost.demand/site/{IE}": demand(B.cells, 7, 8),
        "cost.currency/EUR": cost,
        "cost.currency/USD": US_USD,
        f"energy.facility.unattributed/site/{IE}": B.energy,
        f"co2e.location.unattributed/site/{IE}": location,
        f"co2e.market.unattributed/site/{IE}": rate + residual,
        f"cost.unattributed/site/{IE}": cost,
    }
    for name, workload in (("physics", PHYSICS), ("language", CHAT)):  # energy of its node times the PUE of the period
        mwh = {n: Fraction(sum(used for _, owner, used in node(n) if owner == workload)) for n in QUARTER}
        used = {n: value * Fraction(MILLI_UJ, 10**6) * B.energy / it for n, value in mwh.items()}
        grams = worth(used, grid)
        for figure, value in (
            ("energy.held.facility", total(used.values())),
            ("co2e.held.location", grams),
            ("co2e.held.market", (rate + residual) * grams / location),  # its share of the site's location-based grams
            ("cost", worth(used, price)),
        ):
            figures[f"{figure}/team/{name}"] = value
            figures[f"{figure.replace('.held', '')}.unattributed/site/{IE}"] -= value
    return figures


def compare(facts: dict[str, Any], expected: dict[str, Fraction]) -> None:
    figures = {figure["id"]: figure["value"] for figure in facts["figures"]}
    assert {name: float(figures[name]) for name in expected} == {
        name: float(f"{float(value):.9g}") for name, value in expected.items()
    }


def test_reports_the_figures_that_readings_workbook_and_printed_factors_give(facts):
    factors = {(row["zone"], row["boundary"], row["accounting"]): Fraction(row["value"]) for row in facts["factors"]}
    assert factors["IRL", "direct", "location-based"] == 237
    assert factors["IRL", "direct", "market-based"] == RESIDUAL
    compare(facts, by_hand(factors["US-ERCT", "direct", "location-based"]))
    assert {figure["id"]: figure["value"] for figure in facts["figures"]}["cost"] is None  # no currency is converted


@pytest.mark.parametrize("month", [7, 8])
def test_month_takes_the_energy_of_its_gap_from_its_own_time(inputs, month):
    """Two readings on the first day of August and of September give the energy of August."""
    building = Building(MONTHS[month])
    expected = {
        f"energy.facility/site/{IE}": building.energy,
        f"co2e.location/site/{IE}": worth(building.cells, grid),
        "cost.currency/EUR": worth(building.cells, price) + demand(building.cells, month),
    }
    compare(create(inputs, "--month", f"2026-0{month}"), expected)
    if month == 8:
        assert building.energy == (REGISTER[9] - REGISTER[8]) * KWH_J


def test_levels_of_the_market_based_method_sum_to_the_meter(facts):
    figure = next(figure for figure in facts["figures"] if figure["id"] == f"co2e.market/site/{IE}")
    printed = dict(level.split(": ") for level in figure["dims"]["levels"].split("; "))
    expected = levels()
    assert {name: Fraction(value.removesuffix(" kWh")) for name, value in printed.items()} == {
        name: Fraction(f"{float(value):.9g}") for name, value in expected.items()
    }
    assert sum(expected.values()) == B.energy / KWH_J


def test_bounds_contain_the_drawn_load(facts):
    true = {meter: {n: Fraction(load(n)[meter] * MILLI_UJ, 10**6) for n in QUARTER} for meter in GAIN}
    for gap, (low, high) in B.gaps.items():
        assert low <= total(true[FEED][n] for n in gap) <= high
    figures = {figure["id"]: figure for figure in facts["figures"]}
    energy = figures[f"energy.facility/site/{IE}"]
    for printed, bound in zip((energy["low"], energy["high"]), B.bounds(), strict=True):
        assert float(printed) == pytest.approx(float(bound), rel=1e-8)
    feed, it = total(true[FEED].values()), total(true[IT].values())
    expected = {
        f"energy.facility/site/{IE}": feed,
        f"energy.it/site/{IE}": it,
        f"energy.part/{IE}/cooling": total(true[COOLING].values()),
        f"pue/site/{IE}": feed / it,
        f"co2e.location/site/{IE}": worth(true[FEED], grid),
        "cost.currency/EUR": worth(true[FEED], price) + demand(true[FEED], 7, 8),
    }
    for identity, value in expected.items():
        assert Fraction(figures[identity]["low"]) < value < Fraction(figures[identity]["high"]), identity
