"""Cost by the amounts of invoices: partitioned to teams, in proportion to time, next to tariffs. By hand."""

from dataclasses import replace
from datetime import date
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from energy_agent.core.boundary import host
from energy_agent.core.energy import State, WorkloadFacts
from energy_agent.ledger.journal.book import Batch
from energy_agent.ledger.rows.kinds import DeviceFacts
from reports.figures.facts import Facts, build_facts
from reports.figures.gather import gather_invoices
from reports.figures.measures import all_figures
from reports.inputs.days import share_error, share_within
from reports.inputs.invoices import ElectricityInvoice
from reports.inputs.organisation import Organisation, SiteInputs
from reports.inputs.tariffs import Tariff
from reports.language import say_in
from reports.page.section import Note, ReportTable
from reports.page.sections import cost
from reports.period import PeriodRequest
from reports.site.invoices import CUT_AMOUNTS
from tests.reports import chains
from tests.reports.golden import at, cells

JULY, AUGUST, SEPTEMBER, OCTOBER = (at(f"2026-{month:02d}-01") for month in (7, 8, 9, 10))
TARIFF = Tariff(id="t", currency="EUR", default_per_kwh=Decimal("0.2"), valid_from=date(2026, 1, 1), source="contract")


def invoice(
    number: str, start: int, end: int, kwh: int, amount: str | None, currency: str = "EUR", *, with_tax: bool = False
) -> ElectricityInvoice:
    money = None if amount is None else Decimal(amount)
    tax = "included" if with_tax else "excluded"
    return chains.bill(number, start, end, kwh, 1, amount=money, currency=currency, tax=tax)


def site(name: str, *invoices: ElectricityInvoice, tariffs: tuple[Tariff, ...] = ()) -> SiteInputs:
    return SiteInputs(name, ZoneInfo("UTC"), invoices=invoices, tariffs=tariffs)


def alone(*sites: SiteInputs, period: str = "2026Q3") -> Facts:
    evidence = gather_invoices(Organisation(sites={each.name: each for each in sites}), PeriodRequest(period))
    return build_facts(evidence, all_figures(evidence), (), "0.1.0")


def with_ledger(folder: Path, inputs: SiteInputs) -> Facts:
    """4 kWh of a node: red 2 kWh, blue 1 kWh, 1 kWh of nobody."""
    gpu, node = "GPU-1", "n1"
    metadata = Batch(
        facts=[WorkloadFacts(team, JULY, "pod", {"team": team}) for team in ("red", "blue")],
        devices=[DeviceFacts(gpu, "H100", 0, JULY), DeviceFacts(host("lab", node), "host", 0, JULY)],
    )
    rows = [
        entry
        for device in (gpu, host("lab", node))
        for n, (workload, state) in enumerate(
            [("red", State.ACTIVE), ("red", State.ACTIVE), ("blue", State.ACTIVE), ("", State.UNALLOCATED)]
        )
        for entry in cells(JULY + n * chains.CELL, device, workload, state, ["0.5"])
    ]
    late = Batch(cells(OCTOBER, gpu, "red", State.ACTIVE, ["0.1"]))
    chains.write(folder / "segments", "lab", node, [metadata, Batch(rows), late])
    organisation = Organisation(sites={"here": inputs})
    days = chains.compacted(folder / "segments", folder / "days", organisation.stays("here"))
    return chains.facts(days, organisation, PeriodRequest("2026Q3"))


def test_a_site_without_tariffs_costs_the_amounts_of_its_invoices_by_share_of_energy(tmp_path: Path) -> None:
    """10 EUR for 5 kWh: red used half of the nodes' energy, blue a quarter; the last quarter is unallocated."""
    facts = with_ledger(tmp_path, site("here", invoice("R", JULY, OCTOBER, 5, "10")))
    figure = facts.figures["cost/site/here"]
    assert (figure.value, figure.unit, figure.method) == (10, "EUR", "amounts of the supplier's invoices")
    assert (figure.low, figure.high, figure.dims["tax"]) == (10, 10, "excluded")
    assert {f.dims["team"]: f.value for f in facts.of("cost", "team")} == {"red": 5, "blue": Fraction(5, 2)}
    assert facts.figures["cost.unattributed"].value == Fraction(5, 2)
    assert facts.figures["cost"].value == 10
    assert {f.dims["team"]: f.value for f in facts.by_prefix("cost.allocated/")} == {"red": 5, "blue": Fraction(5, 2)}
    (red,) = (f for f in facts.of("cost", "team") if f.dims["team"] == "red")
    assert red.method == "share of the site's energy times the amounts of its invoices"
    assert red.sources == ("ledger", "invoices")
    blocks = cost.build(facts, say_in("en"))
    assert isinstance(blocks, tuple)
    notes = [block.text for block in blocks if isinstance(block, Note)]
    assert notes[:2] == [
        "The cost of here is the amounts of the supplier's invoices.",
        "Amounts of invoices of here exclude taxes such as VAT.",
    ]


