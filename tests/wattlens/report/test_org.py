"""An organisation in YAML: every value calculated by hand, referenced files, and refused inputs."""

import json
from datetime import date
from decimal import Decimal
from fractions import Fraction
from hashlib import sha256
from zoneinfo import ZoneInfo

import pytest

from energy_agent.core.errors import UsageError
from energy_agent.core.meters.facility import MeterFacts, Position, Role
from energy_agent.core.week import parse_span
from energy_agent.factors.basis import Accounting, Basis, EmissionBoundary
from energy_agent.factors.series import About, IntensityPoint
from energy_agent.ledger.rows.kinds import INT64_MAX
from energy_agent.site.grid.store import GridStore
from reports.inputs.matching import InstrumentKind, Lot, Technology
from reports.inputs.organisation import ExpectedDevice, Organisation
from reports.inputs.records import EmbodiedDeclaration, GpuHourPrice, ModelName, TeamRule
from reports.inputs.tariffs import HourlyPrice, Tariff
from reports.inputs.water import WaterRecord
from tests.wattlens.report.books import AS_OF_NS, CSV, END_NS, KWH_UJ, START_NS, YAML, book, whole, yaml_files
from wattlens.report.inputs.org import load_organisation

HOUR_NS = 3600 * 10**9
DAY_NS = 24 * HOUR_NS


def load(path):
    return load_organisation(path, START_NS, END_NS, AS_OF_NS)


def load_text(tmp_path, text):
    path = tmp_path / "org.yaml"
    path.write_text(text)
    return load(path)


