"""`wattlens pue` on a ledger whose every figure is worked out by hand, and on what is not one."""

import json
from datetime import UTC, datetime
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import pytest

from energy_agent.core.energy import Identity
from energy_agent.core.meters.facility import MeterFacts, Position, Role
from energy_agent.core.meters.reading import MeterReading, Scope
from energy_agent.factors.series import IntensityPoint
from energy_agent.ledger.journal.journal import Journal
from energy_agent.runtime.clock import RealClock
from energy_agent.site.account import SiteAccount
from energy_agent.site.config.grid import grid_specs
from energy_agent.site.grid.store import GridStore
from wattlens.cli import main
from wattlens.site.file import load_site, parse_site
from wattlens.site.pue.carbon import GRID_FOLDER

S, KWH, H = 10**9, 3_600_000_000_000, 3600
START_S = 1_784_844_000  # 2026-07-24T00:00 in Europe/Berlin
METERS = (
    MeterFacts("main", Role.TOTAL, accuracy_ppm=5_000, calibration="a", max_mw=400 * 10**6, source="modbus"),
    MeterFacts(
        "ups", Role.IT, Position.UPS_OUTPUT, "main", accuracy_ppm=10_000, calibration="b", max_mw=400 * 10**6, source="snmp"
    ),
    MeterFacts("pdu", Role.IT, Position.PDU_OUTPUT, "ups", "hall", 10_000, "b", 400 * 10**6, "snmp"),
    MeterFacts("crac", Role.COOLING, None, "main", "hall", 20_000, "c", 200 * 10**6, "snmp"),
)
KW = {"main": 130, "ups": 100, "pdu": 96, "crac": 20}
SITE = """
site: {name: dc1, time_zone: Europe/Berlin}
grid: {zone: GB, country: GBR, factors: FOLDER}
water: [{start: 2026-07-01, end: 2026-07-31, liters: 148800, accuracy_percent: 2, category: 2, source: bill}]
contracts:
- {id: wind-1, kind: ppa, zone: GB, technology: wind, start: 2026-07-24, end: 2026-07-24, volume_kwh: 780, granularity: month,
   retired: 2026-08-01, retirement_id: R-1, registry: R, serials: A-1, plant: P, beneficiary: B}
tariffs:
- {id: t, currency: EUR, default_per_kwh: 0.1, valid_from: 2026-01-01, source: contract,
   prices: [{times: ["Mon-Fri 08:00-20:00"], per_kwh: 0.3}]}
"""

ABOUT = {
    "id": "own", "title": "t", "publisher": "p", "edition": "e", "unit": "g_per_kwh", "gases": "CO2e", "gwp_set": "AR6",
    "boundary": "direct", "basis": "production", "accounting": "location", "quality": 5, "uncertainty": "u", "years": "2019",
    "source": "s", "source_sha256": "0" * 64, "fetched": "2026-01-02", "licence": "l", "attribution": "a", "update": "how",
}  # fmt: skip