def test_tariffs_give_the_cost_and_the_invoices_are_compared_with_it(tmp_path: Path) -> None:
    """5 kWh invoiced at 0.2 EUR are 1 EUR by the tariff; the invoice is of 1.1 EUR: +10 % is above 5 %."""
    facts = with_ledger(tmp_path, site("here", invoice("R", JULY, OCTOBER, 5, "1.1"), tariffs=(TARIFF,)))
    assert facts.figures["cost/site/here"].value == 1
    assert facts.figures["cost/site/here"].method == "tariffs by time of use"
    assert facts.figures["cost.invoiced/site/here"].value == Fraction(11, 10)
    difference = facts.figures["cost.variance/site/here"]
    assert (difference.value, difference.dims["state"]) == (Fraction(1, 10), "finding")
    blocks = cost.build(facts, say_in("en"))
    assert isinstance(blocks, tuple)
    (table,) = (b for b in blocks if isinstance(b, ReportTable) and b.caption == "Cost by tariffs and by invoices")
    assert table.rows == (("here", "1.000 EUR", "1.100 EUR", "+10.00 % (+8.91 \u2013 +11.11 %)", "above 5.00 %"),)


def test_a_difference_within_the_bounds_of_both_costs_is_not_a_finding() -> None:
    """10 kWh at 0.2 EUR are 2 EUR within 1 %. 2.12 EUR are +6 %, and with 1 % of the energy +4.95 % to +7.07 %.

    A part of that is below 5 %. 2.2 EUR are a finding.
    """
    for amount, state in (
        ("2.12", "uncertain"),
        ("2.2", "finding"),
        ("1.895", "uncertain"),
        ("1.8", "finding"),
        ("2.08", "agrees"),
    ):
        facts = alone(site("here", invoice("R", JULY, OCTOBER, 10, amount), tariffs=(TARIFF,)))
        assert facts.figures["cost.variance/site/here"].dims["state"] == state
    facts = alone(site("here", invoice("R", JULY, OCTOBER, 10, "2.12"), tariffs=(TARIFF,)))
    difference = facts.figures["cost.variance/site/here"]
    exact = (Fraction(212, 202) - 1, Fraction(212, 198) - 1)
    assert all(
        abs(end - wanted) < Fraction(1, 10**6) for end, wanted in zip((difference.low, difference.high), exact, strict=True)
    )
    blocks = cost.build(facts, say_in("en"))
    assert isinstance(blocks, tuple)
    (table,) = (b for b in blocks if isinstance(b, ReportTable) and b.caption == "Cost by tariffs and by invoices")
    assert table.rows[0][-1] == "above 5.00 % in a part of its bounds only"


def test_a_cut_invoice_gives_the_difference_its_bounds() -> None:
    """31 days of 310 EUR, of which 30 are in the period: 300 EUR, off by 300 EUR; with 1620 EUR before: 1620 to 2220."""
    last = invoice("R", SEPTEMBER, at("2026-10-02"), 310, "310")
    facts = alone(site("here", invoice("Q", JULY, SEPTEMBER, 9000, "1620"), last, tariffs=(TARIFF,)))
    difference = facts.figures["cost.variance/site/here"]
    assert difference.low is not None
    assert difference.high is not None
    assert difference.high - difference.low > Fraction(600, 1920)


def test_invoices_that_the_period_cuts_count_by_time() -> None:
    """31 of 92 days of 920 EUR are 310 EUR, off by at most 61 days' worth. Above a fifth, the cost is absent."""
    share = share_within((JULY, OCTOBER), (JULY, AUGUST))
    assert (920 * share, 920 * share_error(share)) == (310, 610)
    last = invoice("R", SEPTEMBER, at("2026-10-02"), 310, "310")
    facts = alone(site("colo", invoice("Q", JULY, SEPTEMBER, 600, "1620"), last))
    figure = facts.figures["cost/site/colo"]
    assert (figure.value, figure.low, figure.high) == (1920, 1620, 2220)
    assert figure.dims["prorated"] == "R: 0.967742"
    facts = alone(site("colo", invoice("Q", JULY, SEPTEMBER, 600, "620"), last))
    assert facts.figures["cost/site/colo"].reason == CUT_AMOUNTS


