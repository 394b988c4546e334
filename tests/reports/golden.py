"""A quarter that can be calculated by hand: 2026Q3 of two sites with 3 nodes and 5 GPUs. Energies are in kWh here.

*alfa* (UTC) meters its building in every quarter of an hour, all quarter long: of its feed 16 kWh in the first of each hour and
8 in the other three (40 per hour), 2 kWh from its own roof, 8 kWh of IT at the UPS, 1.2 kWh of heat handed over. Its nodes a1
(two GPUs) and a2 (one) have meters of the whole node. *beta* (Asia/Kolkata: its quarter is 18:30Z to 18:30Z) has one node,
b1, with two GPUs and neither. Only a few hours of the quarter are metered at the GPUs: the report states the tiny coverage.

On Wednesday 1 July, from 09:00 to 11:00 at alfa, in cells of 15 minutes:
    a1 GPU 0   chat   8 x 0.49 active
    a1 GPU 1   chat   4 x 0.49 active, then 4 x 0.098 idle
    a1 host    chat   8 x 0.245
    a2 GPU 0   train  8 x 0.49 active, then 4 x 0.098 unallocated; on Saturday 4 July, 13:00, 0.49 with an unknown owner
    a2 host    train  8 x 0.147, then 4 x 0.049 unallocated
From 18:30Z on 30 June, the first of beta's quarter:
    b1 GPU 0   mix    4 x 0.49 active (and 0.49 from 18:15Z, which is the last of beta's 2026Q2)
    b1 GPU 1   solo   4 x 0.245 active, 4 x 0.049 idle
In 2026Q2, on 15 June from 09:00 at alfa: a1 GPU 0 chat 4 x 0.49, a1 host chat 4 x 0.245.

Every reading of a GPU's counter is at most 1 J off; every sensor's gain at most 2 %: E as shown is at most E x 2/98 = E/49 off.
"""

from datetime import UTC, date, datetime
from decimal import Decimal
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from zoneinfo import ZoneInfo

from energy_agent.core.boundary import host
from energy_agent.core.energy import Entry, Gap, Method, State, Steps, Tokens, WorkloadFacts
from energy_agent.core.meters.facility import METER_KIND, MeterFacts, Position, Role
from energy_agent.factors.basis import Accounting, Basis, EmissionBoundary
from energy_agent.factors.join import IntensitySource
from energy_agent.factors.series import About, IntensityPoint, Piece
from energy_agent.ledger.journal.book import Batch
from energy_agent.ledger.rows.kinds import INT64_MAX, DeviceFacts
from energy_agent.site.grid.store import GridStore
from reports.inputs.matching import InstrumentKind, Lot, Technology
from reports.inputs.organisation import ExpectedDevice, Organisation, SiteInputs
from reports.inputs.records import EmbodiedDeclaration, GpuHourPrice, ModelName
from reports.inputs.tariffs import HourlyPrice, Tariff
from reports.inputs.water import WaterRecord
from tests.reports import chains
from tests.reports.chains import CELL, DAY, HOUR, KWH, S


def at(text: str) -> int:
    """UTC ns of an instant."""
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) * S


Q3, Q4 = at("2026-07-01"), at("2026-10-01")
YEAR, NEXT = at("2026-01-01"), at("2027-01-01")
WEDNESDAY, SATURDAY, JUNE, NIGHT = (
    at("2026-07-01T09:00"),
    at("2026-07-04T13:00"),
    at("2026-06-15T09:00"),
    at("2026-06-30T18:30"),
)
GPU = {name: f"GPU-{name}" for name in ("a1-0", "a1-1", "a2-0", "b1-0", "b1-1")}
CHAT, TRAIN, MIX, SOLO = "pod:chat", "slurm:77", "pod:mix", "pod:solo"
ASKED_OF = {"alfa": ("a1", "a2"), "beta": ("b1",)}
DIRECT = Basis(EmissionBoundary.DIRECT, Accounting.LOCATION)
RESIDUAL = Basis(EmissionBoundary.DIRECT, Accounting.RESIDUAL)


def uj(kwh: str | int) -> int:
    """kWh as whole uJ."""
    exact = Fraction(kwh) * KWH
    assert exact.denominator == 1
    return int(exact)


def cells(start: int, device: str, workload: str, state: State, kwh: list[str], edge_uj: int = 1_000_000) -> list[Entry]:
    """One entry a cell; the counter's readings are 1 J off at most."""
    method = Method.BRIDGED if state is State.GAP else Method.COUNTER
    allocated_ns = CELL if workload else 0
    return [
        Entry(start + i * CELL, start + (i + 1) * CELL, device, workload, state, method, uj(each), edge_uj, allocated_ns)
        for i, each in enumerate(kwh)
    ]


