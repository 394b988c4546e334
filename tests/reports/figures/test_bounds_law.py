"""Bounds of energy and CO2e are never narrower than by the rules of docs/report-methods.md, stated here a second time.

Sums of the ledger: gains and edges add linearly, a gap raises the upper bound only, devices without a stated error have no
bounds, and a gap without a bound leaves no upper bound. Energy times a PUE: from the product of the lower bounds to that of the
upper ones. Over sites, errors of sensors and of a shared factor add linearly; those of the building meters and of the factors
of different sites are independent. CO2e: the root of the summed squares of the errors of energy and factor.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from itertools import chain
from math import isqrt
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from energy_agent.core.quantity import Quantity, Unit
from energy_agent.factors.basis import Basis, EmissionBoundary
from energy_agent.factors.join import CarbonTotal, SourceUse
from energy_agent.site.building.pue import stated_pue
from reports.figures.evidence import PeriodEvidence, SiteEvidence
from reports.figures.figure import Figure
from reports.figures.measures import carbon, energy
from reports.inputs.organisation import Organisation
from reports.ledger.sums import DeviceClassEnergy, LedgerSums, MeteredNode, SiteWindow
from reports.site.building import BuildingEnergy
from reports.site.grid import Grid
from tests.support import examples

HOUR_NS = 3_600_000_000_000
FINE = 10**30
SEEDS = st.integers(0, 2**64)
Bound = Fraction | None


@dataclass(frozen=True)
class Interval:
    """A value with its bounds, by the rules."""

    value: Fraction
    low: Bound
    high: Bound

    @property
    def errors(self) -> tuple[Bound, Bound]:
        low = None if self.low is None else self.value - self.low
        return low, None if self.high is None else self.high - self.value


@dataclass(frozen=True)
class SiteRules:
    """One site: its rows of the ledger, its PUE or its meters, and its factor."""

    name: str
    gpus: list[DeviceClassEnergy]
    hosts: list[DeviceClassEnergy]
    pue: tuple[Fraction, Fraction] | None
    metered: Interval | None
    factor: str
    quality: int
    g_per_kwh: Fraction

    @property
    def node(self) -> Interval:
        return ledger_sum([*self.gpus, *self.hosts])

    @property
    def widest(self) -> Interval:
        """At the building if it is metered or a PUE is stated, else at the nodes, else at the GPUs."""
        if self.metered is not None:
            return self.metered
        if self.pue is None or not self.hosts:
            return self.node if self.hosts else ledger_sum(self.gpus)
        value, error = self.pue
        least = max(Fraction(1), value * (1 - error))
        return Interval(
            self.node.value * value,
            None if self.node.low is None else self.node.low * least,
            None if self.node.high is None else self.node.high * value * (1 + error),
        )

    @property
    def grams(self) -> Fraction:
        return self.widest.value * self.g_per_kwh / (3600 * 10**9)

    @property
    def of_factor(self) -> Fraction:
        """Error of the factor, g."""
        return self.grams * Fraction([2, 5, 7, 10, 15][self.quality - 1], 100)

    @property
    def of_energy(self) -> tuple[Bound, Bound]:
        """Errors of the energy, g."""
        low, high = (None if error is None else error * self.grams / self.widest.value for error in self.widest.errors)
        return low, high

    @property
    def cause(self) -> str:
        return "sensors" if self.metered is None else self.name


def ledger_sum(rows: Iterable[DeviceClassEnergy]) -> Interval:
    every = list(rows)
    value = sum(row.energy_uj for row in every)
    error = sum(row.gain_uj + row.edge_uj for row in every)
    low, high = max(0, value - error), value + error + sum(row.gap_uj for row in every)
    unbounded, is_open = (any(getattr(row, name) for row in every) for name in ("unbounded", "open"))
    return Interval(Fraction(value), None if unbounded else Fraction(low), None if unbounded or is_open else Fraction(high))


def root(errors: Iterable[Bound]) -> Bound:
    """The root of the summed squares, rounded down."""
    causes = list(errors)
    if None in causes:
        return None
    square = sum((error * error for error in causes if error is not None), Fraction(0))
    return Fraction(isqrt(int(square * FINE * FINE)), FINE)


def together(sites: list[SiteRules], of_group: str, errors: list[Bound]) -> list[Bound]:
    """Errors of sites with one cause, added linearly."""
    groups: dict[str, list[Bound]] = {}
    for site, error in zip(sites, errors, strict=True):
        groups.setdefault(getattr(site, of_group), []).append(error)
    return [None if None in group else sum((e for e in group if e is not None), Fraction(0)) for group in groups.values()]


def with_errors(value: Fraction, low: Bound, high: Bound) -> Interval:
    return Interval(value, None if low is None else max(Fraction(0), value - low), None if high is None else value + high)


def energy_of_all(sites: list[SiteRules]) -> Interval:
    ends = (root(together(sites, "cause", [site.widest.errors[side] for site in sites])) for side in (0, 1))
    return with_errors(sum((site.widest.value for site in sites), Fraction(0)), *ends)


def grams_of_all(sites: list[SiteRules]) -> Interval:
    factors = together(sites, "factor", [site.of_factor for site in sites])
    ends = (root([*together(sites, "cause", [site.of_energy[side] for site in sites]), *factors]) for side in (0, 1))
    return with_errors(sum((site.grams for site in sites), Fraction(0)), *ends)


def random_row(random: Random, site: str, device_class: str, sku: str) -> DeviceClassEnergy:
    uj = random.randint(1, 10 ** random.randint(6, 16))
    gain, edge, gap = (random.choice([0, random.randint(0, uj // share)]) for share in (20, 50, 10))
    unbounded, is_open = (int(random.random() < 0.05) for _ in range(2))
    return DeviceClassEnergy(site, device_class, sku, uj, edge, gap, 0, HOUR_NS, 1, 1, unbounded, gain, is_open)


def random_site(random: Random, name: str) -> SiteRules:
    gpus = [random_row(random, name, "gpu", sku) for sku in ("H100", "B200", "L4")[: random.randint(1, 3)]]
    hosts = [random_row(random, name, "host", "")] if random.random() < 0.8 else []
    pue = (1 + Fraction(random.randint(0, 90), 100), Fraction(random.randint(0, 20), 100)) if random.random() < 0.5 else None
    metered = None
    if random.random() < 0.4:
        value = Fraction(random.randint(10**9, 10**16))
        low, high = (value * Fraction(random.randint(0, 100), 1000) for _ in range(2))
        metered = Interval(value, *(random.choice([end, end, None]) for end in (value - low, value + high)))
    factor = random.choice(["shared", f"own of {name}"])
    return SiteRules(name, gpus, hosts, pue, metered, factor, random.randint(1, 5), Fraction(random.randint(1, 9000), 10))


def evidence_of(sites: list[SiteRules]) -> PeriodEvidence:
    window = SiteWindow(0, HOUR_NS)
    facts_by_name = {}
    for site in sites:
        building = BuildingEnergy(site.name, stated_pue(0, *site.pue) if site.pue else None)
        if site.metered is not None:
            total = Quantity(site.metered.value, site.metered.low, site.metered.high, unit=Unit.UJ)
            building = BuildingEnergy(site.name, building.pue, total=total, bought=total)
        uj = max(1, int(site.widest.value))
        grams = uj * site.g_per_kwh / (3600 * 10**9)
        located = CarbonTotal(
            Basis(EmissionBoundary.DIRECT), (SourceUse(site.factor, uj, grams, HOUR_NS, site.quality, 0, ()),)
        )
        facts_by_name[site.name] = SiteEvidence(site.name, window, None, building, Grid(location=located, uj=uj))
    sums = LedgerSums(
        {site.name: window for site in sites}, simulated=False, parts={},
        wholes=tuple(chain.from_iterable((*site.gpus, *site.hosts) for site in sites)),
        nodes=tuple(MeteredNode(site.name, "", "node", 1, HOUR_NS, HOUR_NS * len(site.hosts)) for site in sites),
        cells={site.name: {} for site in sites},
    )  # fmt: skip
    return PeriodEvidence("2026Q3", sums, facts_by_name, (), Organisation.nothing())


def check(figure: Figure, rules: Interval, scale: int = 1) -> None:
    assert figure.value is not None
    assert abs(figure.value * scale - rules.value) <= rules.value / 10**8
    if figure.low is not None:
        assert rules.low is not None
        assert figure.low * scale <= rules.low
    if figure.high is not None:
        assert rules.high is not None
        assert figure.high * scale >= rules.high


def check_bounds(seed: int) -> None:
    random = Random(seed)
    sites = [random_site(random, name) for name in ("a", "b", "c", "d")[: random.randint(1, 4)]]
    evidence = evidence_of(sites)
    figures = {figure.id: figure for figure in chain(energy.figures(evidence), carbon.figures(evidence))}
    for site in sites:
        check(figures[f"energy.gpu/site/{site.name}"], ledger_sum(site.gpus), 10**6)
        if site.hosts:
            check(figures[f"energy.node/site/{site.name}"], site.node, 10**6)
        if carbon.boundary(evidence, site.name) == "facility":
            check(figures[f"energy.facility/site/{site.name}"], site.widest, 10**6)
        grams = with_errors(site.grams, *(root([error, site.of_factor]) for error in site.of_energy))
        check(figures[f"co2e.location/site/{site.name}"], grams)
    check(figures["energy.gpu"], ledger_sum(row for site in sites for row in site.gpus), 10**6)
    check(figures["energy.inventory"], energy_of_all(sites), 10**6)
    check(figures["co2e.location"], grams_of_all(sites))


@settings(max_examples=examples(300, quick=300))
@given(SEEDS)
def test_bounds_are_never_narrower_than_the_rules(seed: int) -> None:
    check_bounds(seed)


@pytest.mark.proof
@settings(max_examples=10_000)
@given(SEEDS)
def test_bounds_of_ten_thousand_reports_are_never_narrower_than_the_rules(seed: int) -> None:
    check_bounds(seed)