@pytest.mark.parametrize(
    ("invoices", "reason"),
    [
        ([invoice("R7", JULY, AUGUST, 3, "1"), invoice("R8", AUGUST, OCTOBER, 3, None)], "no amount of invoice R8"),
        (
            [invoice("R7", JULY, AUGUST, 3, "1"), invoice("R8", AUGUST, OCTOBER, 3, "1", "USD")],
            "invoices use several currencies",
        ),
        (
            [invoice("R7", JULY, AUGUST, 3, "1"), invoice("R9", SEPTEMBER, OCTOBER, 3, "1")],
            "invoices or readings cover 66% of the period",
        ),
        ([invoice("R7", JULY, AUGUST, 3, None), invoice("R8", AUGUST, OCTOBER, 3, None)],
         "no input has tariffs or amounts of invoices"),
    ],
)  # fmt: skip
def test_why_a_site_has_no_cost(invoices: list[ElectricityInvoice], reason: str) -> None:
    assert alone(site("colo", *invoices)).figures["cost/site/colo"].reason == reason


def test_a_credit_is_in_the_cost_once_and_its_energy_is_not() -> None:
    """10 EUR for 5 kWh less 2 EUR; of a credit of half a year, the second half is in the quarter, off by as much."""
    charged = site("colo", invoice("R", JULY, OCTOBER, 5, "10"))
    credit = invoice("C", JULY, OCTOBER, 5, "-2")
    facts = alone(replace(charged, credits=(credit,)))
    assert facts.figures["energy.facility/site/colo"].value == 5 * 3_600_000
    assert facts.figures["energy.invoiced/site/colo"].dims["invoiced_EUR"] == "8"
    assert facts.figures["cost/site/colo"].value == 8
    facts = alone(replace(charged, credits=(credit.model_copy(update={"start": date(2026, 3, 31)}),)))
    figure = facts.figures["cost/site/colo"]
    assert (figure.value, figure.low, figure.high, figure.dims["prorated"]) == (9, 8, 10, "C: 0.5")


def test_sites_with_and_without_taxes_have_no_total_cost() -> None:
    one, other = invoice("R", JULY, OCTOBER, 3, "1"), invoice("S", JULY, OCTOBER, 3, "2")
    facts = alone(site("a", one), site("b", other.model_copy(update={"tax": "included"})))
    assert facts.figures["cost/site/b"].dims["tax"] == "included"
    assert facts.figures["cost"].reason == "the invoices of some sites include taxes, those of others do not"
    assert alone(site("a", one), site("b", other)).figures["cost"].value == 3


def test_amounts_with_taxes_are_not_compared_or_added_with_tariffs() -> None:
    """Tariffs are without taxes by definition."""
    reason = "invoices include taxes, and tariffs do not"
    taxed = invoice("R", JULY, OCTOBER, 10, "2.38", with_tax=True)
    difference = alone(site("here", taxed, tariffs=(TARIFF,))).figures["cost.variance/site/here"]
    assert (difference.value, difference.reason) == (None, reason)
    by_tariff = site("b", invoice("S", JULY, OCTOBER, 10, None), tariffs=(TARIFF,))
    facts = alone(site("a", taxed), by_tariff)
    assert [facts.figures[name].value is None for name in ("cost/site/a", "cost/site/b", "cost")] == [False, False, True]
    assert facts.figures["cost"].reason == facts.figures["cost.unattributed"].reason == reason
    assert say_in("zh").translate(reason) != reason


def test_a_site_with_tariffs_and_one_with_invoices_have_a_total() -> None:
    facts = alone(
        site("a", invoice("R", JULY, OCTOBER, 5, "7")), site("b", invoice("S", JULY, OCTOBER, 10, None), tariffs=(TARIFF,))
    )
    total = facts.figures["cost"]
    assert (total.value, total.method) == (9, "tariffs by time of use, or amounts of the supplier's invoices")


def test_a_site_without_a_cost_has_a_row_with_the_reason() -> None:
    several = (invoice("R", JULY, AUGUST, 5, "7"), invoice("S", AUGUST, OCTOBER, 5, "7", "USD"))
    facts = alone(site("a", *several), site("b", invoice("T", JULY, OCTOBER, 5, "7")))
    blocks = cost.build(facts, say_in("en"))
    assert isinstance(blocks, tuple)
    (table,) = (b for b in blocks if isinstance(b, ReportTable))
    assert [row[:2] for row in table.rows] == [("b", "7.000"), ("a", "\u2013"), ("total", "\u2013")]
    assert "a has no cost: invoices use several currencies." in [b.text for b in blocks if isinstance(b, Note)]