def test_every_value_of_a_whole_file(tmp_path):
    """Worked out by hand.

    Berlin is UTC+2 in summer: its quarter begins at 22:00 UTC of June 30, July ends at 22:00 of the 31st. Wind: 1234.5 kWh over
    July as one lot. Sun: 812.5 kWh from 09:15 UTC, 3250 kWh from 10:00 (12:00 at +02:00). The certificate's lot is its own
    period. 4.1 m3 are 4100 l, known to 2 %.
    """
    organisation = load(yaml_files(tmp_path))
    july, october = START_NS - 2 * HOUR_NS, END_NS - 2 * HOUR_NS
    august = july + 31 * DAY_NS
    nine = START_NS + 9 * HOUR_NS
    wind, none = Decimal("12.5"), Decimal(0)
    sun = ("sun", InstrumentKind.PPA, "DE", Technology.SOLAR, none)
    fra1, pnq1 = organisation.sites["fra1"], organisation.sites["pnq1"]
    assert (organisation.name, organisation.report_contact, organisation.least_coverage) == (
        "Example AI",
        "esg@example.com",
        Fraction(39, 40),
    )
    assert list(organisation.sites) == ["fra1", "pnq1"]
    assert fra1.zone == ZoneInfo("Europe/Berlin")
    assert fra1.stated == (Fraction(128, 100), Fraction(5, 100))
    assert (fra1.stated_source, fra1.grid_zone, fra1.country) == ("the operator", "DE", "DEU")
    assert set(fra1.lots) == {
        Lot("wind", InstrumentKind.PPA, "DE", Technology.WIND, wind, july, august, 1_234_500 * KWH_UJ // 1000, "not retired"),
        Lot(
            "go",
            InstrumentKind.GO,
            "DE",
            Technology.HYDRO,
            none,
            july,
            october,
            5000 * KWH_UJ,
            proof="HKNR, 123, 2026-09-01, X-1..X-9999, P, Example AI",
        ),
        Lot(*sun, nine + HOUR_NS // 4, nine + HOUR_NS // 2, 8125 * KWH_UJ // 10, "not retired", timed=True),
        Lot(*sun, nine + HOUR_NS, nine + 2 * HOUR_NS, 3250 * KWH_UJ, "not retired", timed=True),
    }
    assert [lot.start_ns for lot in fra1.lots] == sorted(lot.start_ns for lot in fra1.lots)
    price = HourlyPrice(times=("Mon-Fri 08:00-20:00", "Sat 08:00-12:00"), per_kwh=0.214)
    assert price.spans == (parse_span("Mon-Fri 08:00-20:00"), parse_span("Sat 08:00-12:00"))
    tariff = Tariff(
        id="2026", currency="EUR", default_per_kwh=0.182, prices=(price,), valid_from=date(2026, 1, 1), source="contract 3.1"
    )
    assert fra1.tariffs == (tariff,)
    quarter = {"start": date(2026, 7, 1), "end": date(2026, 9, 30)}
    assert fra1.water == (WaterRecord(**quarter, liters=4100, accuracy_percent=2, category=1, source="bill 4711"),)
    assert fra1.meters == (
        MeterFacts("main", Role.TOTAL, None, "", "", 5000, "modbus", 2_500_000_000, "modbus"),
        MeterFacts("ups", Role.IT, Position.UPS_OUTPUT, "main", "", 10_000, "snmp", 1_200_000_000, "snmp"),
    )
    assert (fra1.it_kw, fra1.floor_m2) == (Decimal(800), Decimal(1200))
    assert (pnq1.stated, pnq1.lots, pnq1.tariffs, pnq1.water, pnq1.it_kw) == (None, (), (), (), None)
    mid_july, first_august = START_NS + 14 * DAY_NS, START_NS + 31 * DAY_NS
    assert organisation.expected == (
        ExpectedDevice("prod", "n1", "GPU-1", "H100", "fra1", 0, first_august),
        ExpectedDevice("prod", "n1", "GPU-1", "H100", "pnq1", first_august, INT64_MAX),
        ExpectedDevice("prod", "n2", "GPU-2", "H100", "fra1", mid_july, INT64_MAX),
        ExpectedDevice("prod", "n9", "", "", "pnq1", 0, INT64_MAX),
    )
    assert organisation.teams == (
        TeamRule(match={"namespace": "nlp-*"}, team="language", project="search"),
        TeamRule(match={"partition": "spot*"}, price_class="spot"),
        TeamRule(match={"account": "4711", "cost-centre": "77*", "tier": "a"}, team="vision"),
    )
    assert organisation.prices == (
        GpuHourPrice(price_class="spot", currency="EUR", per_gpu_hour=0.9),
        GpuHourPrice(currency="EUR", per_gpu_hour=1.75, electricity_share_percent=50),
    )
    emissions = EmbodiedDeclaration(
        sku="*H100*", low_kg=164, high_kg=575.1, life_years=5, boundary="cradle to gate", source="two sheets"
    )
    assert organisation.embodied == (emissions,)
    model = ModelName(model="llama-70b", display="Llama 70B", precision="fp8", parameters_billion=70.6)
    assert (organisation.model_names, model.parameters) == ({"llama-70b": model}, 70_600_000_000)
    digests = {"inventory.csv": sha256(CSV.encode()).hexdigest(), "org.yaml": sha256(YAML.encode()).hexdigest()}
    assert organisation.files == tuple(sorted(digests.items()))


def test_only_what_is_delivered_within_the_time_is_kept(tmp_path):
    """From July 1 at 09:30 UTC: the delivery of 09:15 is over, that of 10:00 is not, and July itself is not."""
    half_past = START_NS + 9 * HOUR_NS + HOUR_NS // 2
    organisation = load_organisation(yaml_files(tmp_path), half_past, half_past + HOUR_NS, AS_OF_NS)
    assert sorted(lot.contract for lot in organisation.sites["fra1"].lots) == ["go", "sun", "wind"]


def test_empty_file_gives_an_empty_organisation(tmp_path):
    organisation = load_text(tmp_path, "")
    assert organisation == Organisation(files=(("org.yaml", sha256(b"").hexdigest()),))


GRID = """
site: {name: fra1, time_zone: Europe/Berlin}
grid:
  zone: DE
  country: GBR
  sources:
    - csv_file: {path: de.csv, publisher: the operator, licence: ours}
    - csv_file: {path: rest.csv, publisher: the issuer, licence: ours, accounting: residual-mix}
pue: {value: 1.3, source: a plate}
contracts:
  - {id: ppa, kind: ppa, zone: DE, technology: wind, hourly_file: ppa.csv}
meters:
  - {id: main, role: total, accuracy_percent: 1, max_power_w: 1000, declared: {power_w: 10, basis: a guess}}
"""


@pytest.fixture
def site_folder(tmp_path):
    """A site's file with hours and a saved grid in its folder: 300 g/kWh at first, revised to 310 an hour before the end."""
    folder = tmp_path / "sites"
    folder.mkdir()
    (folder / "fra1.yaml").write_text(GRID)
    (folder / "ppa.csv").write_text("ts_utc,kwh\n2026-07-01T00:00:00Z,7.5\n2026-12-01T00:00:00Z,1\n")
    store = GridStore(tmp_path / "state" / "grid")
    grid = About("csv_file.de", "DE", Basis(EmissionBoundary.DIRECT), "the operator", "ours", "not stated", 3)
    store.append(grid, [IntensityPoint(START_NS, START_NS + HOUR_NS, Decimal(300), False, START_NS)])
    store.append(grid, [IntensityPoint(START_NS, START_NS + HOUR_NS, Decimal(310), False, END_NS - HOUR_NS)])
    rest = About(
        "csv_file.rest", "DE", Basis(EmissionBoundary.DIRECT, Accounting.RESIDUAL), "the issuer", "ours", "not stated", 3
    )
    store.append(rest, [IntensityPoint(START_NS, END_NS, Decimal(720), False, START_NS)])
    return tmp_path


def test_a_site_by_its_own_file(site_folder):
    text = "sites:\n  - {file: sites/fra1.yaml, state: state, it_power_kw: 30,\n"
    text += "     water: [{start: 2026-07-01, end: 2026-07-31, liters: 10, accuracy_percent: 1, source: bill}]}\n"
    organisation = load_text(site_folder, text)
    site = organisation.sites["fra1"]
    assert site.stated == (Fraction(13, 10), Fraction(1, 10))
    assert [(lot.start_ns, lot.end_ns, lot.uj) for lot in site.lots] == [(START_NS, START_NS + HOUR_NS, 75 * KWH_UJ // 10)]
    assert [water.liters for water in site.water] == [10]
    assert [meter.id for meter in site.meters] == ["main"]
    assert {path for path, _ in organisation.files} == {"org.yaml", "sites/ppa.csv", "sites/fra1.yaml"}


@pytest.mark.parametrize(("as_of_ns", "intensity"), [(END_NS, 310), (END_NS - 2 * HOUR_NS, 300)])
def test_the_grid_is_as_it_was_known(site_folder, as_of_ns, intensity):
    (site_folder / "org.yaml").write_text("sites: [{file: sites/fra1.yaml, state: state}]")
    site = load_organisation(site_folder / "org.yaml", START_NS, END_NS, as_of_ns).sites["fra1"]
    hourly, yearly = site.location  # the best first
    assert [(piece.start_ns, piece.g_per_kwh) for piece in hourly.pieces] == [(START_NS, intensity)]
    assert (yearly.pieces[0].start_ns, yearly.pieces[-1].end_ns) == (START_NS, END_NS)
    supply = [source.id for sources in site.supply.values() for source in sources]
    assert [factor.id for factor, _ in site.factors] == sorted([yearly.id, *supply])
    assert site.factors[0][0].zone == "GBR"
    assert [piece.g_per_kwh for source in site.residual for piece in source.pieces] == [720]
    assert {source.basis.accounting for source in site.residual} == {Accounting.RESIDUAL}


def test_missing_grid_data_is_described(site_folder):
    site = load_text(site_folder, "sites: [{file: sites/fra1.yaml}]").sites["fra1"]
    assert len(site.location) == 1
    assert site.location_lacking == "no `state` is named, so these files are not read: de.csv, rest.csv"
    early = load_organisation(site_folder / "org.yaml", START_NS, END_NS, AS_OF_NS).sites["fra1"]
    assert early.location == site.location
    (site_folder / "org.yaml").write_text("sites: [{file: sites/fra1.yaml, state: state}]")
    before = load_organisation(site_folder / "org.yaml", START_NS, END_NS, START_NS - 1).sites["fra1"]
    assert len(before.location) == 1
    assert "csv_file.de: no intensity of zone DE was published" in before.location_lacking
    nowhere = load_text(site_folder, "sites: [{site: {name: x}}]").sites["x"]
    assert (nowhere.location, nowhere.residual) == ((), ())
    assert nowhere.location_lacking == "site 'x' names neither the zone nor the country of its grid"


HOURS = """ts_utc,zone,g_per_kwh,kind,estimated
2026-07-01T00:00:00Z,DE,400.5,direct,
2026-07-01T01:00:00Z,DE,410,direct,true
2026-07-01T00:00:00Z,FR,50,direct,
"""


@pytest.mark.parametrize("where", ["org.yaml", "the site's file"])
def test_hours_of_a_file_count_as_known_at_any_time(site_folder, where):
    if where == "org.yaml":
        (site_folder / "hours.csv").write_text(HOURS)
        source = "{csv_file: {path: hours.csv, publisher: p, licence: l}}"
        text = f"sites: [{{site: {{name: fra1}}, grid: {{zone: DE, country: GBR, sources: [{source}]}}}}]"
    else:
        (site_folder / "sites" / "de.csv").write_text(HOURS)
        text = "sites: [{file: sites/fra1.yaml}]"
    (site_folder / "org.yaml").write_text(text)
    organisation = load_organisation(site_folder / "org.yaml", START_NS, END_NS, START_NS - 1)
    hourly, yearly = organisation.sites["fra1"].location
    assert [(p.start_ns, p.end_ns, p.g_per_kwh, p.estimated) for p in hourly.pieces] == [
        (START_NS, START_NS + HOUR_NS, Decimal("400.5"), False),
        (START_NS + HOUR_NS, START_NS + 2 * HOUR_NS, Decimal(410), True),
    ]
    assert yearly.pieces
    name = "hours.csv" if where == "org.yaml" else "sites/de.csv"
    assert dict(organisation.files)[name] == sha256(HOURS.encode()).hexdigest()


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("csv_file: {path: none.csv, publisher: p, licence: l}", "org.yaml: cannot read"),
        (
            "csv_file: {path: hours.csv, publisher: p, licence: l, zone: AT}",
            "hours.csv has no direct row of zone 'AT'; its zones: DE, FR",
        ),
        (
            "csv_file: {path: hours.csv, publisher: p, licence: l, boundary: life-cycle}",
            "source csv_file is life-cycle, but the grid",
        ),
        ("csv_file: {path: hours.csv, publisher: p}", "key 'sites.0.grid.sources.0.csv_file.licence' is missing"),
        ("electricity_maps: {key_file: key}", "unknown key 'sites.0.grid.sources.0.electricity_maps'"),
    ],
)
def test_hours_that_cannot_be(tmp_path, source, message):
    (tmp_path / "hours.csv").write_text(HOURS)
    with pytest.raises(UsageError) as refused:
        load_text(tmp_path, f"sites: [{{site: {{name: a}}, grid: {{zone: DE, sources: [{{{source}}}]}}}}]")
    assert message in str(refused.value)


def test_a_site_without_a_file_takes_every_series_that_was_kept_of_its_zone(site_folder):
    site = load_text(site_folder, "sites: [{state: state, site: {name: a}, grid: {zone: DE}}]").sites["a"]
    assert [piece.g_per_kwh for piece in site.location[0].pieces] == [310]
    assert [piece.g_per_kwh for piece in site.residual[0].pieces] == [720]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("organization: {name: x}", "unknown key 'organization'; did you mean 'organisation'?"),
        ("sites: [{site: {name: a}, tarifs: []}]", "unknown key 'sites.0.tarifs'; did you mean 'tariffs'?"),
        ("sites: [{site: {name: a}, grid: {zon: DE}}]", "unknown key 'sites.0.grid.zon'; did you mean 'zone'?"),
        ("sites: [{it_power_kw: 3}]", "key 'sites.0': a site needs file or site.name"),
        ("sites: [{file: a.yaml, pue: {value: 1.1}}]", "a.yaml describes this site; move pue into that file"),
        ("sites: [{file: a.yaml, site: {name: a, time_zone: UTC}}]", "move site.time_zone into that file"),
        ("sites: [{file: a.yaml}]", "org.yaml: cannot read "),
        ("sites: [{site: {name: a}}, {site: {name: a}}]", "org.yaml: duplicate site 'a'"),
        ("sites: [{site: {name: a}, state: nowhere}]", "is not a folder; give the state folder"),
        ("least_coverage_percent: yes", "expected a number, got true"),
        ("least_coverage_percent: 101", "from 0 to 100, got 101"),
        ("inventory: none.csv", "org.yaml: key 'inventory': cannot read "),
        ("teams: [{match: {}, team: a}]", "key 'teams.0.match'"),
        ("teams: [{match: {namespace: a}}]", "expected a team, a project or a price_class"),
        ("prices: [{price_class: spot}]", "price class 'spot': expected per_gpu_hour or electricity_share_percent"),
        ("prices: [{per_gpu_hour: 1}]", "price class '' needs a currency"),
        ("prices: [{per_gpu_hour: 1, currency: euro}]", "expected an ISO 4217 currency code such as EUR, got 'euro'"),
        ("prices: [{per_gpu_hour: 1, currency: EUR}, {per_gpu_hour: 2, currency: EUR}]", "duplicate price class ''"),
        ("models: [{model: a}, {model: a}]", "duplicate model 'a'"),
        (
            "embodied: [{sku: a, low_kg: 2, high_kg: 1, life_years: 4, boundary: b, source: c}]",
            "high_kg: expected at least low_kg (2), got 1",
        ),
        (
            "sites: [{site: {name: a}, contracts: [{id: c, kind: ppa, zone: DE, technology: wind, start: 2026-01-01, "
            "end: 2026-01-31, volume_kwh: 1}]}]",
            "site 'a': contracts need grid.zone",
        ),
    ],
)
def test_what_is_wrong_is_one_line_that_names_it(tmp_path, text, message):
    with pytest.raises(UsageError) as refused:
        load_text(tmp_path, text)
    assert message in str(refused.value)
    assert "org.yaml" in str(refused.value) or "none.csv" in str(refused.value)
    assert "\n" not in str(refused.value)


