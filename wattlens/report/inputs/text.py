"""Present and missing inputs of an organisation, as text and as JSON. Pure."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from energy_agent.core.units import NS_PER_S, UJ_PER_KWH
from energy_agent.factors.join import IntensitySource
from energy_agent.factors.record import Factor
from reports.inputs.market import MarketBoundary
from reports.inputs.matching import Lot
from reports.inputs.organisation import Organisation, SiteInputs


@dataclass(frozen=True, slots=True)
class InputStatus:
    """One input that a report can use, and what is missing without it.

    Args:
        of: the site that it is of; "": of the organisation.
        what: its name.
        content: what there is of it; "": nothing.
        missing: why, or what a report does without it.
    """

    of: str
    what: str
    content: str
    missing: str = ""


_Row = tuple[str, str, str]
"""What an input is called, what there is of it, and what is lacking without it."""


def list_inputs(organisation: Organisation) -> list[InputStatus]:
    """List every input that a report can use: the organisation's first, then site by site."""
    rows = {"": list(_organisation(organisation))}
    rows |= {name: list(_site(site, organisation)) for name, site in organisation.sites.items()}
    return [InputStatus(of, *row) for of, entries in rows.items() for row in entries]


def _organisation(organisation: Organisation) -> Iterator[_Row]:
    least = Decimal(organisation.least_coverage.numerator * 100) / organisation.least_coverage.denominator
    about = " · ".join(filter(None, (organisation.name, organisation.report_contact)))
    yield "organisation", about, "the report has no name"
    yield "least coverage", f"{_number(least)} %", ""
    yield "inventory", _inventory(organisation), "coverage is unknown: a stopped agent would look like a saving"
    yield "sites", ", ".join(organisation.sites), "no PUE, grid, contracts, water or cost; quarters in UTC"
    counts = (
        ("teams", len(organisation.teams), "rule", "teams and projects come from the workloads' own labels"),
        ("prices", len(organisation.prices), "class", "GPU hours have no price"),
        ("embodied", len(organisation.embodied), "kind of GPU", "figures shipped with Wattlens are used"),
        ("hosts", len(organisation.hosts), "row", "processors and memory of nodes without a meter are not estimated"),
        ("models", len(organisation.model_names), "model", "models have their names from the ledger"),
    )
    for what, count, unit, missing in counts:
        yield what, _count(count, unit) if count else "", missing


def _inventory(organisation: Organisation) -> str:
    if not organisation.expected:
        return ""
    gpus = len({(e.cluster, e.uuid) for e in organisation.expected if e.uuid})
    nodes = len({(e.cluster, e.node) for e in organisation.expected})
    whole = len({(e.cluster, e.node) for e in organisation.expected if not e.uuid})
    return f"{_count(gpus, 'GPU')} of {_count(nodes, 'node')}" + (f", {whole:,} of them listed as whole nodes" if whole else "")


def _site(site: SiteInputs, organisation: Organisation) -> Iterator[_Row]:
    name = site.name
    yield "time zone", site.zone.key, ""
    yield "grid", " / ".join(filter(None, (site.grid_zone, site.country))), "CO2e is absent"
    yield "location-based", _intensities(site, site.location), site.location_lacking
    yield from _why_these("factor choice", site.location)
    yield "residual mix", _intensities(site, site.residual), site.residual_lacking
    yield from _why_these("mix choice", site.residual)
    stated = ""
    if site.stated is not None:
        value, bound = site.stated
        stated = f"{float(value):.3g} ± {100 * float(bound):.3g} %{', assumed' if site.bound_assumed else ''}" + (
            f" ({site.stated_source})" if site.stated_source else ""
        )
    yield "stated PUE", stated, "PUE comes only from meters"
    yield "contracts", _contracts(site), _without_contracts(site)
    for contract, (_, what) in limited(site).items():
        yield f"contract {contract}", what, ""
    for contract, beneficiary in site.accepted_beneficiaries:
        yield f"contract {contract}", f"retired for {beneficiary!r}, an accepted beneficiary", ""
    for rate in site.supplier_rates:
        used = f"not used: {rate.objection}" if rate.objection else f"{_number(rate.g_per_kwh)} g/kWh ({rate.source})"
        yield f"supplier rate {rate.supplier}", used, ""
    priced = [each for each in site.invoices if each.amount is not None]
    without = "the cost is the amounts of the invoices" if priced else "energy has no cost"
    yield "tariffs", ", ".join(each.id for each in site.tariffs), without
    if site.invoices:
        yield "invoices", _invoices(site), ""
    yield "water", _count(len(site.water), "row") if site.water else "", "no WUE"
    yield "meters", _count(len(site.meters), "meter") if site.meters else "", "missing meters are not reported"
    yield "installed IT power", f"{_number(site.it_kw)} kW" if site.it_kw else "", "missing in the EU table"
    yield "floor area", f"{_number(site.floor_m2)} m²" if site.floor_m2 else "", "missing in the EU table"
    here = sum(1 for each in organisation.expected if each.site == name)
    yield "inventory here", _count(here, "line") if here else "", "the inventory has no line of this site"


