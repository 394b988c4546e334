"""Energy, CO2e, water and cost of each site by team, project and model: the cells of exports that must not count twice.

Every workload is in one cell. A cell's energy is that of the site's widest known boundary (`carbon.boundary`), so the cells of
a site and the part that no workload held sum to the site's own figures.
"""

from collections.abc import Iterator
from fractions import Fraction

from energy_agent.core.quantity import Quantity
from energy_agent.core.units import NS_PER_H, UJ_PER_J
from reports.figures.evidence import PeriodEvidence, reach
from reports.figures.figure import Figure, amount_figure, energy_figure
from reports.figures.measures._measure import Measure, covered, model_of
from reports.figures.measures.building import SOURCES as WATER_SOURCES
from reports.figures.measures.building import water_of_group
from reports.figures.measures.carbon import (
    LOCATION,
    MARKET,
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
_J = Fraction(1, UJ_PER_J)


def figures(evidence: PeriodEvidence) -> Iterator[Figure]:
    """Of every site, team, project and model that held energy there."""
    yield from covered(evidence, _figures(evidence))


def _figures(evidence: PeriodEvidence) -> Iterator[Figure]:
    who = evidence.sums.parts
    cells: dict[tuple[str, str, str, str], list[PartEnergy]] = {}
    for row in evidence.sums.held:
        if row.part and row.device_class != "part":
            labels = who[row.part]
            cells.setdefault((row.site, labels.team, labels.project, model_of(labels)), []).append(row)
    for key, rows in sorted(cells.items()):
        site, team, project, model = key
        dims = {"site": site, "team": team, "project": project, "model": model}
        yield from _of_cell(evidence, "/".join(map(_escaped, key)), dims, rows)


def _of_cell(evidence: PeriodEvidence, cell: str, dims: dict[str, str], rows: list[PartEnergy]) -> Iterator[Figure]:
    site = dims["site"]
    within, reached = boundary(evidence, site), reach(evidence, rows)
    gpus = [row for row in rows if row.device_class == "gpu"]
    yield energy_figure(f"energy.allocated.gpu/{cell}", reached.gpu, methods(evidence, "gpu", site), "gpu", dims=dims)
    yield amount_figure(f"energy.allocated/{cell}", reached.at(within), "J", BY_BOUNDARY[within], within, dims=dims, scale=_J)
    located, shared = factor_ids([evidence.sites[site].grid.location]), shared_ids(evidence, [site])
    for quantity, grams, how, ids in (
        ("location", group_grams(evidence, site, rows), LOCATION, located),
        ("market", group_market_grams(evidence, site, rows), f"{MARKET}, in proportion to location-based", shared),
    ):
        figure = amount_figure(f"co2e.allocated.{quantity}/{cell}", grams, "g", how, within, factor_ids=ids, dims=dims)
        yield from by_basis(evidence, [site], figure)
    yield from _rest_of_cell(evidence, cell, dims, rows)
    hours = Quantity(Fraction(sum(row.gpu_ns for row in gpus), NS_PER_H))
    yield amount_figure(f"gpu_hours.allocated/{cell}", hours, "GPU h", "allocated time", "gpu", dims=dims)
    parts = {row.part for row in rows}
    counts: dict[str, int] = {}
    for total in evidence.sums.tokens:
        if total.site == site and total.part in parts:
            counts[total.phase] = counts.get(total.phase, 0) + total.tokens
    for phase, count in sorted(counts.items()):
        identity, unit = counter_of(phase)
        identity = f"{identity}.allocated/{cell}"
        yield Figure(identity, Fraction(count), unit, "counter", "gpu", sources=TOKEN_SOURCES, dims=dims)


def _rest_of_cell(evidence: PeriodEvidence, cell: str, dims: dict[str, str], rows: list[PartEnergy]) -> Iterator[Figure]:
    """Water and cost, where a site has them."""
    site = dims["site"]
    if evidence.sites[site].building.liters.value is not None:
        liters = water_of_group(evidence, site, rows)
        yield amount_figure(f"water.allocated/{cell}", liters, "L", "the site's water, by share of its IT energy", "facility",
                            sources=WATER_SOURCES, dims=dims)  # fmt: skip
    if is_priced(evidence.sites[site]):
        cost, currency = electricity_cost(evidence, rows)
        own = [evidence.sites[site]]
        how = share_method(own, "energy of each cell times its price")
        yield amount_figure(f"cost.allocated/{cell}", cost, currency or "money", how, boundary(evidence, site),
                            sources=cost_sources(own), dims=dims)  # fmt: skip


def _escaped(name: str) -> str:
    """A name without the character that separates the names of an ID."""
    return name.replace("%", "%25").replace("/", "%2F")


SPEC = Measure("energy, CO2e, water and cost by site, team, project and model", figures)
