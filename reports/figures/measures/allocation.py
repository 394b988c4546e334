"""Energy, CO2e, water and cost of each site by team, project and model: the cells of exports that must not count twice.

Every workload is in one cell. A cell's energy is that of the site's widest known boundary (`carbon.boundary`), so the cells of
a site and the part that no workload held sum to the site's own figures.
"""

from collections.abc import Iterator
from fractions import Fraction

from energy_agent.core.quantity import Quantity
from energy_agent.core.units import NS_PER_H
from reports.figures.evidence import PeriodEvidence, reach
from reports.figures.figure import Figure
from reports.figures.measures._measure import FigureSubject, Measure, covered, model_of
from reports.figures.measures.building import SOURCES as WATER_SOURCES
from reports.figures.measures.building import water_of_group
from reports.figures.measures.carbon import (
    LOCATION,
    SHARED,
    boundary,
    by_basis,
    factor_ids,
    group_grams,
    group_market_grams,
    shared_ids,
)
from reports.figures.measures.cost import cost_sources, electricity_cost, is_priced, share_method
from reports.figures.measures.energy import methods
from reports.figures.measures.tokens import SOURCES as TOKEN_SOURCES
from reports.figures.measures.tokens import counter_of
from reports.ledger.sums import PartEnergy

BY_BOUNDARY = {"facility": "node energy times PUE", "node": "GPUs and hosts", "gpu": "GPUs"}


def figures(evidence: PeriodEvidence) -> Iterator[Figure]:
    """Of every site, team, project and model that held energy there."""
    yield from covered(evidence, _figures(evidence))


def _figures(evidence: PeriodEvidence) -> Iterator[Figure]:
    who = evidence.sums.parts
    cells: dict[tuple[str, str, str, str], list[PartEnergy]] = {}
    for row in evidence.sums.part_rows:
        if row.part and row.device_class != "part":
            labels = who[row.part]
            cells.setdefault((row.site, labels.team, labels.project, model_of(labels)), []).append(row)
    for key, rows in sorted(cells.items()):
        site, team, project, model = key
        dims = {"site": site, "team": team, "project": project, "model": model}
        yield from _of_cell(evidence, FigureSubject("/" + "/".join(map(_escaped, key)), dims), site, rows)


def _of_cell(evidence: PeriodEvidence, cell: FigureSubject, site: str, rows: list[PartEnergy]) -> Iterator[Figure]:
    site_evidence = evidence.sites[site]
    within, reached = boundary(evidence, site), reach(evidence, rows)
    yield cell.energy("energy.allocated.gpu", reached.gpu, methods(evidence, "gpu", site))
    yield cell.figure("energy.allocated", reached.at(within), "J", BY_BOUNDARY[within], within)
    for quantity, grams, how, ids in (
        ("location", group_grams(evidence, site, rows), LOCATION, factor_ids([site_evidence.grid.location])),
        ("market", group_market_grams(evidence, site, rows), SHARED, shared_ids(evidence, [site])),
    ):
        figure = cell.figure(f"co2e.allocated.{quantity}", grams, "g", how, within, factor_ids=ids)
        yield from by_basis(evidence, [site], figure)
    if site_evidence.building.liters.value is not None:
        liters, how = water_of_group(evidence, site, rows), "the site's water, by share of its IT energy"
        yield cell.figure("water.allocated", liters, "L", how, "facility", sources=WATER_SOURCES)
    if is_priced(site_evidence):
        cost, currency = electricity_cost(evidence, rows)
        how, sources = share_method([site_evidence], "energy of each cell times its price"), cost_sources([site_evidence])
        yield cell.figure("cost.allocated", cost, currency or "money", how, within, sources=sources)
    hours = Quantity(Fraction(sum(row.gpu_ns for row in rows if row.device_class == "gpu"), NS_PER_H))
    yield cell.figure("gpu_hours.allocated", hours, "GPU h", "allocated time", "gpu")
    parts = {row.part for row in rows}
    counts: dict[str, int] = {}
    for total in evidence.sums.tokens:
        if total.site == site and total.part in parts:
            counts[total.phase] = counts.get(total.phase, 0) + total.tokens
    for phase, count in sorted(counts.items()):
        quantity, unit = counter_of(phase)
        identity = f"{quantity}.allocated{cell.suffix}"
        yield Figure(identity, Fraction(count), unit, "counter", "gpu", sources=TOKEN_SOURCES, dims=cell.dims)


def _escaped(name: str) -> str:
    """A name without the character that separates the names of an ID."""
    return name.replace("%", "%25").replace("/", "%2F")


SPEC = Measure("energy, CO2e, water and cost by site, team, project and model", figures)