def test_errors_of_several_sites_are_reported_at_once(tmp_path):
    (tmp_path / "a.yaml").write_text("pue: {value: 0.5}\nwatre: []\n")
    with pytest.raises(UsageError) as refused:
        load_text(tmp_path, "sites: [{file: a.yaml}, {file: b.yaml}, {site: {name: c}}, {site: {name: c}}]")
    lines = str(refused.value).splitlines()
    assert all(line.startswith(f"{tmp_path / 'org.yaml'}: ") for line in lines)
    for line, words in zip(lines, ("a.yaml pue.value 0.5", "a.yaml watre", "b.yaml", "'c'"), strict=True):
        assert all(word in line for word in words.split())


CONTRACT = (
    "sites: [{{site: {{name: a}}, grid: {{zone: DE}}, contracts: [{{id: c, kind: ppa, zone: DE, technology: wind, {}}}]}}]"
)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (
            "deliveries: [{start_utc: 2026-07-01T00:10, minutes: 15, kwh: 1}]",
            "00:10:00: not the start of an interval of 15 minutes",
        ),
        ("deliveries: [{start_utc: 2026-07-01T00:15, kwh: 1}]", "not the start of an interval of 60 minutes"),
        ("deliveries: [{start_utc: 2026-07-01, kwh: 1}]", "expected a time in UTC such as 2026-01-31T23:15, got '2026-07-01'"),
        ("deliveries: [{start_utc: 1782864000, kwh: 1}]", "expected a time in UTC such as 2026-01-31T23:15"),
        (
            "deliveries: [{start_utc: 2026-07-01T00:00, kwh: 1}, {start_utc: 2026-07-01T00:45, minutes: 15, kwh: 1}]",
            "duplicate delivery at '2026-07-01 00:45:00' UTC",
        ),
        ("deliveries: [{start_utc: 2026-07-01T00:00, kwh: 1}], volume_kwh: 3", "deliveries cannot be combined with volume_kwh"),
        ("deliveries: [{start_utc: 2026-07-01T00:00, kwh: 1}], g_per_kwh: 3", "g_source is missing"),
        (
            "deliveries: [{start_utc: 2026-07-01T00:00, kwh: 1}], commissioned: 2026-08-01",
            "before its plant was commissioned (2026-08-01)",
        ),
        ("granularity: year", "expected volume_kwh with start and end"),
    ],
)
def test_deliveries_that_cannot_be(tmp_path, more, message):
    with pytest.raises(UsageError) as refused:
        load_text(tmp_path, CONTRACT.format(more))
    assert message in str(refused.value)


