"""Report of an invented company in three countries, from invoices alone; every figure is computed again next to it.

The computation takes the rows of the workbook and the factors that the report prints, and uses plain fractions.
"""

import json
import math
from collections.abc import Mapping
from datetime import date, datetime, timedelta
from fractions import Fraction
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from tests.wattlens.report.books import book
from wattlens.cli import main

Row = dict[str, Any]
Sheets = dict[str, list[Row]]
Bill = tuple[date, date, Fraction]  # first day, first day after it, amount

AT, US, GB = "villach1", "bend", "slough-west"
ZONES = {AT: "Europe/Vienna", US: "America/Los_Angeles", GB: "Europe/London"}
# The fiscal year begins in October.
START, NEW_YEAR, JULY, END = date(2025, 10, 1), date(2026, 1, 1), date(2026, 7, 1), date(2026, 10, 1)
NAME = "Karavanke\N{NO-BREAK SPACE}Compute Hol\N{ZERO WIDTH NON-JOINER}ding AG"
PLANT = "Kraftwerk\N{NO-BREAK SPACE}Drau"
REGISTRY = "E-Control Stromnachweisdatenbank"

MONTHS = [(2025, 10), (2025, 11), (2025, 12), *((2026, month) for month in range(1, 10))]
US_MONTHS = [(2025, 9), *MONTHS]  # invoices from the 16th to the 15th: the period cuts the first and the last one
AT_KWH, AT_EUR, GB_KWH, GB_PEAK_KW, US_KWH, US_USD = (line.split() for line in """\
41250.5 39800 42110.25 43005 38990.75 41002 40555.5 42000 44120 46310.25 45890 42777.75
7012.59 6766 7158.74 7310.85 6628.43 6970.34 6894.44 7140 7500.4 7872.74 7801.3 7272.22
18250 17990.5 18800 19010.125 17020 18655 18003 18444.5 17999 18812 18950 18120.25
31 30 32.5 33 30 31 30 31 31 32 32 31
60500 59000.5 61250 62480 63010.75 57890 59995 60120 61000.25 63500 64800 65010 62222.5
4235 4130.04 4287.5 4373.6 4410.75 4052.3 4199.65 4208.4 4270.02 4445 4536 4550.7 4355.58""".splitlines())  # fmt: skip


