"""Data quality of the figures: coverage, how joules were measured, and sources of uncertainty."""

from collections.abc import Iterator
from fractions import Fraction
from typing import Final

from energy_agent.core.energy import Method
from energy_agent.core.quantity import Quantity, no_quantity
from energy_agent.core.units import NS_PER_S, UJ_PER_J
from reports.figures.energy import whole_energy
from reports.figures.evidence import PeriodEvidence
from reports.figures.figure import LEDGER, Figure, amount_figure, rounded
from reports.figures.measures._measure import Measure
from reports.site.coverage import NOT_LISTED, DeviceCoverage, together

MISSED_SHOWN = 20
BY_INVOICES: Final = "time of sites whose energy invoices give, as a share of the time of all sites"
NAMED_SHARE = 1_000
"""A device is named from a thousandth of its time on; less is the edges of readings."""


def figures(evidence: PeriodEvidence) -> Iterator[Figure]:
    """Shares are of the energy of all GPUs."""
    sites = evidence.covered
    how = "" if evidence.has_ledger else BY_INVOICES
    yield _coverage("coverage", together(sites), {}, how)
    for name, site_coverage in sites.items():
        yield _coverage(f"coverage/site/{name}", site_coverage, {"site": name}, how)
    named = [m for m in together(sites).missed if m.missing_ns * NAMED_SHARE >= m.expected_ns]
    for rank, missed in enumerate(named[:MISSED_SHOWN], 1):
        dims = {"site": missed.site, "node": missed.node, "device": missed.device}
        seconds = Fraction(missed.missing_ns, NS_PER_S)
        yield Figure(f"missed/{rank:02d}", seconds, "s", "device time not metered", "gpu", sources=LEDGER, dims=dims)
    rows = [s for s in evidence.sums.states if s.device_class == "gpu"]
    total = sum(r.energy_uj for r in rows)
    for method in Method:
        uj = sum(r.energy_uj for r in rows if r.method == method.value)
        if uj and total:
            share, dims = Quantity(Fraction(uj, total)), {"method": method.value}
            yield amount_figure(f"quality.method/{method.value}", share, "ratio", method.value, "gpu", dims=dims)
    yield _imported(evidence, total)
    whole = whole_energy(w for w in evidence.sums.wholes if w.device_class == "gpu")
    for name, uj in (("systematic", whole.gain_uj), ("edges", whole.edge_uj), ("unseen", whole.gap_uj)):
        value, why = None, None
        if whole.unbounded:
            why = f"devices without a stated sensor error: {whole.unbounded}"
        elif name == "unseen" and whole.open:
            why = f"devices whose energy in gaps has no upper bound: {whole.open}"
        else:
            value = Fraction(uj, UJ_PER_J)
        yield Figure(f"uncertainty/{name}", value, "J", "bound", "gpu", sources=LEDGER, reason=why)


def _imported(evidence: PeriodEvidence, total: int) -> Figure:
    uj, how = sum(evidence.sums.imported.values()), "from a Prometheus, at the quality of its scrapes"
    share = Quantity(Fraction(uj, total)) if total else no_quantity("no energy in the period")
    return amount_figure("quality.imported", share, "ratio", how, "gpu")


def _coverage(identity: str, devices: DeviceCoverage, dims: dict[str, str], by_invoices: str) -> Figure:
    listed = "metered device time, as a share of the inventory's" if devices.listed else f"device time metered; {NOT_LISTED}"
    how = by_invoices or listed
    of = dims if by_invoices else dims | {"unlisted": str(len(devices.unlisted)), "devices_missed": str(len(devices.missed))}
    if devices.unseen_nodes:
        of |= {"unseen_nodes": str(devices.unseen_nodes), "boards_of_an_unseen_node": str(devices.usual_boards)}
        how = f"{how}; a node that was never seen counts with the usual number of GPUs"
    if devices.share is None:
        return Figure(identity, None, "ratio", how, "gpu", sources=LEDGER, dims=of, reason="no device was expected")
    return Figure(identity, rounded(devices.share, "down"), "ratio", how, "gpu", sources=LEDGER, dims=of)


SPEC = Measure("coverage, methods and the uncertainty budget", figures)