@pytest.mark.parametrize(("more", "bound", "assumed"), [("", 10, True), (", uncertainty_percent: 10", 10, False)])
@pytest.mark.parametrize("own_file", [True, False])
def test_unstated_pue_bound_is_marked_as_assumed(tmp_path, more, bound, assumed, own_file):
    site_yaml = f"site: {{name: a}}\npue: {{value: 1.5{more}}}\n"
    (tmp_path / "a.yaml").write_text(site_yaml)
    text = "sites: [{file: a.yaml}]" if own_file else f"sites:\n- {site_yaml.strip().replace(chr(10), chr(10) + '  ')}\n"
    site = load_text(tmp_path, text).sites["a"]
    assert (site.stated, site.bound_assumed) == ((Fraction(3, 2), Fraction(bound, 100)), assumed)


def test_two_sites_may_not_be_one_and_a_name_must_be_the_file_s(site_folder):
    with pytest.raises(UsageError, match=r"sites/fra1.yaml: expected site 'fra2', got 'fra1'"):
        load_text(site_folder, "sites: [{file: sites/fra1.yaml, site: {name: fra2}}]")


def test_a_file_that_is_neither(tmp_path):
    (tmp_path / "org.json").write_text("{}")
    with pytest.raises(UsageError, match=r"org.json: expected an input file that ends in .yaml or .yml or .xlsx"):
        load(tmp_path / "org.json")
    with pytest.raises(UsageError, match="cannot read"):
        load(tmp_path / "nothing.yaml")