def facts(*devices: str) -> Batch:
    of = [
        DeviceFacts(device, "NVIDIA H100 of a test" if device.startswith("GPU") else "host", 0.02, YEAR) for device in devices
    ]
    who = [
        WorkloadFacts(CHAT, YEAR, "pod", {"team": "nlp", "project": "assist", "precision": "fp8"}),
        WorkloadFacts(TRAIN, YEAR, "slurm", {"team": "vision", "project": "resnet", "class": "spot"}),
        WorkloadFacts(MIX, YEAR, "pod", {"team": "nlp", "project": "assist"}),
        WorkloadFacts(SOLO, YEAR, "pod", {}),
    ]
    return Batch(devices=of, facts=who)


def a1() -> list[Batch]:
    g0, g1, around = GPU["a1-0"], GPU["a1-1"], host("lab", "a1")
    before = cells(JUNE, g0, CHAT, State.ACTIVE, ["0.49"] * 4) + cells(JUNE, around, CHAT, State.ACTIVE, ["0.245"] * 4, 0)
    busy = cells(WEDNESDAY, g0, CHAT, State.ACTIVE, ["0.49"] * 8) + cells(WEDNESDAY, g1, CHAT, State.ACTIVE, ["0.49"] * 4)
    idle = cells(WEDNESDAY + HOUR, g1, CHAT, State.IDLE, ["0.098"] * 4)
    hosts = cells(WEDNESDAY, around, CHAT, State.ACTIVE, ["0.245"] * 8, 0)
    tokens = [
        Tokens(WEDNESDAY, WEDNESDAY + 2 * HOUR, CHAT, "llama", "generation", 7_000_000),
        Tokens(WEDNESDAY, WEDNESDAY + 2 * HOUR, CHAT, "llama", "prompt", 1_000_000),
    ]
    earlier = [Tokens(JUNE, JUNE + HOUR, CHAT, "llama", "generation", 2_000_000)]
    return [facts(g0, g1, around), Batch(before, tokens=earlier), Batch([*busy, *idle, *hosts], tokens=tokens)]


def a2() -> list[Batch]:
    gpu, around = GPU["a2-0"], host("lab", "a2")
    job_entries = cells(WEDNESDAY, gpu, TRAIN, State.ACTIVE, ["0.49"] * 8) + cells(
        WEDNESDAY, around, TRAIN, State.ACTIVE, ["0.147"] * 8, 0
    )
    after = WEDNESDAY + 2 * HOUR
    unheld = cells(after, gpu, "", State.UNALLOCATED, ["0.098"] * 4) + cells(
        after, around, "", State.UNALLOCATED, ["0.049"] * 4, 0
    )
    bridged = cells(SATURDAY, gpu, "", State.GAP, ["0.49"])
    lost = [Gap(gpu, SATURDAY + CELL, SATURDAY + 2 * CELL, uj("0.1"), "lost")]
    steps = [Steps(WEDNESDAY, WEDNESDAY + 2 * HOUR, TRAIN, "training", 1000)]
    return [facts(gpu, around), Batch([*job_entries, *unheld], steps=steps), Batch(bridged, lost)]


def b1() -> list[Batch]:
    g0, g1 = GPU["b1-0"], GPU["b1-1"]
    mix = cells(NIGHT - CELL, g0, MIX, State.ACTIVE, ["0.49"] * 5)
    solo = cells(NIGHT, g1, SOLO, State.ACTIVE, ["0.245"] * 4) + cells(NIGHT + HOUR, g1, SOLO, State.IDLE, ["0.049"] * 4)
    tokens = [
        Tokens(NIGHT, NIGHT + HOUR, MIX, "mix-a", "generation", 100_000),
        Tokens(NIGHT, NIGHT + HOUR, MIX, "mix-b", "generation", 50_000),
        Tokens(NIGHT, NIGHT + HOUR, SOLO, "qwen", "generation", 1_000_000),
    ]
    return [facts(g0, g1), Batch([*mix, *solo], tokens=tokens)]


METERS = {
    MeterFacts("main", Role.TOTAL): ["16", "8", "8", "8"],
    MeterFacts("roof", Role.RENEWABLE): ["2"] * 4,
    MeterFacts("ups", Role.IT, Position.UPS_OUTPUT, "main"): ["8"] * 4,
    MeterFacts("heat", Role.REUSED_HEAT): ["1.2"] * 4,
}
"""What each meter counts in the four cells of every hour."""