@pytest.fixture(scope="module")
def ledger(tmp_path_factory):
    """A day and an hour, one reading a minute, nothing lost: 130 kW in all, 100 kW behind the UPS, 96 kW behind the PDU."""
    folder = tmp_path_factory.mktemp("site")
    journal = Journal.open(folder / "journal.db", Identity("c", "dc1", "boot", "1", False))
    account = SiteAccount("dc1", "boot", [(facts, 150 * S) for facts in METERS])
    for minute in range(25 * 60 + 1):
        t_ns = (START_S + 60 * minute) * S
        for name, kw in KW.items():
            uj = kw * KWH * minute // 60
            taken = MeterReading(name, Scope.FACILITY, t_ns, 60 * minute * S, uj, None, None, 400 * 10**6, KWH // 1000, 1000)
            account.feed(name, [taken])
    journal.commit(account.batch(START_S * S))
    journal.seal(None)
    journal.close()
    return folder


@pytest.fixture
def site_file(tmp_path):
    path = tmp_path / "site.yaml"
    (tmp_path / "factors").mkdir()
    path.write_text(SITE.replace("FOLDER", str(tmp_path / "factors")))
    return path


def run_pue(capsys, *arguments):
    code = main(["pue", *map(str, arguments)])
    return code, capsys.readouterr()


def pue_json(capsys, *arguments):
    code, printed = run_pue(capsys, *arguments, "--json")
    assert code == 0
    return json.loads(printed.out)


DAY = ("--from", "2026-07-24T00:00+02:00", "--to", "2026-07-25T00:00+02:00")


def test_a_day_worked_by_hand(ledger, capsys):
    """130 / 96 at the PDU; 96 + 20 + 14 = 130, of which 14 nobody explains; 4 are lost between UPS and PDU."""
    report = pue_json(capsys, "--ledger", ledger, *DAY)
    assert (report["pue"]["kind"], report["pue"]["category"], report["pue"]["estimate"]) == ("iPUE", 2, False)
    assert Fraction(report["pue"]["value"]) == round(Fraction(130, 96), 9)
    assert (report["pue"]["coverage"], report["pue"]["total_kwh"], report["pue"]["imputed_kwh"]) == ("1", "3120", "0")
    parts = {part["name"]: part["kwh"]["value"] for part in report["parts"]}
    assert parts == {"IT at pdu_output": "2304", "cooling": "480", "not explained by a meter": "336"}
    assert [loss["kwh"]["value"] for loss in report["losses"]] == ["96"]
    assert report["gaps"] == []
    # 1.96 / sqrt(3) x the root of the squares of 0.5 and 1 %, each over 1 - itself; the edges are of 24 h.
    half = 1.96 / 3**0.5 * (0.005**2 / 0.995**2 + 0.01**2 / 0.99**2) ** 0.5 * 130 / 96
    assert half < float(report["pue"]["upper"]) - 130 / 96 < half * 1.01


def test_a_person_reads_the_same(ledger, capsys):
    code, out = run_pue(capsys, "--ledger", ledger, *DAY, "--time-zone", "Europe/Berlin")
    assert code == 0
    assert "site dc1: 2026-07-24 00:00 to 2026-07-25 00:00 (Europe/Berlin, 24 h)" in out.out
    assert "iPUE 1.354 (1.337 to 1.371): measured, category 2, IT metered at the output of the PDUs" in out.out
    assert "iPUE category 1: 1.300" in out.out
    assert "not explained by a meter" in out.out
    assert max(map(len, out.out.splitlines())) <= 130


def test_a_factor_older_than_five_years_is_refused_without_accept_old(ledger, tmp_path, capsys):
    """3,120 kWh at 400 g/kWh of 2019 over 2,304 kWh of IT."""
    folder = tmp_path / "own"
    folder.mkdir()
    (folder / "own.csv").write_text("zone,name,g_per_kwh,year\nXAA,Somewhere,400,2019\n")
    (folder / "own.json").write_text(json.dumps(ABOUT))
    path = tmp_path / "site.yaml"
    path.write_text(f"site: {{name: dc1, time_zone: Europe/Berlin}}\ngrid: {{zone: XAA, factors: {folder}}}\n")
    asked = ("--ledger", ledger, "--config", path, *DAY, "--json")
    _, out = run_pue(capsys, *asked)
    assert json.loads(out.out)["others"]["CUE"]["value"] is None
    _, out = run_pue(capsys, *asked, "--accept-old")
    assert Fraction(json.loads(out.out)["others"]["CUE"]["value"]) == round(Fraction(3120 * 400, 2304), 9)


def test_the_site_s_file_adds_water_carbon_contracts_and_cost(ledger, site_file, capsys):
    """148,800 liters in 31 days are 4,800 a day, over 2,304 kWh. 780 of 3,120 kWh are bought. 12 of 24 hours are dear."""
    report = pue_json(capsys, "--ledger", ledger, "--config", site_file, *DAY, "--as-of", "2026-08-02T00:00Z")
    assert Fraction(report["others"]["WUE"]["value"]) == round(Fraction(4800, 2304), 9)
    assert report["others"]["REF with contracts"]["value"] == "0.25"
    assert report["notes"]["cost"].startswith("624.00 EUR (620.8")  # 130 kW x 12 h x (0.3 + 0.1), within the 0.5 % of its meter
    # 3,120 kWh at the 130.96 g/kWh of the United Kingdom in 2026 over 2,304 kWh of IT; nobody states that factor's error.
    cue, note = report["others"]["CUE"], report["notes"]["CUE"]
    assert (Fraction(cue["value"]), cue["lower"], cue["upper"]) == (round(3120 * Fraction("130.96") / 2304, 9), None, None)
    assert "grid.location.GBR.2026." in note
    assert "100%" in note
    # before the retirement
    early = pue_json(capsys, "--ledger", ledger, "--config", site_file, *DAY, "--as-of", "2026-07-25T00:00Z")
    assert early["others"]["REF with contracts"]["value"] == "0"
    assert "wind-1: 780.0 kWh retired on 2026-08-01, after" in early["notes"]["REF with contracts"]


def test_an_hour_that_the_site_learnt_goes_before_the_year_s_factor(ledger, tmp_path, capsys):
    """Twelve hours at 100 g, and twelve without a value, which use the factor of the user's own file: 300 g."""
    path = tmp_path / "supplier.csv"
    path.write_text("ts_utc,zone,g_per_kwh,kind,estimated,method,source\n")
    site = tmp_path / "site.yaml"
    site.write_text(
        f"site: {{name: dc1}}\ngrid:\n  zone: GB\n  country: GBR\n  sources:\n"
        f"  - csv_file: {{path: {path}, publisher: P, licence: L}}\n"
    )
    (source,) = load_site(site).the_grid.all_sources
    about = grid_specs()["csv_file"].open(source.config, RealClock()).about
    points = [
        IntensityPoint((START_S + n * H) * S, (START_S + (n + 1) * H) * S, Decimal(100), False, START_S * S) for n in range(12)
    ]
    GridStore(ledger / GRID_FOLDER).append(about, points)
    report = pue_json(capsys, "--ledger", ledger, "--config", site, *DAY)
    assert "csv_file.supplier" in report["notes"]["CUE"]
    assert "50%" in report["notes"]["CUE"]
    assert "no value for 12 h" in report["notes"]["CUE"]
    # Revised a day later: what was known before stays what it was for who asks as of then.
    later = [IntensityPoint(p.start_ns, p.end_ns, Decimal(900), False, (START_S + 24 * H) * S) for p in points]
    GridStore(ledger / GRID_FOLDER).append(about, later)
    asked = (capsys, "--ledger", ledger, "--config", site, *DAY)
    assert pue_json(*asked)["others"]["CUE"] != report["others"]["CUE"]
    assert pue_json(*asked, "--as-of", "2026-07-24T12:00Z")["others"]["CUE"] == report["others"]["CUE"]


def test_half_metered_window_has_a_pue_only_on_request(ledger, capsys):
    """25 of 48 hours."""
    window = ("--from", "2026-07-23T22:00Z", "--to", "2026-07-25T22:00Z")
    code, out = run_pue(capsys, "--ledger", ledger, *window)
    assert code == 1
    assert "no iPUE: less than 90% of the window was metered" in out.out
    report = pue_json(capsys, "--ledger", ledger, *window, "--accept-coverage", "50%")
    assert report["pue"]["coverage"] == "0.520833333"
    assert Fraction(report["pue"]["imputed_kwh"]) > 0
    assert Fraction(report["pue"]["upper"]) > 2


def test_the_partial_pue_of_a_hall(ledger, capsys):
    code, out = run_pue(capsys, "--ledger", ledger, *DAY, "--zone", "hall", "--json")
    report = json.loads(out.out)
    assert (code, report["pue"]["kind"], report["zone"]) == (0, "pPUE", "hall")
    assert Fraction(report["pue"]["value"]) == round(Fraction(116, 96), 9)


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        ("--quarter 2026Q5", "expected a year and a quarter"),
        ("--quarter 2026Q3 --trailing", "expected at most one of"),
        ("--from someday", "expected a UTC time"),
        ("--from 2026-07-24T00:07Z", "expected a multiple of 15 minutes"),
        ("--to 2020-01-01", "the period is empty"),
        ("--accept-coverage 2", "--accept-coverage: "),
        ("--site dc9", "no meter of site 'dc9'; it has: dc1"),
        ("--time-zone Mars/Base", "expected an IANA name"),
        ("--config /nowhere.yaml", "cannot read site configuration"),
    ],
)
def test_what_makes_no_sense_is_refused_in_one_line(ledger, capsys, arguments, word):
    code, out = run_pue(capsys, "--ledger", ledger, *arguments.split())
    assert code == 2
    assert word in out.err
    assert len(out.err.splitlines()) == 1