def test_hours_of_a_contract_lie_beside_the_file_that_names_them(site_folder):
    """Paths in a site's file are relative to that file; paths in org.yaml are relative to org.yaml."""
    (site_folder / "mine.csv").write_text("ts_utc,kwh\n2026-07-01T05:00:00Z,2.5\n")
    contract = "{id: mine, kind: ppa, zone: DE, technology: wind, hourly_file: mine.csv}"
    organisation = load_text(site_folder, f"sites: [{{file: sites/fra1.yaml, contracts: [{contract}]}}]")
    assert [(lot.contract, lot.uj) for lot in organisation.sites["fra1"].lots] == [
        ("ppa", 75 * KWH_UJ // 10),
        ("mine", 25 * KWH_UJ // 10),
    ]
    assert {"mine.csv", "sites/ppa.csv"} <= {path for path, _ in organisation.files}
    (site_folder / "mine.csv").write_text("ts_utc,kwh\n2026-07-01T05:00:00Z,2,5\n2026-07-01 05:30,1\n")
    with pytest.raises(
        UsageError, match=r"org.yaml: site 'fra1': contract 'mine': .*mine.csv, line 3: expected a full UTC hour"
    ):
        load(site_folder / "org.yaml")
    (site_folder / "mine.csv").unlink()
    with pytest.raises(UsageError, match=r"org.yaml: contract 'mine': cannot read .*mine.csv"):
        load(site_folder / "org.yaml")


def test_files_of_the_same_name_beside_two_sites_are_two_files(site_folder):
    (site_folder / "other").mkdir()
    (site_folder / "other" / "pnq1.yaml").write_text(GRID.replace("fra1", "pnq1"))
    (site_folder / "other" / "ppa.csv").write_text("ts_utc,kwh\n2026-07-01T05:00:00Z,1\n")
    organisation = load_text(site_folder, "sites: [{file: sites/fra1.yaml}, {file: other/pnq1.yaml}]")
    assert [organisation.sites[name].lots[0].uj for name in ("fra1", "pnq1")] == [75 * KWH_UJ // 10, KWH_UJ]
    digests = dict(organisation.files)
    for name in ("sites/ppa.csv", "other/ppa.csv"):
        assert digests[name] == sha256((site_folder / name).read_bytes()).hexdigest()


OWN = {
    "id": "own-residual", "title": "A residual mix", "publisher": "the issuer", "edition": "2026", "unit": "g_per_kwh",
    "gases": "CO2e", "gwp_set": "AR6", "boundary": "direct", "basis": "consumption", "accounting": "residual-mix",
    "quality": 4, "uncertainty": "not stated", "years": "2026", "source": "a letter", "source_sha256": "none: a letter",
    "fetched": "2026-11-26", "licence": "ours", "attribution": "the issuer", "update": "yearly", "note": "none", "rows": 1,
}  # fmt: skip


def test_custom_factors_next_to_the_file_are_listed_with_their_hashes(tmp_path):
    table = b"zone,name,g_per_kwh,year,note\nDE,Germany,724.5,2026,\n"
    folder = tmp_path / "factors"
    folder.mkdir()
    (folder / "own.csv").write_bytes(table)
    (folder / "own.json").write_text(json.dumps({**OWN, "csv_sha256": sha256(table).hexdigest()}))
    site = "{site: {name: a}, grid: {zone: DE, country: DEU, factors: factors}}"
    organisation = load_text(tmp_path, f"sites: [{site}]")
    (residual,) = organisation.sites["a"].residual
    assert [piece.g_per_kwh for piece in residual.pieces] == [Decimal("724.5")]
    assert (residual.basis.accounting, organisation.sites["a"].residual_lacking) == (Accounting.RESIDUAL, "")
    digests = dict(organisation.files)
    assert digests["factors/own.csv"] == sha256(table).hexdigest()
    assert digests["factors/own.json"] == sha256((folder / "own.json").read_bytes()).hexdigest()
    assert [sha for factor, sha in organisation.sites["a"].factors if factor.id == residual.id] == [sha256(table).hexdigest()]


def test_file_and_entry_of_a_site_are_checked_together(site_folder):
    contract = "{id: ppa, kind: ppa, zone: DE, technology: wind, start: 2026-07-01, end: 2026-07-02, volume_kwh: 1}"
    with pytest.raises(UsageError, match=r"org.yaml: site 'fra1': duplicate contract 'ppa'"):
        load_text(site_folder, f"sites: [{{file: sites/fra1.yaml, contracts: [{contract}]}}]")


def test_a_country_that_no_table_of_factors_has_is_refused_with_the_nearest(site_folder):
    with pytest.raises(UsageError, match=r"org\.yaml: site 'fra1': grid\.country: 'DEX' is not in any table .*DEU \(Germany\)"):
        load_text(site_folder, "sites: [{site: {name: fra1}, grid: {country: DEX}}]")


CERTIFICATE = "kind: go, zone: DE, technology: hydro, start: 2026-07-01, end: 2026-09-30, volume_kwh: 5000, retired: 2026-09-01"


def two_sites(first: str, second: str, serials: tuple[str, str] = ("", "")) -> str:
    text = "sites:\n"
    for site, contract, retirement, listed in (("fra1", "a", first, serials[0]), ("pnq1", "b", second, serials[1])):
        lot = f"{{{CERTIFICATE}, id: {contract}, retirement_id: '{retirement}', registry: HKNR, serials: '{listed}'}}"
        text += f"- {{site: {{name: {site}}}, grid: {{zone: DE}}, contracts: [{lot}]}}\n"
    return text


@pytest.mark.parametrize("again", ["GO 12-3", "go12-3", " Go 12 -3"])
def test_a_certificate_counts_at_one_site_of_the_organisation(tmp_path, again):
    with pytest.raises(UsageError) as caught:
        load_text(tmp_path, two_sites("GO 12-3", again))
    message = str(caught.value)
    assert all(name in message for name in ("org.yaml", "'fra1'", "'pnq1'", "contract 'a'", "contract 'b'", "counts only once"))


def test_one_retirement_serves_two_sites_with_serial_numbers_of_their_own(tmp_path):
    organisation = load_text(tmp_path, two_sites("GO 12-3", "GO 12-3", ("DE-1..DE-5", "DE-6..DE-10")))
    assert [len(organisation.sites[name].lots) for name in ("fra1", "pnq1")] == [1, 1]
    for again in ("DE-5..DE-9", "de-3 .. de-7", "DE-0005..DE-0012; DE-20"):
        with pytest.raises(UsageError, match=r"contract 'a' of site 'fra1' and contract 'b' of site 'pnq1'.*DE-\d.*only once"):
            load_text(tmp_path, two_sites("GO 12-3", "GO 12-4", ("DE-1..DE-5", again)))


def test_certificates_of_two_retirements_count_at_two_sites(tmp_path):
    organisation = load_text(tmp_path, two_sites("GO 12-3", "GO 12-4"))
    assert [len(organisation.sites[name].lots) for name in ("fra1", "pnq1")] == [1, 1]


def test_a_site_in_britain_has_factors_of_scope_2_and_of_category_3(tmp_path):
    """0.13096 kg at generation, 0.03682 of fuel supply, 0.01299 + 0.00359 of losses (DESNZ, set of 2026)."""
    (tmp_path / "org.yaml").write_text("sites: [{site: {name: a}, grid: {zone: GB, country: GBR}}]\n")
    site = load(tmp_path / "org.yaml").sites["a"]
    factor_values = {factor.id: factor.value for factor, _ in site.factors}
    latest = {b: str(factor_values[sources[-1].id]) for b, sources in site.supply.items()}
    assert latest == {"upstream": "36.82", "losses": "16.58"}
    assert str(factor_values[site.location[-1].id]) == "130.96"
    (tmp_path / "org.yaml").write_text("sites: [{site: {name: a}, grid: {country: GBR, boundary: life-cycle}}]\n")
    assert load(tmp_path / "org.yaml").sites["a"].supply == {}


@pytest.mark.parametrize("form", ["yaml", "xlsx"])
def test_equity_share_is_refused_because_no_input_has_a_share(tmp_path, form):
    if form == "yaml":
        path, where = tmp_path / "org.yaml", "key 'organisation.consolidation'"
        path.write_text("organisation: {name: A, consolidation: equity share}\n")
    else:
        rows = [["name", "consolidation"], ["A", "equity share"]]
        path, where = book(tmp_path / "org.xlsx", {**whole(), "Organisation": rows}), "sheet Organisation, cell B2"
    with pytest.raises(UsageError) as refused:
        load(path)
    assert f"{where}: equity share is not supported, because no input has the organisation's share of a site" in str(
        refused.value
    )
    assert "expected 'operational control' or 'financial control'" in str(refused.value)


@pytest.mark.parametrize("approach", ["operational control", "financial control"])
def test_approaches_that_count_whole_sites_are_accepted(tmp_path, approach):
    organisation = load_text(tmp_path, f"organisation: {{name: A, consolidation: {approach}}}\n")
    assert organisation.statement.consolidation == approach


@pytest.mark.parametrize("text", ["red\\nblue", "red\\x1b[2J", "red\\u202e", "red\\x85"])
def test_control_characters_are_refused_where_they_are_entered(tmp_path, text):
    with pytest.raises(UsageError, match=r"teams\.0\.team.: expected one line without control characters, got 'red"):
        load_text(tmp_path, f'teams: [{{match: {{team: "*"}}, team: "{text}"}}]')