def building(start: int = Q3, end: int = Q4) -> list[Batch]:
    """The site's own ledger: four meters over whole days, one segment a day."""
    metadata = Batch(
        facts=[WorkloadFacts(m.device("alfa"), start, METER_KIND, m.labels) for m in METERS],
        devices=[DeviceFacts(m.device("alfa"), "meter modbus", 0, start) for m in METERS],
    )
    batches = [metadata]
    for first, last in pairwise(range(start, end + 1, DAY)):
        entries = []
        for meter, kwh in METERS.items():
            for n, start in enumerate(range(first, last, CELL)):
                device, energy = meter.device("alfa"), uj(kwh[n % 4])
                entries.append(Entry(start, start + CELL, device, "", State.UNALLOCATED, Method.COUNTER, energy, 0, CELL))
        batches.append(Batch(entries))
    return batches


def series() -> IntensitySource:
    """200 g/kWh until noon UTC, 400 after, for every hour of the quarter."""
    pieces = [Piece(t, t + HOUR, Decimal(200 if t % DAY < DAY // 2 else 400), estimated=False) for t in range(Q3, Q4, HOUR)]
    return IntensitySource("series.alfa", DIRECT, 3, tuple(pieces))  # as a file of a user


def constant(name: str, basis: Basis, grams: int) -> IntensitySource:
    return IntensitySource(name, basis, 3, (Piece(0, 1 << 63, Decimal(grams), estimated=False),))


def lots() -> tuple[Lot, ...]:
    """A wind PPA that delivers 50 kWh in each hour from 0 to 6 UTC at 10 g/kWh; guarantees of origin over the year 2026."""
    wind = [
        Lot("wind", InstrumentKind.PPA, "XA", Technology.WIND, Decimal(10), t, t + HOUR, uj(50), timed=True)
        for t in range(Q3, Q4, HOUR)
        if t % DAY < 6 * HOUR
    ]
    go = [
        Lot("go", InstrumentKind.GO, "XA", Technology.HYDRO, Decimal(0), YEAR, NEXT, uj(36_500)),
        Lot("go-kept", InstrumentKind.GO, "XA", Technology.HYDRO, Decimal(0), YEAR, NEXT, uj(7_300), "not retired"),
        Lot("go-abroad", InstrumentKind.GO, "XB", Technology.WIND, Decimal(0), YEAR, NEXT, uj(3_650)),
    ]
    return tuple(sorted([*wind, *go], key=lambda lot: (lot.start_ns, lot.end_ns, lot.contract)))


def tariff(default: str, *prices: HourlyPrice) -> tuple[Tariff, ...]:
    valid, per_kwh = date(2026, 1, 1), Decimal(default)
    return (Tariff(id="2026", currency="EUR", default_per_kwh=per_kwh, prices=prices, valid_from=valid, source="contract"),)


PRICES = (
    GpuHourPrice(price_class="spot", currency="EUR", per_gpu_hour=1),
    GpuHourPrice(currency="EUR", per_gpu_hour=2, electricity_share_percent=50),
)


def organisation() -> Organisation:
    """Both sites, six boards of which one is dead, and what everything costs."""
    peak = HourlyPrice(times=["Mon-Fri 08:00-20:00"], per_kwh=Decimal("0.30"))
    water = WaterRecord(
        start=date(2026, 7, 1), end=date(2026, 9, 30), liters=127180.8, accuracy_percent=1, category=1, source="bill"
    )
    alfa = SiteInputs(
        "alfa", ZoneInfo("UTC"), location=(series(),), location_lacking="",
        residual=(constant("residual.alfa", RESIDUAL, 600),), residual_lacking="", grid_zone="XA", lots=lots(),
        on_site_kept=True, tariffs=tariff("0.10", peak),
        water=(water.model_copy(update={"accuracy_percent": Decimal(0)}),), meters=tuple(METERS),
    )  # fmt: skip
    beta = SiteInputs(
        "beta", ZoneInfo("Asia/Kolkata"), location=(constant("factor.beta", DIRECT, 700),), location_lacking="",
        tariffs=tariff("0.20"),
    )  # fmt: skip
    boards = [(name[:2], uuid) for name, uuid in GPU.items()] + [("a2", "GPU-dead")]
    stands = {node: site for site, nodes in ASKED_OF.items() for node in nodes}
    expected = [ExpectedDevice("lab", node, uuid, "H100", stands[node], 0, INT64_MAX) for node, uuid in boards]
    emissions = EmbodiedDeclaration(
        sku="*H100*", low_kg=100, high_kg=200, life_years=5, boundary="cradle to gate", source="a sheet"
    )
    return Organisation(
        "Golden", least_coverage=Fraction(0), sites={"alfa": alfa, "beta": beta}, expected=tuple(expected),
        prices=PRICES, embodied=(emissions,),
        model_names={"llama": ModelName(model="llama", display="Llama")},
    )  # fmt: skip


SITE_FILE = """
site: {name: alfa}
grid: {zone: XA, boundary: direct, on_site_certificates: kept}
contracts:
  - {id: wind, kind: ppa, zone: XA, technology: wind, g_per_kwh: 10, g_source: the seller, hourly_file: wind.csv,
     retired: 2026-10-01, retirement_id: "0", registry: R, serials: "0-1..0-9999", plant: P, beneficiary: Golden}
  - {id: go, kind: go, zone: XA, technology: hydro, start: 2026-01-01, end: 2026-12-31, volume_kwh: 36500,
     retired: 2026-10-01, retirement_id: "1", registry: R, serials: "1-1..1-9999", plant: P, beneficiary: Golden}
  - {id: go-kept, kind: go, zone: XA, technology: hydro, start: 2026-01-01, end: 2026-12-31, volume_kwh: 7300}
  - {id: go-abroad, kind: go, zone: XB, technology: wind, start: 2026-01-01, end: 2026-12-31, volume_kwh: 3650,
     retired: 2026-10-01, retirement_id: "2", registry: R, serials: "2-1..2-9999", plant: P, beneficiary: Golden}
tariffs:
  - {id: "2026", currency: EUR, default_per_kwh: 0.10, valid_from: 2026-01-01, source: contract,
     prices: [{times: ["Mon-Fri 08:00-20:00"], per_kwh: 0.30}]}
water: [{start: 2026-07-01, end: 2026-09-30, liters: 127180.8, accuracy_percent: 1, source: bill}]
"""
ORG_FILE = """
organisation: {name: Golden}
least_coverage_percent: 0
inventory: inventory.csv
sites:
  - {file: sites/alfa.yaml, state: alfa}
  - site: {name: beta, time_zone: Asia/Kolkata}
    state: beta
    grid: {zone: XC, boundary: direct}
    tariffs: [{id: "2026", currency: EUR, default_per_kwh: 0.20, valid_from: 2026-01-01, source: contract}]
prices:
  - {price_class: spot, currency: EUR, per_gpu_hour: 1}
  - {currency: EUR, per_gpu_hour: 2, electricity_share_percent: 50}
embodied: [{sku: "*H100*", low_kg: 100, high_kg: 200, life_years: 5, boundary: cradle to gate, source: a sheet}]
models: [{model: llama, display: Llama}]
"""


def files(folder: Path) -> Path:
    """The same organisation as files of a user: org.yaml, a site's file, an inventory, hours of a PPA, kept grids."""
    (folder / "sites").mkdir(parents=True)
    (folder / "org.yaml").write_text(ORG_FILE)
    (folder / "sites" / "alfa.yaml").write_text(SITE_FILE)
    wind = [lot.start_ns for lot in lots() if lot.contract == "wind"]
    rows = [f"{datetime.fromtimestamp(t // S, UTC):%Y-%m-%dT%H:%M:%SZ},50" for t in wind]
    (folder / "sites" / "wind.csv").write_text("\n".join(["ts_utc,kwh", *rows, ""]))
    stands = [f"lab,{e.node},{e.uuid},H100,{e.site},," for e in organisation().expected]
    (folder / "inventory.csv").write_text("\n".join(["cluster,node,uuid,sku,site,from,to", *stands, ""]))
    for site, zone, basis, points in (
        ("alfa", "XA", DIRECT, [(p.start_ns, p.end_ns, p.g_per_kwh) for p in series().pieces]),
        ("alfa", "XA", RESIDUAL, [(Q3, Q4, Decimal(600))]),
        ("beta", "XC", DIRECT, [(NIGHT - 92 * DAY, Q4, Decimal(700))]),
    ):
        about = About(f"csv_file.{basis.accounting.name.lower()}", zone, basis, "the operator", "ours", "not stated", 3)
        intensities = [IntensityPoint(start, end, grams, False, Q4) for start, end, grams in points]
        GridStore(folder / site / "grid").append(about, intensities)
    return folder / "org.yaml"


def days(folder: Path, start: int = Q3, end: int = Q4) -> Path:
    """The compacted days, with the building's meters from `start` to `end`."""
    for node, batches in (("a1", a1()), ("a2", a2()), ("b1", b1()), ("alfa", building(start, end))):
        chains.write(folder / "segments", "lab", node, batches)
    return chains.compacted(folder / "segments", folder / "days", organisation().stays())
