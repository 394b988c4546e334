"""Three-way comparison of a site's electricity: invoices of the supplier, readings of its supply meters, and the ledger.

The invoices are the reference, since they are settled with a third party. A difference has the bounds of both energies, and is
a finding if all of them are above the organisation's threshold (variance_percent). The ledger is compared at the widest known
boundary: if that is not the building, its energy is a part of what is invoiced, and only a ledger above the invoices is a
finding. Meters of the building have the errors and gaps of each period; other energies have the relative error of the report.
"""

from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from typing import Final

from energy_agent.core.quantity import Quantity
from energy_agent.core.units import UJ_PER_J
from reports.figures.evidence import PeriodEvidence, SiteEvidence
from reports.figures.figure import ESTIMATED_J, STAND_IN, Figure, energy_text, quotient_text
from reports.figures.measures._measure import FigureSubject, Measure, of_site
from reports.figures.measures.carbon import base, boundary
from reports.figures.variance import AGREES, FINDING, INCLUDES_ZERO, UNCERTAIN, relative_difference, state_of
from reports.period import local_text
from reports.site.invoices import BY_SUPPLIER, INVOICED, NO_INVOICE, NO_READING, InvoicePeriod, known_energy

PART, OPEN = "part of it", "not compared"
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
    here, invoices = of_site(site.name), site.invoices
    invoiced = known_energy(invoices.invoiced, NO_INVOICE)
    read = known_energy(invoices.read, NO_READING)
    of: dict[str, str] = {}
    if invoices.invoiced is not None:
        of |= {"invoices": str(invoices.invoiced.rows), "known": quotient_text(invoices.invoiced.known_ratio, digits=4)}
        if invoices.invoiced.estimated_uj:
            of |= {ESTIMATED_J: quotient_text(invoices.invoiced.estimated_uj * _J), STAND_IN: BY_SUPPLIER}
    if invoices.cut:
        of["cut"] = ", ".join(invoices.cut)
    for currency, money in sorted((invoices.money or {}).items()):
        of[f"invoiced_{currency}"] = quotient_text(money)
    for number, kw in invoices.peaks:
        of[f"peak_kw of {number}"] = quotient_text(kw)
    yield here.figure("energy.invoiced", invoiced, "J", INVOICED, "facility", of, sources=("invoices",))
    yield here.figure("energy.read", read, "J", READ, "facility", sources=("readings",))


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
    ledger = _with_error(period.ledger, _recorded(evidence, name, within))
    for key, amount, difference in (
        ("meter", period.read, relative_difference(period.invoiced, period.read)),
        ("ledger", ledger, relative_difference(ledger, period.invoiced)),
    ):
        if amount.value is None or difference.value is None:
            dims[f"{key}_reason"] = amount.reason or INCLUDES_ZERO
            states.append(OPEN)
            continue
        dims |= {
            f"{key}_j": energy_text(round(amount.value)),
            f"{key}_variance": quotient_text(difference.value, digits=6),
            f"{key}_variance_low": quotient_text(difference.low or Fraction(0), "down", digits=6),
            f"{key}_variance_high": quotient_text(difference.high or Fraction(0), "up", digits=6),
        }
        is_part = key == "ledger" and within != "facility"  # a smaller value of a part is not a finding
        states.append(PART if is_part and difference.value <= allowed else state_of(difference, allowed))
        dims[f"{key}_state"] = states[-1]
    dims["state"] = next((state for state in (FINDING, UNCERTAIN, AGREES, PART) if state in states), OPEN)
    of = FigureSubject(f"/{name}/{dims['start']}/{dims['end']}", dims)
    sources = ("invoices", "readings", "ledger")
    return of.figure("reconciliation", period.invoiced, "J", INVOICED, "facility", sources=sources)


def _recorded(evidence: PeriodEvidence, name: str, within: str) -> Quantity:
    """The ledger's energy of the whole period at a boundary, in uJ with its bounds."""
    if not evidence.sites[name].building.invoiced:
        return base(evidence, name)
    classes = ("gpu", "host") if within == "node" else ("gpu",)
    return evidence.recorded(name, *classes)


def _with_error(part: Quantity, whole: Quantity) -> Quantity:
    """A part of an amount: with its own bounds, else with the relative bounds of the whole."""
    if part.value is None or part.low is not None or part.high is not None or not whole.value:
        return part
    low, high = (None if end is None else part.value * end / whole.value for end in (whole.low, whole.high))
    return replace(part, low=low, high=high)


SPEC = Measure("comparison of invoices, supply meters and the ledger", figures)
