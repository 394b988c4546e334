"""What a measure is: a pure function from evidence to figures. One file here is one measure, with a `SPEC`."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import Final

from energy_agent.core.quantity import Quantity
from reports.figures.energy import BoundedEnergy
from reports.figures.evidence import INVOICES_ALONE, PeriodEvidence
from reports.figures.figure import LEDGER, Figure, amount_figure, energy_figure, rounded
from reports.ledger.sums import PartEnergy, PartLabels

COVERED = ("energy.", "co2e.", "j_per_token.", "wh_per_request.")
"""What figures with a coverage are called."""
HELD = ("energy.held", "co2e.held", "co2e.lifecycle.held", "j_per_token.", "wh_per_request.")
"""What figures of groups of workloads are called."""

RECORDED = (*HELD, "energy.gpu", "energy.host", "gpu_hours", "water.held", "uncertainty/")
"""What figures are called that only a ledger gives: without one, no workload and no device is known to have used nothing."""


@dataclass(frozen=True, slots=True)
class Measure:
    """One file's figures."""

    summary: str
    figures: Callable[[PeriodEvidence], Iterable[Figure]]


@dataclass(frozen=True, slots=True)
class FigureSubject:
    """What figures are of: a site, a group of workloads, or everything. `suffix` ends their IDs."""

    suffix: str = ""
    dims: Mapping[str, str] = field(default_factory=dict)

    def figure(
        self,
        quantity: str,
        amount: Quantity,
        unit: str,
        method: str,
        within: str,
        more: Mapping[str, str] | None = None,
        *,
        sources: tuple[str, ...] = LEDGER,
        factor_ids: tuple[str, ...] = (),
    ) -> Figure:
        """An amount of it, with `more` dims."""
        dims, identity = {**self.dims, **(more or {})}, f"{quantity}{self.suffix}"
        return amount_figure(identity, amount, unit, method, within, sources=sources, factor_ids=factor_ids, dims=dims)

    def energy(self, quantity: str, energy: BoundedEnergy, method: str, within: str = "gpu") -> Figure:
        """A sum of the ledger, in J to the last uJ."""
        return energy_figure(f"{quantity}{self.suffix}", energy, method, within, dims=self.dims)


ALL: Final = FigureSubject()
"""Everything."""


def of_site(name: str) -> FigureSubject:
    """A site."""
    return of_group("site", name)


def of_group(dimension: str, name: str) -> FigureSubject:
    """What has this name in a dimension."""
    return FigureSubject(f"/{dimension}/{name}", {dimension: name})


def project_of(who: PartLabels) -> str:
    """A project's name, with its team's before it."""
    return f"{who.team}/{who.project}" if who.team and who.project else who.project


def model_of(who: PartLabels) -> str:
    """A model's name, with its precision where it is known."""
    return f"{who.model} ({who.precision})" if who.model and who.precision else who.model


def covered(evidence: PeriodEvidence, figures: Iterable[Figure]) -> Iterator[Figure]:
    """Add coverage to figures: that of their own sites, of the sites where a group ran, or of all sites together.

    Figures from a building's meters have no coverage: their PUE shows how much of the period was read.
    """
    sites_of = {of.suffix: frozenset(row.site for row in rows) for of, rows in groups(evidence) if of.suffix}
    cache: dict[frozenset[str], Fraction | None] = {}
    for figure in figures:
        sites = _sites(evidence, figure, sites_of)
        is_workload_figure = figure.id.startswith(HELD)
        metered = not is_workload_figure and any(evidence.sites[name].building.measured for name in sites)
        of_meters = metered and figure.boundary not in ("gpu", "gpu+cpu", "node")
        if figure.value is None or of_meters or not figure.id.startswith(COVERED):
            yield figure
        else:
            if sites not in cache:
                share = evidence.coverage_of(sites)
                cache[sites] = None if share is None else rounded(share, "down")
            yield replace(figure, coverage=cache[sites])


def of_known_sources(evidence: PeriodEvidence, figures: Iterable[Figure]) -> Iterator[Figure]:
    """Yield figures; of sites without energy in a ledger, those that only a ledger gives are absent, others are of invoices."""
    reasons = {name: evidence.unrecorded(name) for name in sorted(evidence.sites)}
    for figure in figures:
        why = [reasons[name] for name in (_sites(evidence, figure, {}) if any(reasons.values()) else ())]
        if figure.value is None or not why or not all(why):
            yield figure
        elif figure.id.startswith(RECORDED):
            reason = INVOICES_ALONE if len(why) > 1 else why[0]
            yield replace(figure, value=None, low=None, high=None, coverage=None, reason=reason)
        else:
            sources = dict.fromkeys("invoices" if source in LEDGER else source for source in figure.sources)
            yield replace(figure, sources=tuple(sources))


def _sites(evidence: PeriodEvidence, figure: Figure, sites_of: Mapping[str, frozenset[str]]) -> frozenset[str]:
    if "site" in figure.dims:
        return frozenset([figure.dims["site"]])
    groups_of = [f"/{name}/{value}" for name, value in figure.dims.items()] if figure.id.startswith(HELD) else []
    return next((sites_of[suffix] for suffix in groups_of if suffix in sites_of), frozenset(evidence.sites))


def held_rows(evidence: PeriodEvidence, site: str = "") -> list[PartEnergy]:
    """Energy that workloads held, at a site or at all; processors and memory are in their host."""
    return [row for row in evidence.sums.part_rows if row.part and row.device_class != "part" and site in ("", row.site)]


def groups(evidence: PeriodEvidence) -> Iterator[tuple[FigureSubject, list[PartEnergy]]]:
    """Yield (group, rows) of everything, and of each dimension of energy: site, team, project, model, kind.

    Within a dimension each row belongs to one group, so groups sum to the energy of all workloads. "" groups unlabelled
    workloads.
    """
    who = evidence.sums.parts
    named: dict[str, Callable[[PartEnergy], str]] = {
        "site": lambda row: row.site,
        "team": lambda row: who[row.part].team,
        "project": lambda row: project_of(who[row.part]),
        "model": lambda row: model_of(who[row.part]),
        "kind": lambda row: who[row.part].kind,
    }
    rows = held_rows(evidence)
    yield ALL, rows
    for dimension, name_of in named.items():
        by_name: dict[str, list[PartEnergy]] = {}
        for row in rows:
            by_name.setdefault(name_of(row), []).append(row)
        if by_name.keys() == {""}:
            continue  # no workload has this label
        for name in sorted(by_name):
            yield of_group(dimension, name), by_name[name]
