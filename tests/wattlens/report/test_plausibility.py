"""Odd values of org.yaml are warned of by their key, on the screen of `check` and of a report."""

import json

import pytest

from tests.wattlens.report.books import AS_OF_NS, END_NS, START_NS
from wattlens.cli import main
from wattlens.report.inputs.org import load_organisation
from wattlens.report.plausibility import LEAST, MOST, PER_EURO, odd_price

TARIFF = "tariffs: [{id: t, currency: EUR, default_per_kwh: 182, valid_from: 2026-01-01, source: s}]"


def warnings_of(folder, text):
    """The warnings for an org.yaml with this text."""
    (folder / "org.yaml").write_text(text)
    return load_organisation(folder / "org.yaml", START_NS, END_NS, AS_OF_NS).warnings


def test_a_key_is_named(tmp_path):
    (warning,) = warnings_of(tmp_path, f"sites: [{{site: {{name: a}}, {TARIFF}}}]\n")
    assert "org.yaml: key 'sites[0].tariffs[0].default_per_kwh': 182 EUR/kWh is far from plausible" in warning
    assert "usually 0.01 to 1.5 EUR/kWh" in warning


def test_check_and_report_print_it(tmp_path, monkeypatch, capsys):
    rows = "invoices: [{number: R, start: 2026-07-01, end: 2026-09-30, kwh: 1000}]"
    (tmp_path / "org.yaml").write_text(f"sites: [{{site: {{name: a}}, {TARIFF}, {rows}}}]\n")
    monkeypatch.chdir(tmp_path)
    assert main(["report", "check", "org.yaml"]) == 0
    assert "\nwarnings\n  org.yaml: key 'sites[0].tariffs[0]" in capsys.readouterr().out
    assert main(["report", "check", "org.yaml", "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)["warnings"]) == 1
    assert main(["report", "--org", "org.yaml", "--quarter", "2026Q3", "--formats", "csv"]) == 0
    output = capsys.readouterr()
    assert output.err.startswith("warning: org.yaml: key 'sites[0].tariffs[0].default_per_kwh'")
    assert "warning" not in output.out


def test_an_invoice_number_that_is_listed_twice_is_warned_of(tmp_path):
    months = ("start: 2026-07-01, end: 2026-07-31", "start: 2026-08-01, end: 2026-08-31")
    rows = ", ".join(f"{{number: R, {days}, kwh: 1000, amount: 200, currency: EUR}}" for days in months)
    credit = "{number: R, start: 2026-08-01, end: 2026-08-31, kwh: 0, amount: -9, currency: EUR}"
    (warning,) = warnings_of(tmp_path, f"sites: [{{site: {{name: a}}, invoices: [{rows}, {credit}]}}]\n")
    assert "key 'sites[0].invoices[1].number': invoice 'R' is listed before" in warning


@pytest.mark.parametrize("currency", sorted(PER_EURO))
def test_usual_prices_are_not_odd_and_a_thousand_times_more_or_less_is(currency):
    """0.05 to 0.4 EUR/kWh are usual; a price per MWh as one per kWh is 1000 times too large."""
    for euro in (0.05, 0.1, 0.2, 0.4):
        assert odd_price(euro * PER_EURO[currency], currency) == ""
        assert "far from plausible" in odd_price(1000 * euro * PER_EURO[currency], currency)
        assert "far from plausible" in odd_price(euro / 1000 * PER_EURO[currency], currency)
    assert (LEAST, MOST) == (0.01, 1.5)


def test_a_currency_without_a_rate_is_not_judged():
    assert odd_price(1e6, "XAF") == ""


SITE = "site: {name: a, time_zone: Europe/Berlin}"
MONTHS = [f"start: 2026-{month:02d}-01, end: 2026-{month:02d}-{last}" for month, last in ((4, 30), (5, 31), (6, 30))]


def bills(**july: object) -> str:
    """Three months of 1,000 kW at 0.2 EUR/kWh, and July, whose keys differ as given."""
    rows = [f"number: R{n}, {days}, kwh: {720_000 + n}, amount: {144_000 + n}, currency: EUR" for n, days in enumerate(MONTHS)]
    usual = {"number": "R7", "start": "2026-07-01", "end": "2026-07-31", "kwh": 744_000, "amount": 148_800, "currency": "EUR"}
    rows.append(", ".join(f"{key}: {value}" for key, value in {**usual, **july}.items() if value is not None))
    return f"invoices: [{', '.join(f'{{{row}}}' for row in rows)}]"


RATE = "supplier_rates: [{supplier: S, zone: DE, start: 2026-01-01, end: 2026-12-31, source: s, g_per_kwh: %s}]"
SUPPLY = "contracts: [{id: c, kind: ppa, zone: DE, technology: wind, start: 2026-07-01, end: 2026-07-31, %s}]"
WATER = "water: [{start: 2026-07-01, end: 2026-07-31, liters: %s, accuracy_percent: %s, source: bill}]"
GRID = "grid: {zone: %s, country: %s}"
WRONG = [
    (RATE % 0.21 + ", " + GRID % ("DE", "DEU"), "supplier_rates[0].g_per_kwh': 0.21 is unusual; expected 2 to 1500 g/kWh"),
    (SUPPLY % "volume_kwh: 9000, g_per_kwh: 0.012, g_source: s" + ", " + GRID % ("DE", "DEU"), "check that the unit is not kg"),
    (GRID % ("GB", "DEU"), "grid.zone': zone 'GB' is of GBR, but the country is DEU"),
    (GRID % ("US-CA", "CAN"), "grid.zone': zone 'US-CA' is of USA, but the country is CAN"),
    (bills(kwh=0), "invoices[3].kwh': 0 kWh, and an amount of 148800 EUR"),
    (bills(kwh=744, amount=None, currency=None), "invoices[3].kwh': a mean power of 1 kW; the meter's other invoices have"),
    (bills(kwh=744_000_000), "invoices[3].amount': amount over energy: 0.0002 EUR/kWh is far from plausible"),
    (bills(amount=14_880_000), "invoices[3].amount': amount over energy: 20 EUR/kWh is far from plausible"),
    (bills(start="2016-07-01", end="2016-07-31"), "invoices[0].start': no invoice of the day before; check the year"),
    (bills(end="2026-12-31"), "invoices[3].end': ends after 2026-10-01, the day of the report"),
    (bills(kwh=720_002, amount=144_002), "invoices[3].amount': its energy and amount are those of invoice 'R2'"),
    (bills(accuracy_percent=0.01), "invoices[3].accuracy_percent': 0.01 is unusual; expected 0.05 to 20 percent"),
    (bills(peak_kw=1_200_000), "invoices[3].peak_kw': the mean power of the invoice is 1e+03 kW, less than a twentieth"),
    (bills() + ", it_power_kw: 900000", "it_power_kw': the site's invoices have a mean power of 1e+03 kW; check the unit"),
    (bills() + ", " + WATER % (80_000_000, 2), "water[0].liters': 108 L/kWh of the site is unusual; expected at most 20"),
    (bills() + ", " + GRID % ("DE", "DEU") + ", " + SUPPLY % "volume_kwh: 74400000", "contracts[0].volume_kwh': a mean"),
    ("pue: {value: 1.4, uncertainty_percent: 0.05}", "pue.uncertainty_percent': 0.05 is unusual; expected 0.5 to 30 percent"),
]  # fmt: skip


@pytest.mark.parametrize(("keys", "warning"), WRONG, ids=[warning.partition(":")[0] for _, warning in WRONG])
def test_a_value_that_a_tired_person_types_is_warned_of_with_its_key(keys, warning, tmp_path):
    warnings = warnings_of(tmp_path, f"sites: [{{{SITE}, {keys}}}]\n")
    assert any(warning in each and each.startswith("org.yaml: key 'sites[0].") for each in warnings), warnings


ELSEWHERE = [
    ("least_coverage_percent: 0.95", "least_coverage_percent': 0.95 is unusual; expected 2 to 100 percent"),
    ("variance_percent: 0.05", "variance_percent': 0.05 is unusual"),
    ("embodied: [{sku: x, low_kg: 0.16, high_kg: 0.6, life_years: 5, boundary: b, source: s}]", "embodied[0].low_kg': 0.16 is"),
    ("prices: [{currency: EUR, electricity_share_percent: 0.5}]", "prices[0].electricity_share_percent': 0.5 is unusual"),
    ("reported: [{period: 2025Q3, electricity_mwh: 100, co2e_location_t: 36000, source: s}]",
     "reported[0].co2e_location_t': 360000 g/kWh of its electricity is unusual; check that the unit is t"),
]  # fmt: skip


@pytest.mark.parametrize(("keys", "warning"), ELSEWHERE)
def test_an_odd_number_of_the_organisation_is_warned_of(keys, warning, tmp_path):
    (message, *_) = warnings_of(tmp_path, f"{keys}\n")
    assert warning in message


def test_usual_inputs_are_not_warned_of(tmp_path):
    grid = GRID % ("DE", "DEU") + ", " + RATE % 310 + ", " + WATER % (900_000, 2) + ", it_power_kw: 800, floor_m2: 900"
    more = "pue: {value: 1.3, uncertainty_percent: 5, source: s}"
    assert warnings_of(tmp_path, f"sites: [{{{SITE}, {bills(peak_kw=1300)}, {grid}, {more}}}]\n") == ()


@pytest.mark.parametrize(
    ("zone", "country"),
    [("DE-LU", "LUX"), ("GB", "GBR"), ("SE-SE3", "SWE"), ("NORDIC", "SWE"), ("NO1", "NOR"), ("US-ERCT", "USA"), ("DEU", "DEU")],
)
def test_a_zone_of_the_country_or_of_none_is_not_warned_of(zone, country, tmp_path):
    assert warnings_of(tmp_path, f"sites: [{{{SITE}, {GRID % (zone, country)}}}]\n") == ()
