"""focus.csv: the columns that FOCUS 1.4 requires, values of the allowed form, and rows that sum to the report."""

import csv
import io
import json
import re
from dataclasses import replace
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import pytest

from energy_agent.core.errors import WattlensError
from reports.figures.facts import Facts
from reports.period import PeriodRequest
from reports.render.focus import COLUMNS, focus_csv
from tests.reports import chains, golden

MANDATORY = {
    "BilledCost", "BillingAccountId", "BillingCurrency", "BillingPeriodEnd", "BillingPeriodStart", "ChargeCategory",
    "ChargePeriodEnd", "ChargePeriodStart", "ContractedCost", "EffectiveCost", "HostProviderName", "InvoiceIssuerName",
    "ListCost", "ServiceCategory", "ServiceName", "ServiceProviderName",
}  # fmt: skip
"""Mandatory columns that allow no nulls (FOCUS_Spec, datasets/cost_and_usage/dataset.md)."""
MANDATORY_NULLABLE = {"BillingAccountName", "ChargeClass", "ChargeDescription", "PricingQuantity", "PricingUnit"}


@pytest.fixture(scope="module")
def facts(golden_days: Path) -> Facts:
    return chains.facts(golden_days, golden.organisation(), PeriodRequest("2026Q3"))


@pytest.fixture(scope="module")
def rows(facts: Facts) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(focus_csv(facts))))


def test_columns_and_their_forms(rows: list[dict[str, str]]) -> None:
    assert set(COLUMNS) >= MANDATORY | MANDATORY_NULLABLE
    assert all(re.fullmatch(r"[A-Z][A-Za-z]*|x_[A-Z][A-Za-z0-9]*", name) for name in COLUMNS)
    for row in rows:
        assert all(row[name] for name in MANDATORY)
        for name in ("BillingPeriodStart", "BillingPeriodEnd", "ChargePeriodStart", "ChargePeriodEnd"):
            assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", row[name])
        for name in ("EffectiveCost", "ListCost", "ContractedCost", "ConsumedQuantity", "x_GpuEnergyKwh"):
            assert re.fullmatch(r"-?\d+\.\d+", row[name])
        assert (row["BilledCost"], row["BillingCurrency"], row["PricingUnit"]) == ("0.0", "EUR", "kWh")
        assert (row["ChargeCategory"], row["ChargeFrequency"]) == ("Usage", "Usage-Based")
        assert set(json.loads(row["Tags"])) <= {"team", "project", "model"}


def test_rows_by_team_project_and_model_sum_to_each_site(facts: Facts, rows: list[dict[str, str]]) -> None:
    assert {(r["x_Site"], r["x_Team"], r["x_Project"]) for r in rows} == {
        ("alfa", "nlp", "assist"), ("alfa", "vision", "resnet"), ("alfa", "unallocated", ""),
        ("beta", "nlp", "assist"), ("beta", "", ""), ("beta", "unallocated", ""),
    }  # fmt: skip
    for site, cost in (("alfa", "15168"), ("beta", "0.6272")):
        site_rows = [r for r in rows if r["x_Site"] == site]
        assert sum(Decimal(r["EffectiveCost"]) for r in site_rows) == Decimal(cost)
        kg = sum(Fraction(Decimal(r["x_Co2eLocationKg"])) for r in site_rows)
        stated = facts.figures[f"co2e.location/site/{site}"].value
        assert stated is not None
        assert kg == stated / 1000
    chat = next(r for r in rows if r["x_Model"] == "Llama (fp8)")
    assert (chat["x_PromptTokens"], chat["x_GeneratedTokens"], chat["x_Boundary"]) == ("1000000.0", "7000000.0", "facility")
    assert Decimal(chat["EffectiveCost"]) == Decimal("3.087")  # 10.29 kWh at 0.30
    unallocated = next(r for r in rows if (r["x_Site"], r["x_Team"]) == ("alfa", "unallocated"))
    assert (unallocated["SubAccountName"], unallocated["x_GpuHours"], unallocated["Tags"]) == ("unallocated", "", "{}")


@pytest.mark.smoke
def test_without_tariffs_there_is_no_file(golden_days: Path) -> None:
    organisation = golden.organisation()
    free = replace(
        organisation, sites={name: replace(site, tariffs=()) for name, site in organisation.sites.items()}, prices=()
    )
    facts = chains.facts(golden_days, free, PeriodRequest("2026Q3"))
    with pytest.raises(
        WattlensError, match=r"focus\.csv: the cost of site alfa is not known \(no input has tariffs or amounts of invoices\)"
    ):
        focus_csv(facts)


def test_amounts_with_taxes_are_refused(facts: Facts) -> None:
    """FOCUS has taxes in rows of their own, of ChargeCategory Tax."""
    cost = facts.figures["cost/site/beta"]
    for tax, refused in (("excluded", False), ("included", True)):
        changed = replace(facts, figures=dict(facts.figures) | {cost.id: replace(cost, dims=dict(cost.dims) | {"tax": tax})})
        if not refused:
            assert focus_csv(changed) == focus_csv(facts)
            continue
        with pytest.raises(WattlensError, match=r"focus\.csv: the cost of site beta includes taxes"):
            focus_csv(changed)
