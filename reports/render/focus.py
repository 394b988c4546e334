"""Cost, energy and carbon by site, team, project and model as rows of FOCUS 1.4 (FinOps Open Cost and Usage Specification).

Columns: all that the dataset Cost and Usage makes mandatory, those of its conditions that hold (sub-accounts, regions, tags,
usage), and columns that begin with x_ for energy, CO2e, water, GPU hours and tokens. The report is no invoice: BilledCost is
0, so that these rows do not count twice next to the supplier's own; EffectiveCost has the cost of the electricity. The rows of
a site sum to its figures, with a row for unallocated energy.
"""

import csv
import io
import json
from fractions import Fraction
from typing import Final

from energy_agent.core.errors import WattlensError
from energy_agent.core.text import harmless
from energy_agent.core.units import J_PER_KWH
from reports.figures.facts import Facts
from reports.figures.figure import plain
from reports.page.partition import LIFE_CYCLE, co2e_prefix
from reports.period import utc_text
from reports.render.allocated import UNALLOCATED, UNASSIGNED, AllocatedPart, ExportColumn, in_units

SERVICE: Final = "GPU electricity"
METRICS: Final = (
    ExportColumn("EffectiveCost", "cost", Fraction(1)),
    ExportColumn("ConsumedQuantity", "energy", Fraction(1, J_PER_KWH)),
    ExportColumn("x_GpuEnergyKwh", "energy.gpu", Fraction(1, J_PER_KWH)),
    ExportColumn("x_Co2eLocationKg", "co2e.location", Fraction(1, 1000)),
    ExportColumn("x_Co2eMarketKg", "co2e.market", Fraction(1, 1000)),
    ExportColumn("x_WaterLiters", "water", Fraction(1)),
    ExportColumn("x_GpuHours", "gpu_hours", Fraction(1)),
    ExportColumn("x_PromptTokens", "tokens.prompt", Fraction(1)),
    ExportColumn("x_GeneratedTokens", "tokens.generation", Fraction(1)),
)
COLUMNS: Final = (
    "BilledCost", "BillingAccountId", "BillingAccountName", "BillingCurrency", "BillingPeriodEnd", "BillingPeriodStart",
    "ChargeCategory", "ChargeClass", "ChargeDescription", "ChargeFrequency", "ChargePeriodEnd", "ChargePeriodStart",
    "ConsumedQuantity", "ConsumedUnit", "ContractedCost", "EffectiveCost", "HostProviderName", "InvoiceId",
    "InvoiceIssuerName", "ListCost", "PricingQuantity", "PricingUnit", "RegionId", "RegionName", "ServiceCategory",
    "ServiceName", "ServiceProviderName", "ServiceSubcategory", "SubAccountId", "SubAccountName", "Tags", "x_Boundary",
    "x_Co2eBasis", "x_Co2eLocationKg", "x_Co2eMarketKg", "x_GeneratedTokens", "x_GpuEnergyKwh", "x_GpuHours", "x_Model",
    "x_Project", "x_PromptTokens", "x_Site", "x_Team", "x_WaterLiters",
)  # fmt: skip
"""In the order of the specification (alphabetical), then the custom columns."""


def focus_csv(facts: Facts) -> str:
    """The text of focus.csv.

    Raises:
        WattlensError: the cost of a site or of a team is not known; FOCUS does not allow a row without cost. Or it includes
            taxes, which FOCUS has in rows of their own (ChargeCategory Tax).
    """
    if taxed := [f.dims["site"] for f in facts.of("cost", "site") if f.dims.get("tax") == "included"]:
        raise WattlensError(
            f"focus.csv: the cost of site {', '.join(taxed)} includes taxes, which rows of category Usage must not contain; "
            "enter amounts of invoices without taxes (tax: excluded), or omit focus from --formats"
        )
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    for part, amounts in in_units(facts, ("team", "project", "model"), METRICS):
        cost = amounts["EffectiveCost"]
        if cost is None:
            figure = facts.figures.get(f"cost/site/{part.site}")
            why = "no tariff" if figure is None or figure.reason is None else figure.reason
            raise WattlensError(
                f"focus.csv: the cost of site {part.site} is not known ({why}); add tariffs, or amounts of "
                "invoices, for all of its period, or omit focus from --formats"
            )
        row = _dimensions(facts, part) | {name: _decimal(value) for name, value in amounts.items()}
        row |= {"BilledCost": "0.0", "ContractedCost": _decimal(cost), "ListCost": _decimal(cost)}
        row |= {"PricingQuantity": row["ConsumedQuantity"], "PricingUnit": "kWh", "ConsumedUnit": "kWh"}
        writer.writerow(row)
    return text.getvalue()


def _decimal(value: Fraction | None) -> str:
    """A number with a decimal point, by which readers of CSV recognise a column of decimals; "" if it is not known."""
    text = plain(value)
    return f"{text}.0" if text and "." not in text else text


def _dimensions(facts: Facts, part: AllocatedPart) -> dict[str, str]:
    period = facts.sites[part.site]
    start, end = utc_text(int(period.start_ns)), utc_text(int(period.end_ns))
    organisation = harmless(facts.organisation) or "unnamed organisation"
    team, project, model = (harmless(part.labels[name]) for name in ("team", "project", "model"))
    account = (team or UNASSIGNED) if part.is_allocated else UNALLOCATED
    site = harmless(part.site)
    tags = {name: value for name, value in (("team", team), ("project", project), ("model", model)) if value}
    what = f"electricity of {account}" + (f", project {project}" if project else "") + (f", model {model}" if model else "")
    return {
        "BillingAccountId": organisation,
        "BillingAccountName": organisation,
        "BillingCurrency": facts.figures[f"cost/site/{part.site}"].unit,
        "BillingPeriodStart": start,
        "BillingPeriodEnd": end,
        "ChargeCategory": "Usage",
        "ChargeClass": "",
        "ChargeDescription": f"{what}, at site {site}",
        "ChargeFrequency": "Usage-Based",
        "ChargePeriodStart": start,
        "ChargePeriodEnd": end,
        "HostProviderName": organisation,
        "InvoiceId": "",
        "InvoiceIssuerName": organisation,
        "RegionId": site,
        "RegionName": site,
        "ServiceCategory": "AI and Machine Learning",
        "ServiceName": SERVICE,
        "ServiceProviderName": organisation,
        "ServiceSubcategory": "Other (AI and Machine Learning)",
        "SubAccountId": account,
        "SubAccountName": account,
        "Tags": json.dumps(tags, sort_keys=True, ensure_ascii=False),
        "x_Boundary": facts.boundary_of(part.site),
        "x_Co2eBasis": "life cycle, not Scope 2"
        if co2e_prefix(facts) == LIFE_CYCLE
        else f"Scope 2{', CO2 alone' if facts.co2_alone else ''}",
        "x_Model": model,
        "x_Project": project,
        "x_Site": site,
        "x_Team": team if part.is_allocated else UNALLOCATED,
    }
