"""The facts: one typed, versioned document from which every form of the report is rendered. Pure.

The same evidence gives the same document, byte for byte, on any machine: no clock is read, integers are summed as integers and
each quotient is rounded once. An input that is not there leaves an absent figure with its reason.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import pairwise
from typing import Final

from energy_agent.core.errors import WattlensError
from energy_agent.core.units import decimal
from energy_agent.factors.join import IntensitySource
from energy_agent.factors.record import Factor
from reports.figures.evidence import PeriodEvidence
from reports.figures.figure import Figure
from reports.figures.series import ChartSeries, courses
from reports.inputs.organisation import Organisation, SiteInputs
from reports.ledger.days import Day
from reports.period import local_text
from reports.statement import ReportStatement, StatedInput

MATCHES: Final = "the newest publication of the requested zone and year"
"""Why a factor was chosen where nothing about it differs from the request."""
SCHEMA: Final = "wattlens.report.facts/2"


@dataclass(frozen=True, slots=True)
class Conservation:
    """The check that every joule of the GPUs is recorded exactly once: the four buckets against the devices, in uJ.

    `cells_uj` is the same energy summed by cells. Carbon and cost are calculated from it.
    """

    active_uj: int
    idle_uj: int
    unheld_uj: int
    unattributed_uj: int
    device_uj: int
    cells_uj: int

    @property
    def buckets_uj(self) -> int:
        """Sum of the four buckets."""
        return self.active_uj + self.idle_uj + self.unheld_uj + self.unattributed_uj

    @property
    def holds(self) -> bool:
        """Equal to the last microjoule, all three ways."""
        return self.buckets_uj == self.device_uj == self.cells_uj


@dataclass(frozen=True, slots=True)
class SitePeriod:
    """A site's own period: instants as local text, and exactly."""

    time_zone: str
    start: str
    end: str
    start_ns: str
    end_ns: str
    measured: bool  # its building has meters
    first: bool = False  # its first period, which begins with its first reading or invoice
    invoiced: bool = False  # its energy is that of invoices
    declared: Mapping[str, str] = field(default_factory=dict)  # what its operator declares: IT power, floor area, stated PUE


@dataclass(frozen=True, slots=True)
class DayInput:
    """A compacted day that figures are made of."""

    site: str
    day: str
    statement: int
    inputs_sha256: str
    files: Mapping[str, str]
    reason: str = ""
    faults: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class FactorRequest:
    """What a site's grid requested of the factor tables.

    Args:
        zone: the grid's; "" if unknown.
        country: the grid's; "" if unknown.
        years: of the period, such as 2026.
        basis: boundary, accounting and gases.
    """

    site: str
    zone: str
    country: str
    years: str
    basis: str


@dataclass(frozen=True, slots=True)
class UsedFactor:
    """A factor as published, and the hash of the table that it stands in.

    Args:
        requests: the requests that it answers.
        why: why this one was chosen.
    """

    factor: Factor
    sha256: str
    requests: tuple[FactorRequest, ...] = ()
    why: str = ""


@dataclass(frozen=True, slots=True)
class UsedSeries:
    """A series of a grid's intensity, as figures name it, and whose it is."""

    id: str
    zone: str
    basis: str
    publisher: str
    licence: str
    gwp_set: str
    quality: int


@dataclass(frozen=True, slots=True)
class DatapointAnswer:
    """The answer to one datapoint of a framework (reports/frameworks).

    Args:
        edition: of the framework.
        state: answered, estimated, partly, not_applicable or missing.
        unit: in which `values` are.
        values: figure ID -> value, or the ends of a span.
        period: of the values; "" without any.
        boundary: of the values.
        estimated_share: share of estimates in the sites' values, from 0 to 1; "" if sites have none that add up.
        figures: IDs of the figures that answer it: the evidence.
        missing: why figures are absent, and missing inputs; of a datapoint that does not apply, why, if it is known.
    """

    framework: str
    edition: str
    datapoint: str
    state: str
    unit: str
    values: Mapping[str, str]
    period: str
    boundary: str
    estimated_share: str
    figures: tuple[str, ...]
    missing: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class RestatedTotal:
    """A total of the previous edition and of this one."""

    figure: str
    unit: str
    before: str
    after: str
    due: bool  # it moved by so much that comparatives are to be restated


@dataclass(frozen=True, slots=True)
class ChangedInput:
    """An input that differs between two editions."""

    kind: str
    name: str
    change: str

    @property
    def text(self) -> str:
        """One line."""
        return f"{self.kind} {self.name}: {self.change}"


