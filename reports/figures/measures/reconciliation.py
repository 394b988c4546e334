"""Three-way comparison of a site's electricity: invoices of the supplier, readings of its supply meters, and the ledger.

The invoices are the reference, since they are settled with a third party. A difference above the organisation's threshold
(variance_percent) is a finding. The ledger is compared at the widest boundary that it knows: if that is not the building, its
energy is a part of what is invoiced, and only a ledger above the invoices is a finding.
"""

from collections.abc import Iterator
from fractions import Fraction
from typing import Final

from energy_agent.core.units import UJ_PER_J
from energy_agent.site.building.ratio import Amount
from reports.figures.evidence import PeriodEvidence, SiteEvidence
from reports.figures.figure import ESTIMATED_J, STAND_IN, Figure, amount_figure, energy_text, quotient_text
from reports.figures.measures._measure import Measure
from reports.figures.measures.carbon import boundary
from reports.period import local_text
from reports.site.invoices import BY_SUPPLIER, INVOICED, NO_INVOICE, NO_READING, InvoicePeriod, known_energy

FINDING, AGREES, PART, OPEN = "finding", "agrees", "part of it", "not compared"
READ: Final = "readings of the supply meters"
_J: Final = Fraction(1, UJ_PER_J)


def figures(evidence: PeriodEvidence) -> Iterator[Figure]:
    """Of sites that have invoices or readings in the period; of others there is no figure."""
    for name, site in sorted(evidence.sites.items()):
        if site.invoices.invoiced is None and site.invoices.read is None:
            continue
        yield from _of_site(evidence, site)
        for period in site.invoices.periods:
            yield _of_period(evidence, name, period)


def _of_site(evidence: PeriodEvidence, site: SiteEvidence) -> Iterator[Figure]:
    dims = {"site": site.name}
    invoiced = known_energy(site.invoices.invoiced, NO_INVOICE)
    read = known_energy(site.invoices.read, NO_READING)
    own = site.invoices
    of = dims | ({} if own.invoiced is None else {"invoices": str(own.invoiced.rows), "known": _share(own.invoiced.known)})
    if own.invoiced is not None and own.invoiced.estimated_uj:
        of |= {ESTIMATED_J: quotient_text(own.invoiced.estimated_uj * _J), STAND_IN: BY_SUPPLIER}
    if own.cut:
        of["cut"] = ", ".join(own.cut)
    for currency, money in sorted((own.money or {}).items()):
        of[f"invoiced_{currency}"] = quotient_text(money)
    for number, kw in own.peaks:
        of[f"peak_kw of {number}"] = quotient_text(kw)
    yield amount_figure(
        f"energy.invoiced/site/{site.name}", invoiced, "J", INVOICED, "facility", sources=("invoices",), dims=of, scale=_J
    )
    yield amount_figure(
        f"energy.read/site/{site.name}", read, "J", READ, "facility", sources=("readings",), dims=dims, scale=_J
    )


def _of_period(evidence: PeriodEvidence, name: str, period: InvoicePeriod) -> Figure:
    site = evidence.sites[name]
    zone = "UTC" if site.inputs is None else site.inputs.zone.key
    within, allowed = boundary(evidence, name), evidence.organisation.variance
    if site.building.invoiced:
        within = "node" if not evidence.node_gap(name) else "gpu"
    dims = {
        "site": name,
        "start": local_text(period.start_ns, zone)[:10],
        "end": local_text(period.end_ns - 1, zone)[:10],
        "invoices": ", ".join(period.numbers),
        "ledger_boundary": within,
        "threshold": quotient_text(allowed),
    }
    states = []
    for key, amount, ratio in (
        ("meter", period.read, _less_one(period.invoiced, period.read)),
        ("ledger", period.ledger, _less_one(period.ledger, period.invoiced)),
    ):
        if amount.value is None or ratio is None:
            dims[f"{key}_reason"] = amount.reason or "no energy is invoiced"
            states.append(OPEN)
            continue
        dims |= {f"{key}_j": energy_text(round(amount.value)), f"{key}_variance": quotient_text(ratio, digits=6)}
        part = key == "ledger" and within != "facility"
        states.append((FINDING if ratio > allowed else PART) if part else FINDING if abs(ratio) > allowed else AGREES)
        dims[f"{key}_state"] = states[-1]
    dims["state"] = next((state for state in (FINDING, AGREES, PART) if state in states), OPEN)
    identity = f"reconciliation/{name}/{dims['start']}/{dims['end']}"
    sources = ("invoices", "readings", "ledger")
    return amount_figure(identity, period.invoiced, "J", INVOICED, "facility", sources=sources, dims=dims, scale=_J)


def _less_one(one: Amount, other: Amount) -> Fraction | None:
    return None if one.value is None or not other.value else one.value / other.value - 1


def _share(share: Fraction) -> str:
    return quotient_text(share, digits=4)


SPEC = Measure("comparison of invoices, supply meters and the ledger", figures)
