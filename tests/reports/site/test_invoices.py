"""Invoices against supply meters and the ledger, and reports of invoices alone, worked out by hand."""

from dataclasses import replace
from datetime import date
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from energy_agent.core.boundary import host
from energy_agent.core.energy import State
from energy_agent.ledger.journal.book import Batch
from energy_agent.ledger.rows.kinds import DeviceFacts
from reports.compose import period_marks, too_little
from reports.figures.facts import Facts, build_facts
from reports.figures.gather import gather_invoices
from reports.figures.measures import all_figures
from reports.frameworks.answers import datapoint_answers
from reports.inputs.invoices import ElectricityInvoice, EnergyInWindow
from reports.inputs.organisation import Organisation, SiteInputs
from reports.inputs.tariffs import Tariff
from reports.inputs.water import WaterRecord
from reports.language import say_in
from reports.page.section import Note, ReportTable
from reports.page.sections import reconciliation
from reports.period import PeriodRequest
from reports.site.invoices import known_energy
from tests.reports import chains
from tests.reports.chains import KWH
from tests.reports.golden import DIRECT, at, cells, constant

JULY, AUGUST, SEPTEMBER, OCTOBER = (at(f"2026-{month:02d}-01") for month in (7, 8, 9, 10))
MONTHS = ((JULY, AUGUST), (AUGUST, SEPTEMBER), (SEPTEMBER, OCTOBER))


def invoices(*kwh: int, estimated: bool = False, peak: int | None = None) -> tuple[ElectricityInvoice, ...]:
    last = len(kwh) - 1
    peak_kw = None if peak is None else Decimal(peak)
    return tuple(
        chains.bill(f"R{n}", *MONTHS[n], each, basis="estimated" if estimated and n == last else "read", peak_kw=peak_kw)
        for n, each in enumerate(kwh)
    )


def alone(site: SiteInputs, period: str = "2026Q3") -> Facts:
    evidence = gather_invoices(Organisation(name="Colo", sites={"colo": site}), PeriodRequest(period))
    return build_facts(evidence, all_figures(evidence), (), "0.1.0")


def colo(**more: object) -> SiteInputs:
    fields = {"location": (constant("grid", DIRECT, 400),), "location_lacking": ""} | more
    return SiteInputs("colo", ZoneInfo("UTC"), **fields)  # type: ignore[arg-type]


def value(facts: Facts, identity: str) -> Fraction | None:
    return facts.figures[identity].value


def test_a_report_of_invoices_alone_is_marked_and_has_energy_and_co2e() -> None:
    """300 + 310 + 290 = 900 kWh of 400 g are 360 kg; 2 % of each invoice is 18 kWh."""
    facts = alone(colo(invoices=invoices(300, 310, 290)))
    energy = facts.figures["energy.facility/site/colo"]
    assert energy.value == 900 * 3_600_000
    assert (energy.low, energy.high) == (882 * 3_600_000, 918 * 3_600_000)
    assert energy.method == "energy of the supplier's invoices"
    assert value(facts, "co2e.location") == 360_000
    assert facts.figures["energy.gpu"].value is None
    assert (facts.status, facts.invoices_alone, too_little(facts)) == ("final", True, False)
    assert any("what the supplier invoiced" in mark for mark in period_marks(facts, say_in("en")))


def test_energy_that_the_supplier_estimated_is_marked() -> None:
    facts = alone(colo(invoices=invoices(300, 310, 290, estimated=True)))
    assert facts.figures["energy.facility/site/colo"].dims["stand_in"] == "energy that the supplier estimated"
    assert facts.figures["energy.invoiced/site/colo"].dims["estimated_j"] == str(290 * 3_600_000)


def test_a_period_that_invoices_do_not_fill_ends_with_the_last_one() -> None:
    facts = alone(colo(invoices=invoices(300, 310)))
    assert facts.status == "interim"
    assert facts.sites["colo"].end.startswith("2026-09-01")
    assert value(facts, "energy.facility/site/colo") == 610 * 3_600_000


def test_a_hole_between_invoices_leaves_the_energy_unknown() -> None:
    rows = invoices(300, 310, 290)
    assert value(alone(colo(invoices=(rows[0], rows[2]))), "energy.facility/site/colo") is None