def test_no_pue_is_exit_1_with_its_reason(ledger, capsys):
    code, out = run_pue(capsys, "--ledger", ledger, "--trailing")
    assert code == 1
    assert "no iPUE: less than 90% of the window was metered" in out.out
    code, out = run_pue(capsys, "--ledger", ledger, *DAY, "--position", "it_input")
    assert code == 1
    assert "no meter of role it at it_input" in out.out


def test_a_stated_pue_is_an_estimate_of_what_the_nodes_drew(ledger, tmp_path, capsys):
    (tmp_path / "site.yaml").write_text("site: {name: dc2}\npue: {value: 1.5, uncertainty_percent: 10, source: operator}\n")
    code, out = run_pue(capsys, "--ledger", tmp_path / "none", "--config", tmp_path / "site.yaml", "--nodes", ledger)
    assert code == 2  # a ledger of meters holds no node
    assert "has no reading of this site yet" in out.err


def test_there_is_no_ledger(tmp_path, capsys):
    code, out = run_pue(capsys, "--ledger", tmp_path / "nothing")
    assert code == 2
    assert "no ledger of a site found" in out.err


def built(folder, kw, hours, site="dc3"):
    """Write a ledger of meters that report register and power once per minute; kw[name](hour) is their power in each hour."""
    journal = Journal.open(folder / "journal.db", Identity("c", site, "boot", "1", False))
    account = SiteAccount(site, "boot", [(facts, 150 * S) for facts, _ in kw.values()])
    total = dict.fromkeys(kw, 0)
    for minute in range(60 * hours + 1):
        for name, (_, power) in kw.items():
            now_kw = power(minute // 60 % 24)
            t_ns, boot_ns = (START_S + 60 * minute) * S, 60 * minute * S
            taken = MeterReading(name, Scope.FACILITY, t_ns, boot_ns, total[name], None, now_kw * 10**6, 10**9, KWH // 1000, 1)
            account.feed(name, [taken])
            total[name] += now_kw * KWH // 60
    journal.commit(account.batch(START_S * S))
    journal.close()
    return folder


def test_what_is_made_here_is_neither_bought_nor_covered_by_a_contract(tmp_path, capsys):
    """100 kW day and night; by day the sun gives all of it, and the contract delivers by day alone: it covers nothing."""

    def meter(name, role, position=None):
        return MeterFacts(name, role, position, accuracy_ppm=100, calibration="a", max_mw=10**9)

    def day(hour):
        return 6 <= hour < 18

    kw = {
        "main": (meter("main", Role.TOTAL), lambda h: 0 if day(h) else 100),
        "pv": (meter("pv", Role.RENEWABLE), lambda h: 100 if day(h) else 0),
        "it": (meter("it", Role.IT, Position.UPS_OUTPUT), lambda h: 80),
    }
    ledger = built(tmp_path / "ledger", kw, 48)
    begun = [datetime.fromtimestamp(START_S + H * n, UTC) for n in range(48) if day(n % 24)]
    hours = "".join(f"{t:%Y-%m-%dT%H}:00:00Z,100\n" for t in begun)
    (tmp_path / "ppa.csv").write_text("ts_utc,kwh\n" + hours)
    (tmp_path / "site.yaml").write_text(
        f"site: {{name: dc3}}\ngrid: {{zone: GB, country: GBR}}\n"
        f"contracts: [{{id: sun, kind: ppa, zone: GB, technology: solar, hourly_file: {tmp_path}/ppa.csv,\n"
        "  retired: 2026-08-01, retirement_id: R, registry: R, serials: B-1..B-99, plant: P, beneficiary: B}]\n"
        "tariffs: [{id: t, currency: EUR, default_per_kwh: 0.2, valid_from: 2026-01-01, source: x}]\n"
    )
    report = pue_json(capsys, "--ledger", ledger, "--config", tmp_path / "site.yaml", "--as-of", "2026-08-02T00:00Z")
    assert abs(float(report["pue"]["value"]) - 100 / 80) < 1e-3
    assert abs(float(report["others"]["REF"]["value"]) - 0.5) < 1e-3
    both = report["others"]["REF with contracts"]  # a minute of each dusk and dawn is recorded on the other side of it
    assert abs(float(both["value"]) - 0.5) < 2e-3
    assert float(both["lower"]) - 2e-3 <= 0.5 <= float(both["upper"]) + 2e-3
    assert "kWh more than was consumed" in report["notes"]["REF with contracts"]
    assert report["notes"]["cost"].startswith(("480.", "479."))  # 2,400 kWh of the nights
    assert "kWh generated on site counted at 0 g" in report["notes"]["CUE"]


def test_it_meters_and_a_stated_pue_give_an_estimate_and_other_figures_a_reason(tmp_path, capsys):
    it = MeterFacts("it", Role.IT, Position.UPS_OUTPUT, accuracy_ppm=100, calibration="a", max_mw=10**9)
    ledger = built(tmp_path / "ledger", {"it": (it, lambda h: 100)}, 24)
    (tmp_path / "site.yaml").write_text(
        "site: {name: dc3}\npue: {value: 1.4, source: operator}\n"
        "water: [{start: 2026-07-01, end: 2026-07-31, liters: 1, accuracy_percent: 1, source: bill}]\n"
    )
    report = pue_json(capsys, "--ledger", ledger, "--config", tmp_path / "site.yaml")
    assert (report["pue"]["estimate"], report["pue"]["category"], report["pue"]["value"]) == (True, None, "1.4")
    assert (report["pue"]["it_kwh"], report["pue"]["total_kwh"]) == ("2400", "3360")
    assert report["others"]["WUE"]["reason"] == "IT energy was not metered by a PUE's category"


def test_site_and_file_that_disagree_are_refused(ledger, site_file, capsys):
    code, out = run_pue(capsys, "--ledger", ledger, "--config", site_file, "--site", "dc9")
    assert code == 2
    assert "differs from --config" in out.err


def test_the_example_of_the_page_is_a_file_that_loads(tmp_path):
    text = (Path(__file__).parents[3] / "docs/site.md").read_text().partition("```yaml\n")[2].partition("```")[0]
    (tmp_path / "community").write_text("public\n")
    config = parse_site(text.replace("/etc/wattlens/community", str(tmp_path / "community")).encode())
    assert [meter.source for meter in config.all_meters] == ["modbus", "snmp", "prometheus"]