@dataclass(frozen=True, slots=True)
class Facts:
    """The document.

    Args:
        label: such as 2026Q3; "" if the period has no name.
        status: final, or interim if the ledger does not reach the period's end.
        edition: number of editions before this one, which it restates; documents and print count editions from 1.
        restates: SHA-256 of the facts that this edition restates; None for a first edition.
        least_coverage: the required minimum coverage.
        version: version of the program.
        datapoints: the framework index.
        restatement: totals that differ from the previous edition.
        restated_inputs: inputs that differ from the previous edition.
        restatement_reason: why this edition restates the previous one, in the words of who created it.
        statement: who is responsible for the report, and its organisational boundary.
        stated_inputs: every record that was typed into the inputs, of the report's sites.
    """

    organisation: str
    contact: str
    label: str
    status: str
    simulated: bool
    version: str
    least_coverage: str
    sites: Mapping[str, SitePeriod]
    figures: Mapping[str, Figure]
    series: Mapping[str, ChartSeries]
    factors: tuple[UsedFactor, ...]
    grid_series: tuple[UsedSeries, ...]
    days: tuple[DayInput, ...]
    files: tuple[tuple[str, str], ...]
    conservation: Conservation | None  # None without a ledger
    edition: int = 0
    restates: str | None = None
    restatement: tuple[RestatedTotal, ...] = ()
    datapoints: tuple[DatapointAnswer, ...] = ()
    restatement_reason: str = ""
    statement: ReportStatement = field(default_factory=ReportStatement)
    stated_inputs: tuple[StatedInput, ...] = ()
    restated_inputs: tuple[ChangedInput, ...] = ()
    schema: str = SCHEMA

    @property
    def invoices_alone(self) -> bool:
        """Whether the report has no ledger, but only invoices."""
        return self.conservation is None

    @property
    def co2_alone(self) -> frozenset[str]:
        """Sites whose grid factors count CO2 alone, without CH4 and N2O."""
        located = {site: self.figures.get(f"co2e.location/site/{site}") for site in self.sites}
        return frozenset(s for s, f in located.items() if f is not None and f.dims.get("basis", "").endswith(", CO2"))

    @property
    def sites_without_energy(self) -> dict[str, str]:
        """Sites whose energy is not known at any boundary, with the reason; no total contains them."""
        energies = {
            site: [self.figures[f"energy.{name}/site/{site}"] for name in ("facility", "node", "gpu")] for site in self.sites
        }
        return {
            site: site_figures[0].reason or ""
            for site, site_figures in energies.items()
            if all(f.value is None for f in site_figures)
        }

    def boundary_of(self, site: str) -> str:
        """The widest boundary at which a site's energy is known, which is that of its CO2e: facility, node or gpu."""
        return self.figures[f"co2e.location/site/{site}"].boundary

    def value(self, identity: str) -> Fraction | None:
        """The value of a figure; None: there is no such figure, or it is absent."""
        figure = self.figures.get(identity)
        return None if figure is None else figure.value

    def suffixes(self, total: str) -> list[tuple[str, str]]:
        """(name, end of the IDs of its figures) of each site, and of several sites together, which have the name `total`."""
        sites = [(name, f"/site/{name}") for name in self.sites]
        return [*sites, (total, "")] if len(sites) > 1 else sites

    def by_prefix(self, prefix: str) -> list[Figure]:
        """Figures whose id starts with `prefix`, in id order."""
        return [self.figures[i] for i in sorted(self.figures) if i.startswith(prefix)]

    def of(self, quantity: str, dimension: str) -> list[Figure]:
        """The figures of a quantity by a dimension, such as energy.held by team."""
        return self.by_prefix(f"{quantity}/{dimension}/")


