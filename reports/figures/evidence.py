"""Everything that figures are computed from: ledger sums, building and grid per site, declared inputs. Pure."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Final

from energy_agent.core.quantity import ZERO, Quantity, no_quantity
from reports.figures.energy import BoundedEnergy, active_energy, by_site, held_energy, whole_energy
from reports.inputs.organisation import Organisation, SiteInputs
from reports.ledger.sums import LedgerSums, PartCost, PartEnergy, SiteWindow
from reports.site.building import BuildingEnergy
from reports.site.coverage import DeviceCoverage, coverage, together
from reports.site.grid import Grid
from reports.site.invoices import SiteInvoices

NO_LEDGER: Final = "the ledger has no energy of the site"
INVOICES_ALONE: Final = "the report has no ledger, only invoices"


@dataclass(frozen=True, slots=True)
class SiteEvidence:
    """Ledger sums, inputs, building, grid and invoices of one site."""

    name: str
    window: SiteWindow
    inputs: SiteInputs | None
    building: BuildingEnergy
    grid: Grid
    invoices: SiteInvoices = field(default_factory=SiteInvoices)

    @property
    def on_site_objection(self) -> str:
        """Why on-site generation does not count as renewable; "": it does. Without its certificates it has no attributes."""
        kept = None if self.inputs is None else self.inputs.on_site_kept
        if kept is None:
            return "no input states that certificates of on-site generation were kept (grid.on_site_certificates)"
        return "" if kept else "the certificates of on-site generation were sold"


@dataclass(frozen=True, slots=True)
class PrometheusEnergy:
    """Energy of the GPUs over the period according to a Prometheus server.

    Args:
        joules: decimal text.
        series: number of GPUs in its series.
        query: the query for each slice of the period.
        reason: why it has no value; "" if it has one.
    """

    joules: str
    series: int
    query: str
    reason: str = ""


@dataclass(frozen=True, slots=True)
class ComparedPeriod:
    """An earlier period with which the report compares.

    Args:
        label: such as 2026Q2.
        role: earlier | base.
        evidence: without bounds and names of boards; None: the ledger has no data of it.
    """

    label: str
    role: str
    evidence: "PeriodEvidence | None"


@dataclass(frozen=True, slots=True)
class PeriodEvidence:
    """Everything that the figures of one period are computed from.

    Args:
        label: such as 2026Q3; "": by its instants.
        before: that of the period before, without bounds and names of boards; None: the ledger holds nothing of it.
        year_ago: that of the same period a year before; None also if the period is a year.
        compared: periods whose totals are listed, the newest first, the base year last.
        covered: coverage of every site, which is made of the rest.
    """

    label: str
    sums: LedgerSums
    sites: Mapping[str, SiteEvidence]
    priced: tuple[PartCost, ...]
    organisation: Organisation
    prometheus: PrometheusEnergy | None = None
    before: "PeriodEvidence | None" = None
    year_ago: "PeriodEvidence | None" = None
    compared: tuple[ComparedPeriod, ...] = ()
    covered: Mapping[str, DeviceCoverage] = field(default_factory=dict, init=False, compare=False)

    @property
    def is_yearly(self) -> bool:
        """Whether the period is a named year, so that the period before is that of a year ago."""
        return re.fullmatch(r"(FY)?\d{4}", self.label) is not None

    def __post_init__(self) -> None:
        by_invoices = {name: (site.window.length_ns, site.building.measured) for name, site in self.sites.items()}
        by_invoice = {name: DeviceCoverage(ns * measured, ns) for name, (ns, measured) in by_invoices.items()}
        object.__setattr__(self, "covered", coverage(self.sums, self.organisation) if self.has_ledger else by_invoice)

    @property
    def has_ledger(self) -> bool:
        """Whether a ledger has energy of the period; without one all energy is of invoices."""
        return bool(self.sums.wholes)

    def recorded(self, site: str, *classes: str) -> Quantity:
        """Energy of a site's devices of some classes in the ledger; absent if the ledger has nothing of the site."""
        if reason := self.unrecorded(site):
            return no_quantity(reason)
        return whole_energy(w for w in self.sums.wholes if w.site == site and w.device_class in classes).quantity

    def unrecorded(self, site: str) -> str:
        """Why the ledger has no energy of a site; "": it has."""
        if any(w.site == site for w in self.sums.wholes):
            return ""
        return self.sites[site].building.total.reason or (NO_LEDGER if self.has_ledger else INVOICES_ALONE)

    def coverage_of(self, sites: Iterable[str]) -> Fraction | None:
        """Return the metered share of the total device time of some sites; None if they have no device time."""
        return together({name: self.covered[name] for name in sites}).share

    def node_gap(self, site: str) -> str:
        """Why the energy of a site's nodes is not known as a whole; "": it is."""
        return self.unrecorded(site) or self.sums.node_gap(site)

    def pue(self, site: str) -> Quantity:
        """A site's PUE over the period, measured or stated."""
        site_pue = self.sites[site].building.pue
        return no_quantity(f"no PUE of {site}") if site_pue is None else site_pue.amount


@dataclass(frozen=True, slots=True)
class BoundaryEnergies:
    """Energy of some workloads at each known boundary. An absent one has its reason."""

    busy: BoundedEnergy
    gpu: BoundedEnergy
    node: Quantity
    facility: Quantity

    def at(self, boundary: str) -> Quantity:
        """The energy up to a boundary: gpu, node or facility."""
        return {"gpu": self.gpu.quantity, "node": self.node, "facility": self.facility}[boundary]


def reach(evidence: PeriodEvidence, rows: list[PartEnergy]) -> BoundaryEnergies:
    """Energy of the workloads of these rows, site by site, at every boundary."""
    gpus = [r for r in rows if r.device_class == "gpu"]
    nodes: list[Quantity] = []
    facilities: list[Quantity] = []
    for site, site_rows in by_site(rows).items():
        gap = evidence.node_gap(site)
        node = no_quantity(gap) if gap else held_energy(r for r in site_rows if r.device_class in ("gpu", "host")).quantity
        nodes.append(node)
        facilities.append(node * evidence.pue(site))
    nothing = no_quantity("no energy is recorded for it")
    node, facility = (sum(each, ZERO) if each else nothing for each in (nodes, facilities))
    return BoundaryEnergies(active_energy(gpus), held_energy(gpus), node, facility)