def next_month(year: int, month: int, day: int = 1) -> date:
    return date(year + month // 12, month % 12 + 1, day)


def invoice(site: str, number: str, start: date, following: date, kwh: str, **more: Any) -> Row:
    row: Row = {"site": site, "number": number, "start": start, "end": following - timedelta(1), "energy": float(kwh)}
    return {**row, "energy_unit": "kWh", "basis": "read", "accuracy_percent": 1, "tax": "excluded", **more}


def contract(site: str, name: str, start: date, following: date, mwh: int, serials: str, **more: Any) -> Row:
    row: Row = {"site": site, "id": name, "start": start, "end": following - timedelta(1), "volume": mwh, "serials": serials}
    proof = {"retired": date(2026, 10, 20), "retirement_id": f"R-{name}"}
    return {**row, "volume_unit": "MWh", "granularity": "year", **proof, **more}


def hydro(site: str, name: str, start: date, following: date, mwh: int, serials: str) -> Row:
    more = {"kind": "ppa", "zone": "AT", "technology": "hydro", "registry": REGISTRY, "plant": PLANT}
    return contract(site, name, start, following, mwh, serials, beneficiary="Karavanke Rechenzentrum GmbH", **more)


def company(control: str = "operational control") -> Sheets:
    """Return the rows of the workbook by sheet."""
    wind = {"technology": "wind", "plant": "Columbia Ridge"}
    rec = {"kind": "rec", "zone": "US-WA", "registry": "WREGIS", "beneficiary": "KARAVANKE CLOUD LTD.", **wind}
    go = {"kind": "go", "granularity": "month", "zone": "DE", "registry": "HKNR", "beneficiary": NAME, **wind}
    rate = {"site": US, "supplier": "Deschutes Power", "zone": "US-OR", "start": NEW_YEAR, "end": date(2026, 6, 30)}
    quality = {"of_delivered": "yes", "certificates_retired": "yes", "sold_at_residual_mix": "yes"}
    tariff = {"site": GB, "id": "2025", "currency": "GBP"}
    water = {"amount_unit": "m3", "accuracy_percent": 2, "category": 1, "source": "bill"}
    source = {"source": "contract"}
    invoices = [
        invoice(AT, f"A-{year}-{month}", date(year, month, 1), next_month(year, month), kwh, amount=float(eur), currency="EUR")
        for (year, month), kwh, eur in zip(MONTHS, AT_KWH, AT_EUR, strict=True)
    ]
    credit = {"accuracy_percent": None, "amount": -85, "currency": "EUR"}
    invoices.append(invoice(AT, "A-credit", date(2026, 2, 1), date(2026, 3, 1), "500", **credit))
    invoices += [
        invoice(US, f"B-{n}", date(*month, 16), next_month(*month, 16), kwh, amount=float(usd), currency="USD")
        for n, (month, kwh, usd) in enumerate(zip(US_MONTHS, US_KWH, US_USD, strict=True))
    ]
    invoices += [
        invoice(GB, f"C-{n}", date(*month, 1), next_month(*month), kwh, peak=float(peak), peak_unit="kW")
        for n, (month, kwh, peak) in enumerate(zip(MONTHS, GB_KWH, GB_PEAK_KW, strict=True))
    ]
    entities = "Karavanke\N{NO-BREAK SPACE}Rechenzentrum GmbH; Karavanke Cloud Ltd"
    return {
        "Organisation": [{"name": NAME, "legal_entities": entities, "consolidation": control, "fiscal_year_start": 10}],
        "Sites": [
            {"name": AT, "time_zone": ZONES[AT], "grid_zone": "AT", "country": "AUT"},
            {"name": US, "time_zone": ZONES[US], "grid_zone": "US-OR", "country": "USA"},
            {"name": GB, "time_zone": ZONES[GB], "grid_zone": "GB", "country": "GBR", "factors": "factors"},
        ],
        "Contracts": [  # with fewer serial numbers than MWh
            hydro(AT, "hydro-2025", START, NEW_YEAR, 75, "AT-1001..AT-1070"),
            hydro(AT, "hydro-2026", NEW_YEAR, END, 225, "AT-1071..AT-1260"),
        ],
        "Certificates": [  # the first one is of more energy than its month consumes
            contract(AT, "go-march", date(2026, 3, 1), date(2026, 4, 1), 45, "DE-501..DE-545", **go),
            contract(US, "rec-2025", START, NEW_YEAR, 40, "W-1..W-40", **rec),
            contract(US, "rec-2026", NEW_YEAR, END, 60, "W-41..W-100", **rec),
        ],
        "Supplier rates": [{**rate, "g_per_kwh": 210, "g_boundary": "direct", "source": "label of 2025", **quality}],
        "Tariffs": [
            {**tariff, "price": 190, "price_unit": "MWh", "valid_from": date(2025, 4, 1), "demand_price": 2.5, **source},
            {**tariff, "price": 0.245, "price_unit": "kWh", "times": "Mon-Fri 08:00-20:00"},
        ],
        "Invoices": invoices,
        "Water": [
            {"site": AT, "start": date(2025, 9, 1), "end": date(2025, 12, 31), "amount": 244, **water},
            {"site": AT, "start": NEW_YEAR, "end": date(2026, 9, 30), "amount": 410, **water},
        ],
    }  # fmt: skip


def write(folder: Path, sheets: Sheets) -> Path:
    """Write the workbook and the residual mixes of the British grid."""
    (folder / "factors").mkdir(parents=True)
    (folder / "mix.csv").write_text("zone,name,g_per_kwh,year\nGBR,United Kingdom,361.25,2025\nGBR,United Kingdom,342.5,2026\n")
    origin = ("--publisher", "Invented", "--source", "letter", "--licence", "own use", "--year", "2026", "--gwp-set", "AR5")
    files = (str(folder / "mix.csv"), "--out", str(folder / "factors"), "--fetched", "2026-06-02")
    assert main(["factors", "import", "csv", *files, *origin, "--accounting", "residual-mix"]) == 0
    heads = {title: list(dict.fromkeys(key for row in rows for key in row)) for title, rows in sheets.items()}
    return book(folder / "org.xlsx", {title: [heads[title], *([row.get(key) for key in heads[title]] for row in rows)]
                                      for title, rows in sheets.items()})  # fmt: skip


def create(workbook: Path, out: Path, *options: str) -> int:
    period = ("--fiscal-year", "2026", "--as-of", "2026-12-01")
    return main(["report", "--org", str(workbook), *period, "--formats", "csv,html", "--out", str(out), *options])


def seconds(site: str, start: date, following: date) -> int:
    """Return the time between two local midnights; it contains the hours that summer time adds or removes."""
    first, last = (datetime(*day.timetuple()[:3], tzinfo=ZoneInfo(ZONES[site])).timestamp() for day in (start, following))
    return int(last - first)


def share(site: str, rows: list[Bill], start: date = START, following: date = END) -> Fraction:
    """Return the part of these rows between two days; each counts by time."""
    total = Fraction(0)
    for first, after, amount in rows:
        low, high = max(first, start), min(after, following)
        if low < high:
            total += amount * Fraction(seconds(site, low, high), seconds(site, first, after))
    return total


def bills(values: list[str], months: list[tuple[int, int]] = MONTHS, day: int = 1) -> list[Bill]:
    return [(date(*month, day), next_month(*month, day), Fraction(value)) for month, value in zip(months, values, strict=True)]


BILLS = {AT: bills(AT_KWH), US: bills(US_KWH, US_MONTHS, 16), GB: bills(GB_KWH)}


def kwh(site: str, start: date = START, following: date = END) -> Fraction:
    return share(site, BILLS[site], start, following)


def levels() -> dict[str, dict[str, Fraction]]:
    """Return the kWh of each level of the market-based method."""
    march = min(Fraction(45_000), kwh(AT, date(2026, 3, 1), date(2026, 4, 1)))  # certificates of a month cover no other month
    hydro_2025, hydro_2026 = min(70_000, kwh(AT, START, NEW_YEAR)), min(190_000, kwh(AT, NEW_YEAR, END) - march)  # by serials
    hydro_kwh = Fraction(hydro_2025 + hydro_2026)
    # A yearly certificate covers the same share of each hour of its year.
    autumn, spring, summer = kwh(US, START, NEW_YEAR), kwh(US, NEW_YEAR, JULY), kwh(US, JULY, END)
    rest_2025, rest_2026 = 1 - 40_000 / autumn, 1 - 60_000 / (spring + summer)
    return {
        AT: {"certificates": march, "contracts": hydro_kwh, "grid average": kwh(AT) - march - hydro_kwh},
        US: {"certificates": Fraction(100_000), "supplier-specific rate": spring * rest_2026,
             "grid average": autumn * rest_2025 + summer * rest_2026},
        GB: {"residual mix": kwh(GB)},
    }  # fmt: skip


def pounds() -> Fraction:
    """Return the British cost without peak demand: 12 hours of each weekday have the higher price."""
    total = Fraction(0)
    for first, after, energy in BILLS[GB]:
        weekdays = sum((first + timedelta(n)).weekday() < 5 for n in range((after - first).days))
        peak = Fraction(weekdays * 12 * 3600, seconds(GB, first, after))
        total += energy * (peak * Fraction("0.245") + (1 - peak) * Fraction("0.19"))
    return total


def by_hand(grams: Mapping[tuple[str, int, str, str], Fraction]) -> dict[str, Fraction]:
    """Return figures by id. `grams` are the factors by zone, year, boundary and accounting."""

    def british(boundary: str, accounting: str = "location-based") -> Fraction:
        """The factor changes with the calendar year."""
        return (kwh(GB, START, NEW_YEAR) * grams["GBR", 2025, boundary, accounting]
                + kwh(GB, NEW_YEAR, END) * grams["GBR", 2026, boundary, accounting])  # fmt: skip

    austria, oregon = grams["AUT", 2024, "direct", "location-based"], grams["US-OR", 2023, "direct", "location-based"]
    level = levels()
    location = {AT: kwh(AT) * austria, US: kwh(US) * oregon, GB: british("direct")}
    average = {AT: level[AT]["grid average"] * austria, US: level[US]["grid average"] * oregon}
    rate = level[US]["supplier-specific rate"] * 210
    market = {AT: average[AT], US: average[US] + rate, GB: british("direct", "market-based")}
    upstream, losses = british("upstream"), british("losses")
    demand = Fraction("2.5") * sum(map(Fraction, GB_PEAK_KW))
    used = {AT: level[AT]["certificates"] + level[AT]["contracts"], US: level[US]["certificates"]}
    water = [(date(2025, 9, 1), NEW_YEAR, Fraction(244_000)), (NEW_YEAR, END, Fraction(410_000))]
    return {
        **{f"energy.facility/site/{site}": kwh(site) * 3_600_000 for site in ZONES},
        "energy.facility": sum(map(kwh, ZONES), Fraction(0)) * 3_600_000,
        **{f"co2e.location/site/{site}": value for site, value in location.items()},
        "co2e.location": sum(location.values(), Fraction(0)),
        **{f"co2e.market/site/{site}": value for site, value in market.items()},
        "co2e.market": sum(market.values(), Fraction(0)),
        **{f"co2e.market.average/site/{site}": value for site, value in average.items()},
        f"co2e.market.supplier/site/{US}": rate,
        f"co2e.market.residual/site/{GB}": market[GB],
        **{f"ref/site/{site}": value / kwh(site) for site, value in used.items()},
        f"scope_3_3.upstream/site/{GB}": upstream,
        f"scope_3_3.losses/site/{GB}": losses,
        f"scope_3_3/site/{GB}": upstream + losses,
        f"scope_3_3.losses/site/{US}": kwh(US) * grams["USA", 2024, "losses", "location-based"],
        "cost.currency/EUR": sum(map(Fraction, AT_EUR), Fraction(0)) - 85,  # with the credit, whose energy does not count
        "cost.currency/USD": share(US, bills(US_USD, US_MONTHS, 16)),
        "cost.currency/GBP": pounds() + demand,
        f"cost.demand/site/{GB}": demand,
        f"water/site/{AT}": share(AT, water),
    }


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished report, next to its workbook."""
    folder = tmp_path_factory.mktemp("company")
    assert create(write(folder / "inputs", company()), folder / "report") == 0
    return folder / "report"


@pytest.fixture(scope="module")
def facts(report: Path) -> dict[str, Any]:
    return json.loads((report / "facts.json").read_bytes())


def test_reports_the_figures_that_its_invoices_and_printed_factors_give(facts):
    figures = {figure["id"]: figure["value"] for figure in facts["figures"]}
    rows = facts["factors"]
    expected = by_hand({(row["zone"], row["year"], row["boundary"], row["accounting"]): Fraction(row["value"]) for row in rows})
    assert {name: float(figures[name]) for name in expected} == {
        name: float(f"{float(expected[name]):.9g}") for name in expected
    }
    assert figures["cost"] is None  # no currency is converted


def test_levels_of_the_market_based_method_sum_to_the_invoices(facts):
    dims = next(figure["dims"] for figure in facts["figures"] if figure["id"] == "co2e.market")
    for site, expected in levels().items():
        printed = dict(level.split(": ") for level in dims[f"levels/{site}"].split("; "))
        assert {name: Fraction(value.removesuffix(" kWh")) for name, value in printed.items()} == {
            name: Fraction(f"{float(value):.9g}") for name, value in expected.items()}  # fmt: skip
        assert sum(expected.values()) == kwh(site)
    assert "supplier-specific rate: no rate of a part of the period;" in dims[f"higher_levels/{US}"]


def test_bounds_contain_the_error_of_factors_and_of_cut_invoices(facts):
    figures = {figure["id"]: figure for figure in facts["figures"]}
    whole, cut = sum(map(Fraction, US_USD[1:-1])), Fraction(US_USD[0]) + Fraction(US_USD[-1])
    assert [Fraction(figures[f"cost/site/{US}"][bound]) for bound in ("low", "high")] == [whole, whole + cut]
    for site in (AT, GB):  # 1 % of the energy; 15 % of a factor of quality 5
        figure = figures[f"co2e.location/site/{site}"]
        error = float(figure["value"]) * math.hypot(0.01, 0.15)
        assert float(figure["high"]) - float(figure["value"]) == pytest.approx(error, rel=1e-5)


def test_report_with_unusual_spaces_in_names_is_verified(report, capsys):
    assert main(["report", "verify", str(report), "--org", str(report.parent / "inputs" / "org.xlsx")]) == 0
    assert "the invoices give the same facts" in capsys.readouterr().out


def test_final_report_is_not_replaced_by_other_figures(report, tmp_path, capsys):
    sheets = company()
    sheets["Invoices"][0]["energy"] += 1
    before = (report / "facts.json").read_bytes()
    assert create(write(tmp_path / "inputs", sheets), report) != 0
    assert "contains a final report of FY2026 with other figures" in capsys.readouterr().err
    assert (report / "facts.json").read_bytes() == before


def test_equity_share_is_refused(tmp_path, capsys):
    assert main(["report", "check", str(write(tmp_path, company("equity share")))]) == 2
    assert "sheet Organisation, cell C2: equity share is not supported" in capsys.readouterr().err


@pytest.mark.parametrize("registry", [
    REGISTRY, "E\N{NON-BREAKING HYPHEN}CONTROL\N{NO-BREAK SPACE}Stromnachweis\N{ZERO WIDTH NON-JOINER}datenbank",
])  # fmt: skip
def test_serial_number_of_another_site_is_refused(registry, tmp_path, capsys):
    sheets = company()
    sheets["Contracts"].append({**hydro("graz", "again", NEW_YEAR, END, 60, "AT-1200..AT-1259"), "registry": registry})
    sheets["Sites"].append({**sheets["Sites"][0], "name": "graz"})
    assert main(["report", "check", str(write(tmp_path, sheets))]) == 2
    assert "have the same certificates AT-1200 to AT-1259" in capsys.readouterr().err


def test_serial_number_in_a_registry_of_another_name_is_warned_of(tmp_path, capsys):
    sheets = company()
    sheets["Certificates"][0] |= {"registry": "Green Ledger", "serials": "W-10..W-54"}
    assert main(["report", "check", str(write(tmp_path, sheets))]) == 0
    assert "have the same serial numbers W-10 to W-40, in registries 'Green Ledger' and 'WREGIS'" in capsys.readouterr().out


def test_site_without_invoices_is_missing_with_its_reason(tmp_path, capsys):
    """Its energy and each total are absent, coverage counts its time, and page one names it."""
    sheets = company()
    sheets["Sites"].append({**sheets["Sites"][0], "name": "graz"})
    workbook = write(tmp_path / "inputs", sheets)
    why = "neither a ledger nor an invoice has energy of the period of graz"
    assert main(["report", "check", str(workbook)]) == 0
    assert "sheet Sites, row 5: the site has no invoices, unlike other sites" in capsys.readouterr().out
    assert create(workbook, tmp_path / "report") != 0
    assert f"coverage is 75.0 %, expected at least 95.0 %: no report was created; graz: {why}" in capsys.readouterr().err
    assert create(workbook, tmp_path / "report", "--accept-coverage", "75%") == 0
    assert "Facility energy:         not known" in capsys.readouterr().out
    figures = {row["id"]: row for row in json.loads((tmp_path / "report" / "facts.json").read_bytes())["figures"]}
    absent = ("energy.facility", "energy.inventory", "co2e.location", "co2e.market", "energy.facility/site/graz")
    assert {name: (figures[name]["value"], figures[name]["reason"]) for name in absent} == dict.fromkeys(absent, (None, why))
    assert (figures["coverage"]["value"], figures["coverage/site/graz"]["value"]) == ("0.75", "0")
    assert float(figures["energy.facility/site/bend"]["value"]) == float(f"{float(kwh(US) * 3_600_000):.9g}")
    page = (tmp_path / "report" / "report.html").read_text()
    assert "all electricity of the data centres" not in page
    assert f"bend: Building, slough-west: Building, villach1: Building; graz: {why}" in page


def test_quarter_that_cuts_an_invoice_is_refused_with_that_reason(tmp_path, capsys):
    """Invoices from the 16th to the 15th: half of two months, each of which may be all in one half, is a third of a quarter."""
    period = ("--quarter", "2026Q1", "--as-of", "2026-12-01", "--out", str(tmp_path / "report"))
    assert main(["report", "--org", str(write(tmp_path / "inputs", company())), *period]) != 0
    error = capsys.readouterr().err
    assert "bend: more than 20 % of the energy is uncertain, because the period cuts invoice B-3, B-6" in error
    assert "unmetered nodes" not in error


def test_readings_at_the_ends_of_a_quarter_give_the_energy_of_invoices_that_it_cuts(tmp_path):
    sheets = company()
    sheets["Readings"] = [reading(US, day, register) for day, register in ((NEW_YEAR, 7), (date(2026, 4, 1), 185_007))]
    period = ("--quarter", "2026Q1", "--as-of", "2026-12-01", "--formats", "csv", "--out", str(tmp_path / "report"))
    assert main(["report", "--org", str(write(tmp_path / "inputs", sheets)), *period]) == 0
    rows = {row["id"]: row for row in json.loads((tmp_path / "report" / "facts.json").read_bytes())["figures"]}
    energy = rows[f"energy.facility/site/{US}"]
    assert (energy["value"], energy["high"]) == (str(185_000 * 3_600_000), str(185_000 * 3_672_000))
    assert float(rows[f"energy.facility/site/{AT}"]["value"]) == pytest.approx(
        float(kwh(AT, NEW_YEAR, date(2026, 4, 1))) * 3.6e6
    )


def test_site_is_not_missing_before_its_first_invoice(tmp_path):
    sheets = company()
    sheets["Sites"].append({**sheets["Sites"][0], "name": "graz"})
    sheets["Invoices"].append(invoice("graz", "G-1", END, next_month(2026, 10), "1000"))
    assert create(write(tmp_path / "inputs", sheets), tmp_path / "report") == 0
    facts = json.loads((tmp_path / "report" / "facts.json").read_bytes())
    assert set(facts["sites"]) == set(ZONES)


def reading(site: str, day: date, register: str | float, meter: str = "main") -> Row:
    return {"site": site, "meter": meter, "day": day, "register": float(register), "register_unit": "kWh"}


def test_readings_above_the_invoices_of_the_same_time_are_a_finding(tmp_path, capsys):
    """220,000 kWh are invoiced by month; the register of a meter with another name rises by 79 % more in the year."""
    sheets = company()
    for row in sheets["Invoices"]:
        row["meter"] = "MPAN 20 0000" if row["site"] == GB else None
    read = float(kwh(GB)) * 1.79
    sheets["Readings"] = [reading(GB, START, 1000), reading(GB, END, 1000 + read)]
    assert create(write(tmp_path / "inputs", sheets), tmp_path / "report") == 0
    facts = json.loads((tmp_path / "report" / "facts.json").read_bytes())
    figures = {row["id"]: row for row in facts["figures"]}
    row = figures[f"reconciliation/{GB}/2025-10-01/2026-09-30"]
    assert row["dims"]["meter_state"] == "finding"
    assert float(row["value"]) == pytest.approx(float(kwh(GB)) * 3.6e6)
    assert float(row["dims"]["meter_j"]) == pytest.approx(read * 3.6e6)
    assert float(row["dims"]["meter_variance"]) == pytest.approx(1 / 1.79 - 1, rel=1e-4)
    assert float(figures[f"energy.facility/site/{GB}"]["value"]) == pytest.approx(float(kwh(GB)) * 3.6e6)
    page = (tmp_path / "report" / "report.html").read_text()
    assert "1 of 36 periods differ by more than 5.00 %: slough-west 2025-10-01." in page


@pytest.mark.parametrize("missing", [True, False])
def test_readings_take_the_place_of_a_missing_or_estimated_invoice(missing, tmp_path, capsys):
    """18,800 kWh of December are estimated, or not invoiced; the meter counted 20,000 kWh. January's reading is no estimate."""
    sheets = company()
    december = next(row for row in sheets["Invoices"] if row["number"] == "C-2")
    if missing:
        sheets["Invoices"].remove(december)
    else:
        december["basis"] = "estimated"
    sheets["Readings"] = [
        reading(GB, date(2025, 12, 1), 0),
        reading(GB, NEW_YEAR, 20_000),
        reading(GB, date(2026, 2, 1), 90_000),
    ]
    assert create(write(tmp_path / "inputs", sheets), tmp_path / "report") == 0
    mark = f"Meter readings take the place of invoices of {GB} that are missing, estimated or cut by the period."
    assert mark in capsys.readouterr().out
    facts = json.loads((tmp_path / "report" / "facts.json").read_bytes())
    energy = next(row for row in facts["figures"] if row["id"] == f"energy.facility/site/{GB}")
    invoiced_kwh = kwh(GB) - 18_800
    assert float(energy["value"]) == pytest.approx(float(invoiced_kwh + 20_000) * 3.6e6)
    error = float(invoiced_kwh * Fraction(1, 100) + 20_000 * Fraction(2, 100)) * 3.6e6
    assert float(energy["high"]) - float(energy["value"]) == pytest.approx(error, rel=1e-6)
    assert "estimated_j" not in energy["dims"]


def test_site_of_readings_alone_has_their_energy(tmp_path):
    sheets = company()
    sheets["Invoices"] = [row for row in sheets["Invoices"] if row["site"] != GB]
    sheets["Readings"] = [reading(GB, START, 5), reading(GB, date(2026, 3, 1), 70_005), reading(GB, END, 220_005)]
    del sheets["Tariffs"]
    assert create(write(tmp_path / "inputs", sheets), tmp_path / "report") == 0
    facts = json.loads((tmp_path / "report" / "facts.json").read_bytes())
    assert next(row["value"] for row in facts["figures"] if row["id"] == f"energy.facility/site/{GB}") == str(
        220_000 * 3_600_000
    )


def test_what_only_a_ledger_gives_is_absent_without_one(facts, report):
    """No zero stands for workloads and devices that no ledger has; no figure names a ledger as its source, and no page does."""
    available_rows = [row for row in facts["figures"] if row["value"] is not None or row["low"] is not None]
    assert [row["id"] for row in available_rows if "ledger" in row["sources"]] == []
    names = ("energy.held", "energy.gpu", "co2e.held", "gpu_hours", "water.held", "uncertainty/")
    assert [row["id"] for row in available_rows if row["id"].startswith(names)] == []
    absent = {row["id"]: row["reason"] for row in facts["figures"]}
    why = "the report has no ledger, only invoices"
    for name in (
        "energy.held",
        "energy.held.inventory",
        f"energy.gpu.idle/site/{AT}",
        "uncertainty/edges",
        "gpu_hours.unattributed",
    ):
        assert absent[name] == why
    assert facts["conservation"] is None
    page = (report / "report.html").read_text()
    assert "Every joule of the GPUs is recorded once" not in page
    assert why in page
    csv_rows = (report / "figures.csv").read_text().splitlines()
    assert next(row for row in csv_rows if row.startswith("energy.held,")).startswith("energy.held,,,,J,")


def test_page_one_names_what_covers_energy_without_a_contract_and_the_share_of_estimates(facts, report):
    """The grid's average stands in for the residual mix at two sites."""
    figures = {row["id"]: Fraction(row["value"]) for row in facts["figures"] if row["value"]}
    average = sum(value for name, value in figures.items() if name.startswith("co2e.market.average/"))
    page = (report / "report.html").read_text()
    assert "energy without a contract: supplier-specific rate, residual mix, grid average" in page
    assert f"grid average; {float(100 * average / figures['co2e.market']):.1f} % is an estimate" in page


def test_defaults_are_not_printed_as_if_they_were_stated(facts, report):
    """Each invoice but the credit states its accuracy, and the supplier its boundary; no contract does."""
    records = {(row["kind"], row["name"]): row for row in facts["stated_inputs"]}
    assert records["invoice", "A-2025-10"]["defaults"] == []
    assert records["invoice", "A-credit"]["defaults"] == ["accuracy_percent"]
    assert records["supplier_rate", "Deschutes Power"]["defaults"] == []
    assert records["contract", "hydro-2025"]["defaults"] == ["g_boundary"]
    page = (report / "report.html").read_text()
    assert "accuracy_percent: 2 (default); amount: -85" in page
    assert "g_boundary: direct (default)" in page
    assert "basis: read (default)" not in page


def test_own_factors_in_kg_are_warned_of(tmp_path, capsys):
    """A residual mix of 0.36 and 0.34 kg typed as g, and no other odd value in the workbook of the company."""
    workbook = write(tmp_path / "inputs", company())
    for path in (tmp_path / "inputs" / "factors").glob("csv-*"):
        path.unlink()
    (tmp_path / "mix.csv").write_text(
        "zone,name,g_per_kwh,year\nGBR,United Kingdom,0.36125,2025\nGBR,United Kingdom,0.3425,2026\n"
    )
    origin = ("--publisher", "Invented", "--source", "letter", "--licence", "own use", "--year", "2026", "--gwp-set", "AR5")
    files = (str(tmp_path / "mix.csv"), "--out", str(tmp_path / "inputs" / "factors"), "--fetched", "2026-06-02")
    assert main(["factors", "import", "csv", *files, *origin, "--accounting", "residual-mix"]) == 0
    assert main(["report", "check", str(workbook)]) == 0
    warnings = [
        line
        for line in capsys.readouterr().out.partition("\nwarnings\n")[2].splitlines()
        if "covers at most" not in line and "recommends" not in line
    ]
    assert [line.partition(": site slough-west: ")[2].partition(" has ")[2] for line in warnings] == [
        "at most 0.36125 g/kWh; grids have 2 to 1500; check its unit",
        "at most 0.3425 g/kWh; grids have 2 to 1500; check its unit",
    ]