def _contracts(site: SiteInputs) -> str:
    if not site.lots:
        summary = f"{_count(site.bought, 'contract')}, none in the last twelve months: {_without_contracts(site)}"
        return summary if site.bought else ""
    kwh = sum(lot.uj for lot in site.lots) // UJ_PER_KWH
    return f"{_count(len({lot.contract for lot in site.lots}), 'contract')}, {kwh:,} kWh in {_count(len(site.lots), 'period')}"


def _invoices(site: SiteInputs) -> str:
    """Number, energy, days, and money by currency, with credits."""
    kwh = sum(each.uj for each in site.invoices) // UJ_PER_KWH
    first, last = min(i.start_ns for i in site.invoices), max(i.end_ns for i in site.invoices) - 1
    days = " to ".join(datetime.fromtimestamp(ns // NS_PER_S, site.zone).date().isoformat() for ns in (first, last))
    money: dict[str, Decimal] = {}
    for each in (*site.invoices, *site.credits):
        if each.amount is not None:
            money[each.currency] = money.get(each.currency, Decimal(0)) + each.amount
    amounts = "".join(f", {_number(amount)} {currency}" for currency, amount in sorted(money.items()))
    several = "; several currencies: no cost" if len(money) > 1 else ""
    return f"{_count(len(site.invoices), 'invoice')}, {kwh:,} kWh, {days}{amounts}{several}"


def objection_to(lot: Lot, site: SiteInputs) -> str:
    """Why a lot covers nothing of the site; "": it may."""
    accepted = MarketBoundary.GUIDANCE_2015.accepts(site.grid_zone, lot.zone)
    return lot.objection if accepted else f"{MarketBoundary.GUIDANCE_2015.objection} ({lot.zone})"


def limited(site: SiteInputs) -> dict[str, tuple[str, str]]:
    """(objection, description) of contracts that cover nothing, or a part for want of certificates (objection "")."""
    limits = {}
    for contract in sorted({lot.contract for lot in site.lots}):
        lots = [lot for lot in site.lots if lot.contract == contract]
        objections = sorted({objection_to(lot, site) for lot in lots} - {""})
        uj, unproven = sum(lot.uj for lot in lots), sum(lot.uncertified_uj for lot in lots)
        if objections:
            limits[contract] = objections[0], f"covers nothing: {objections[0]}"
        elif unproven:
            kwh = [_number(Decimal(each) / UJ_PER_KWH) for each in (uj - unproven, uj)]
            limits[contract] = "", f"covers at most {kwh[0]} of its {kwh[1]} kWh: a serial number is a certificate of 1 MWh"
    return limits


def _intensities(site: SiteInputs, sources: Sequence[IntensitySource]) -> str:
    """Each factor with its value, zone, year and basis; of a series of hours its zone, basis and publisher."""
    factors = {factor.id: factor for factor, _ in site.factors}
    series = {i: f"hours of {about.zone}, {about.basis}, {about.publisher}" for i, about in site.series}
    return ", ".join(_factor(factors[s.id]) if s.id in factors else series.get(s.id, s.id) for s in sources)


def _factor(factor: Factor) -> str:
    value = f"{factor.value:.1f} {factor.unit}"
    return f"{value}, {factor.zone_name} {factor.year}, {factor.boundary}, {factor.publisher} ({factor.id})"


def _why_these(what: str, sources: Sequence[IntensitySource]) -> Iterator[_Row]:
    """Why no better factor is taken, such as one of the zone that was named."""
    reasons = tuple(dict.fromkeys(reason for source in sources for reason in source.reasons))
    if reasons:
        yield what, "; ".join(reasons), ""


def _without_contracts(site: SiteInputs) -> str:
    if not (site.residual or site.location):
        return "there is no market-based total"
    factor = "residual mix" if site.residual else "grid's average"
    return f"the market-based total uses the {factor} only"


def _count(number: int, unit: str) -> str:
    plural = (
        unit
        if number == 1
        else unit.replace("kind", "kinds")
        if "kind" in unit
        else f"{unit}{'es' if unit[-1] == 's' else 's'}"
    )
    return f"{number:,} {plural}"


def _number(value: Decimal | None) -> str:
    return "" if value is None else f"{value.normalize():f}"


def as_json(organisation: Organisation) -> dict[str, Any]:
    """The same for a program."""
    rows = [
        {"site": s.of, "what": s.what, "found": s.content, "lacking": "" if s.content else s.missing}
        for s in list_inputs(organisation)
    ]
    return {
        "inputs": rows,
        "warnings": list(organisation.warnings),
        "files": [{"path": path, "sha256": digest} for path, digest in organisation.files],
    }