def build_facts(
    evidence: PeriodEvidence,
    figures: Iterable[Figure],
    days: Sequence[Day],
    version: str,
    *,
    edition: int = 0,
    restates: str | None = None,
) -> Facts:
    """The facts of a period.

    Args:
        evidence: all of it.
        figures: what the measures made of it.
        days: the compacted days that it was read from.
        version: version of the program.
        edition: number of this edition.
        restates: SHA-256 of the facts that it restates.

    Raises:
        WattlensError: the buckets do not add up to the devices' energy, so no figure may be published.
    """
    conservation = conserved(evidence)
    if not conservation.holds:
        raise WattlensError(
            f"the ledger does not add up: buckets sum to {conservation.buckets_uj} uJ, devices to {conservation.device_uj} uJ, "
            f"cells to {conservation.cells_uj} uJ; run `wattlens ledger verify` and compact again"
        )
    organisation = evidence.organisation
    factors = {
        f.id: UsedFactor(f, digest, _requests(evidence, f.id), _why(organisation, f.id) or MATCHES)
        for s in organisation.sites.values()
        for f, digest in s.factors
    }
    sorted_figures = sorted(figures, key=lambda f: f.id)
    if twice := next((a.id for a, b in pairwise(sorted_figures) if a.id == b.id), None):
        raise WattlensError(f"two figures have the name {twice!r}: names in the ledger or the inputs collide; change one")
    used = {i for f in sorted_figures for i in f.factor_ids}
    return Facts(
        organisation=organisation.name,
        contact=organisation.report_contact,
        label=evidence.label,
        status="interim" if any(w.open for w in evidence.sums.windows.values()) else "final",
        simulated=evidence.sums.simulated,
        version=version,
        least_coverage=decimal(round(organisation.least_coverage * 10**9), 10**9),
        sites={name: _site(evidence, name) for name in sorted(evidence.sites)},
        figures={f.id: f for f in sorted_figures},
        series=courses(evidence),
        factors=tuple(factors[i] for i in sorted(factors) if i in used),
        grid_series=_grid_series(evidence, used),
        days=tuple(
            DayInput(d.site, d.day.isoformat(), d.statement, d.inputs_sha256, d.files, d.reason, d.faults) for d in days
        ),
        files=organisation.files,
        conservation=conservation if evidence.has_ledger else None,
        edition=edition,
        restates=restates,
        statement=organisation.statement,
        stated_inputs=(
            *(each for name in sorted(evidence.sites) for each in _inputs_of(evidence, name)),
            *organisation.stated_inputs,
        ),
    )


def _inputs_of(evidence: PeriodEvidence, name: str) -> tuple[StatedInput, ...]:
    inputs = evidence.sites[name].inputs
    return () if inputs is None else inputs.stated_inputs


def conserved(evidence: PeriodEvidence) -> Conservation:
    """Every joule of the GPUs, three ways."""
    rows = [s for s in evidence.sums.states if s.device_class == "gpu"]
    by_state = {name: sum(r.energy_uj for r in rows if r.state == name) for name in ("active", "idle", "unheld")}
    return Conservation(
        **{f"{name}_uj": uj for name, uj in by_state.items()},
        unattributed_uj=sum(r.energy_uj for r in rows if r.state not in by_state),
        device_uj=sum(w.energy_uj for w in evidence.sums.wholes if w.device_class == "gpu"),
        cells_uj=sum(gpu for cells in evidence.sums.cells.values() for gpu, _ in cells.values()),
    )


def _requests(evidence: PeriodEvidence, factor: str) -> tuple[FactorRequest, ...]:
    """The requests that a factor answers, by site."""
    requests = []
    for name, site in sorted(evidence.sites.items()):
        if site.inputs is None:
            continue
        ends = (local_text(t, site.inputs.zone.key)[:4] for t in (site.window.start_ns, site.window.end_ns - 1))
        years = " to ".join(dict.fromkeys(ends))
        bases = [str(s.basis) for s in _sources(site.inputs) if s.id == factor]
        requests += [FactorRequest(name, site.inputs.grid_zone, site.inputs.country, years, b) for b in dict.fromkeys(bases)]
    return tuple(requests)


def _sources(site: SiteInputs) -> Iterator[IntensitySource]:
    """Every source of a site's factors."""
    yield from (*site.location, *site.residual)
    for sources in site.supply.values():
        yield from sources


def _why(organisation: Organisation, factor: str) -> str:
    """Why no better factor was taken, at any site that takes this one."""
    sources = (source for site in organisation.sites.values() for source in _sources(site))
    return "; ".join(dict.fromkeys(reason for source in sources if source.id == factor for reason in source.reasons))


def _grid_series(evidence: PeriodEvidence, used: set[str]) -> tuple[UsedSeries, ...]:
    by_id = {i: about for site in evidence.organisation.sites.values() for i, about in site.series if i in used}
    return tuple(
        UsedSeries(i, a.zone, str(a.basis), a.publisher, a.licence, a.gwp_set, a.quality) for i, a in sorted(by_id.items())
    )


def _site(evidence: PeriodEvidence, name: str) -> SitePeriod:
    site = evidence.sites[name]
    window, inputs = site.window, site.inputs
    zone = "UTC" if inputs is None else inputs.zone.key
    declared = {}
    if inputs is not None:
        declarations = (
            ("it_kw", inputs.it_kw),
            ("floor_m2", inputs.floor_m2),
            ("country", inputs.country),
            ("grid_zone", inputs.grid_zone),
        )
        declared = {key: str(value) for key, value in declarations if value}
        if inputs.stated is not None:
            declared |= {"pue": decimal(round(inputs.stated[0] * 10**6), 10**6), "pue_source": inputs.stated_source}
    bounds = local_text(window.start_ns, zone), local_text(window.end_ns, zone), str(window.start_ns), str(window.end_ns)
    return SitePeriod(zone, *bounds, site.building.measured, window.first, site.building.invoiced, declared)
