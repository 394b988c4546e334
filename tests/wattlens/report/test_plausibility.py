"""Odd values of org.yaml are warned of by their key, on the screen of `check` and of a report."""

import json

import pytest

from tests.wattlens.report.books import AS_OF_NS, END_NS, START_NS
from wattlens.cli import main
from wattlens.report.inputs.org import load_organisation
from wattlens.report.plausibility import LEAST, MOST, PER_EURO, odd_price

TARIFF = "tariffs: [{id: t, currency: EUR, default_per_kwh: 182, valid_from: 2026-01-01, source: s}]"


def test_a_key_is_named(tmp_path):
    (tmp_path / "org.yaml").write_text(f"sites: [{{site: {{name: a}}, {TARIFF}}}]\n")
    (warning,) = load_organisation(tmp_path / "org.yaml", START_NS, END_NS, AS_OF_NS).warnings
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
    said = capsys.readouterr()
    assert said.err.startswith("warning: org.yaml: key 'sites[0].tariffs[0].default_per_kwh'")
    assert "warning" not in said.out


def test_an_invoice_number_that_is_listed_twice_is_warned_of(tmp_path):
    months = ("start: 2026-07-01, end: 2026-07-31", "start: 2026-08-01, end: 2026-08-31")
    rows = ", ".join(f"{{number: R, {days}, kwh: 1000, amount: 200, currency: EUR}}" for days in months)
    credit = "{number: R, start: 2026-08-01, end: 2026-08-31, kwh: 0, amount: -9, currency: EUR}"
    (tmp_path / "org.yaml").write_text(f"sites: [{{site: {{name: a}}, invoices: [{rows}, {credit}]}}]\n")
    (warning,) = load_organisation(tmp_path / "org.yaml", START_NS, END_NS, AS_OF_NS).warnings
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