def test_a_meter_that_replaces_another_continues_its_metering_point() -> None:
    """300 + 310 of the old meter, 290 of the new one: readings of each are compared, and 2026Q3 is known as a whole."""
    rows = [row.model_copy(update={"meter": "old" if n < 2 else "new"}) for n, row in enumerate(invoices(300, 310, 290))]
    readings = (chains.reading("old", JULY, SEPTEMBER, 612), chains.reading("new", SEPTEMBER, OCTOBER, 291))
    facts = alone(colo(invoices=tuple(rows), readings=readings))
    assert value(facts, "energy.facility/site/colo") == 900 * 3_600_000
    assert facts.figures["reconciliation/colo/2026-09-01/2026-09-30"].dims["meter_j"] == str(291 * 3_600_000)
    unnamed = alone(colo(invoices=invoices(300, 310, 290), readings=readings))
    assert unnamed.figures["reconciliation/colo/2026-09-01/2026-09-30"].dims["meter_j"] == str(291 * 3_600_000)
    late = (*rows[:2], rows[2].model_copy(update={"start": date(2026, 9, 2)}))
    assert value(alone(colo(invoices=late)), "energy.facility/site/colo") is None


def test_a_share_of_less_than_all_is_not_100_percent() -> None:
    energy = EnergyInWindow(Fraction(KWH), Fraction(0), Fraction(999, 1000), Fraction(0), 1)
    reason = known_energy(energy, "nothing is known").reason
    assert reason == "invoices or readings cover 99% of the period"
    assert say_in("zh").translate(reason) == "\u53d1\u7968\u6216\u8bfb\u6570\u8986\u76d6\u672c\u671f\u95f4\u768499%"
    assert known_energy(replace(energy, rows=0), "nothing is known").reason == "nothing is known"


def test_water_of_a_bill_needs_no_meter_of_electricity() -> None:
    """3,000 L of category 2 in the quarter: withdrawn water is known, and the WUE is not."""
    days = {"start": date(2026, 7, 1), "end": date(2026, 9, 30)}
    water = (WaterRecord(**days, liters=3000, accuracy_percent=2, category=2, source="bill"),)
    facts = alone(colo(invoices=invoices(300, 310, 290), water=water))
    liters = facts.figures["water/site/colo"]
    assert (liters.value, liters.low, liters.high, liters.dims["category"]) == (3000, 2940, 3060, "2")
    assert facts.figures["wue/site/colo"].reason == "IT energy was not metered"
    states = {
        a.datapoint: (a.state, a.values.get("water/site/colo")) for a in datapoint_answers(facts) if a.framework == "gri-303"
    }
    assert states["303-3 a, total"] == ("partly", "0.003")
    assert states["303-5 a"][0] == "missing"


def test_demand_charges_are_part_of_the_cost() -> None:
    """900 kWh x 0.2 + 3 months x 50 kW x 8 = 180 + 1200."""
    tariff = Tariff(
        id="t", currency="EUR", default_per_kwh=0.2, valid_from=date(2026, 1, 1), source="contract", demand_per_kw=Decimal(8)
    )
    facts = alone(colo(invoices=invoices(300, 310, 290, peak=50), tariffs=(tariff,)))
    assert value(facts, "cost.demand/site/colo") == 1200
    assert value(facts, "cost/site/colo") == 1380
    facts = alone(colo(invoices=invoices(300, 310, 290), tariffs=(tariff,)))
    assert facts.figures["cost/site/colo"].reason == "a tariff charges peak demand, and an invoice does not state it"


def test_invoices_meter_and_ledger_are_compared_by_the_periods_of_the_invoices(tmp_path: Path) -> None:
    """July: 4 kWh in the ledger, whose widest boundary is the node, 5.1 kWh on the invoice, 4 kWh by the supply meter.

    5.1 / 4 - 1 = +27.5 % is a finding. The ledger's 4 kWh of nodes are a part of 5.1 kWh: it is 21.6 % less, and no finding.
    In August the ledger has nothing and 1 kWh is invoiced.
    """
    gpu, node = "GPU-1", "n1"
    batch = Batch(
        [*cells(JULY, gpu, "w", State.ACTIVE, ["0.5"] * 4), *cells(JULY, host("lab", node), "w", State.ACTIVE, ["0.5"] * 4)],
        devices=[DeviceFacts(gpu, "H100", 0, JULY), DeviceFacts(host("lab", node), "host", 0, JULY)],
    )
    late = Batch(cells(OCTOBER, gpu, "w", State.ACTIVE, ["0.1"]))
    chains.write(tmp_path / "segments", "lab", node, [batch, late])
    rows = (
        chains.bill("R7", JULY, AUGUST, 5.1),
        chains.bill("R8", AUGUST, SEPTEMBER, 1),
    )
    read = (chains.reading("m", JULY, AUGUST, 4),)
    organisation = Organisation(sites={"here": SiteInputs("here", ZoneInfo("UTC"), invoices=rows, readings=read)})
    days = chains.compacted(tmp_path / "segments", tmp_path / "days", organisation.stays("here"))
    facts = chains.facts(days, organisation, PeriodRequest("2026Q3"))
    july = facts.figures["reconciliation/here/2026-07-01/2026-07-31"]
    assert july.value == Fraction(51, 10) * 3_600_000
    assert (july.dims["meter_variance"], july.dims["meter_state"]) == ("0.275", "finding")
    assert (july.dims["meter_variance_low"], july.dims["meter_variance_high"]) == ("0.2495", "0.3005")
    assert (july.dims["ledger_variance"], july.dims["ledger_state"]) == ("-0.215686", "part of it")
    assert july.dims["ledger_boundary"] == "node"
    august = facts.figures["reconciliation/here/2026-08-01/2026-08-31"]
    assert august.dims["meter_reason"] == "no input has readings of the site's supply meters"
    table, note, boundary = reconciliation.build(facts, say_in("en"))  # type: ignore[misc]
    assert isinstance(table, ReportTable)
    assert table.rows[0][1:5] == ("2026-07-01 \u2013 2026-07-31", "5.10", "4.00", "4.00")
    assert table.rows[0][5] == "+27.50 \u00b12.55"
    assert table.rows[0][6].startswith("\u221221.57 \u00b1")
    assert table.rows[0][7] == "above 5.00 %"
    assert isinstance(note, Note)
    assert note.text == "1 of 2 periods differ by more than 5.00 %: here 2026-07-01."
    assert isinstance(boundary, Note)


@pytest.mark.parametrize(
    ("kwh", "state", "sentence"),
    [
        ("106", "uncertain", "1 of 1 periods differ by more than 5.00 % in a part of their bounds only: colo 2026-07-01."),
        ("108", "finding", "1 of 1 periods differ by more than 5.00 %: colo 2026-07-01."),
        ("104.9", "agrees", "Invoices, meters and ledger agree within 5.00 % where they can be compared."),
        ("94", "uncertain", "1 of 1 periods differ by more than 5.00 % in a part of their bounds only: colo 2026-07-01."),
        ("92", "finding", "1 of 1 periods differ by more than 5.00 %: colo 2026-07-01."),
    ],
)
def test_a_difference_within_the_bounds_of_the_invoice_is_not_a_finding(kwh: str, state: str, sentence: str) -> None:
    """100 kWh metered. Within 2 %, 106 kWh are +3.88 % to +8.12 %, 108 kWh +5.84 % to +10.16 %, 92 kWh -9.84 % to -6.16 %."""
    bill = chains.bill("R", JULY, OCTOBER, Decimal(kwh))
    facts = alone(colo(invoices=(bill,), readings=(chains.reading("m", JULY, OCTOBER, 100),)))
    (figure,) = facts.by_prefix("reconciliation/")
    assert figure.dims["state"] == state
    _, note = reconciliation.build(facts, say_in("en"))[:2]  # type: ignore[misc, index]
    assert isinstance(note, Note)
    assert note.text == sentence


def test_invoices_that_nothing_is_compared_with_do_not_agree() -> None:
    _, note = reconciliation.build(alone(colo(invoices=invoices(300, 310, 290))), say_in("en"))[:2]  # type: ignore[misc, index]
    assert isinstance(note, Note)
    assert note.text == "No invoice was compared: its days have neither readings nor a ledger."


def test_invoices_with_nodes_give_a_ratio_that_is_an_estimate_of_pue(tmp_path: Path) -> None:
    """4 kWh of nodes and 5 kWh on the invoice: 1.25, and the workload's 4 kWh have 5 kWh of the building."""
    gpu, node = "GPU-1", "n1"
    devices = [DeviceFacts(gpu, "H100", 0, JULY), DeviceFacts(host("lab", node), "host", 0, JULY)]
    energy = [
        *cells(JULY, gpu, "w", State.ACTIVE, ["0.5"] * 4),
        *cells(JULY, host("lab", node), "w", State.ACTIVE, ["0.5"] * 4),
    ]
    late = Batch(cells(OCTOBER, gpu, "w", State.ACTIVE, ["0.1"]))
    chains.write(tmp_path / "segments", "lab", node, [Batch(energy, devices=devices), late])
    rows = (chains.bill("R", JULY, OCTOBER, 5, 1),)
    inputs = SiteInputs("here", ZoneInfo("UTC"), location=(constant("g", DIRECT, 400),), location_lacking="", invoices=rows)
    organisation = Organisation(sites={"here": inputs})
    days = chains.compacted(tmp_path / "segments", tmp_path / "days", organisation.stays("here"))
    facts = chains.facts(days, organisation, PeriodRequest("2026Q3"))
    pue = facts.figures["pue/site/here"]
    assert (pue.value, pue.dims["kind"]) == (Fraction(5, 4), "estimate")
    assert "stand_in" in pue.dims
    assert value(facts, "co2e.location") == 2000
    assert value(facts, "energy.held.facility") == 5 * 3_600_000
    ledger = facts.figures["reconciliation/here/2026-07-01/2026-09-30"].dims
    assert (ledger["ledger_j"], ledger["ledger_state"]) == ("14400000", "part of it")
