"""Inputs of an organisation as plain values: sites, inventory, teams, prices and hardware. Pure.

`wattlens.report` reads the files. A report without inputs uses `Organisation.nothing()`. A value that the files do not give is
None, empty or "", with a reason if a reader would expect one.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from fnmatch import fnmatchcase
from fractions import Fraction
from typing import Final
from zoneinfo import ZoneInfo

from energy_agent.core.meters.facility import MeterFacts
from energy_agent.factors.basis import EmissionBoundary
from energy_agent.factors.join import IntensitySource
from energy_agent.factors.record import Factor
from energy_agent.factors.series import About
from energy_agent.ledger.fleet.sites import DeviceLocation, Sites
from reports.inputs.invoices import ElectricityInvoice, with_readings
from reports.inputs.matching import Lot
from reports.inputs.records import EmbodiedDeclaration, GpuHourPrice, ModelName, TeamRule
from reports.inputs.supplier import SupplierRate
from reports.inputs.tariffs import Tariff
from reports.inputs.water import WaterRecord
from reports.statement import ReportedPeriod, ReportStatement, StatedInput

LEAST_COVERAGE: Final = Fraction(95, 100)
VARIANCE: Final = Fraction(5, 100)
NO_GRID: Final = "no input has the grid's zone or country"
NO_RESIDUAL: Final = "no input has a residual mix of the grid"


@dataclass(frozen=True, slots=True)
class SiteInputs:
    """A site.

    Args:
        stated: (PUE, bound of its relative error) that the operator states; None if it states none.
        stated_source: who states it.
        bound_assumed: whether that bound is our default, because the operator states none.
        location: sources of grid intensity, best first: hourly series as known at the report's `as_of`, then yearly factors;
            for `factors.join.join`.
        location_lacking: which sources are missing, and why; "" if none is missing.
        residual: sources of the residual mix, for energy that no contract covers.
        residual_lacking: as `location_lacking`, for `residual`.
        supply: sources of fuel supply and grid losses (Scope 3, category 3) and of biogenic CO2, by what they count.
        factors: each yearly factor that these use, with the SHA-256 of its table.
        series: source details of each hourly series, by the ID that figures use.
        grid_zone: the grid's zone; "" if unknown. Lots of another market cover nothing.
        country: ISO 3166-1 alpha-3; "" if unknown.
        lots: deliveries of contracts and certificates within the window of the report, by start.
        bought: number of declared contracts and certificates, of any time.
        accepted_beneficiaries: (contract, beneficiary) where others retired the certificates on behalf of the organisation.
        refused_beneficiaries: (contract, reason) where they were retired for somebody else.
        supplier_rates: supplier-specific rates by their start, of any time; no two at once.
        with_revision: whether the figure by the draft revision of the Scope 2 Guidance is requested.
        tariffs: tariffs by first day; at most one is valid on a day.
        meters: declared meters. A declared meter that the ledger does not have was never read.
        it_kw: installed IT power; None if unknown.
        on_site_kept: whether the certificates of on-site generation were kept, not sold; None if not stated.
        factor_error: relative 95 % error of the grid's factors; None: assumed by their quality class.
        floor_m2: floor area; None if unknown.
        stated_inputs: every record that was typed in for the site.
        invoices: invoiced electricity, by start.
        credits: negative amounts for days that `invoices` have; their energy does not count.
        readings: energy between readings of the supply meters, by meter and start.
    """

    name: str
    zone: ZoneInfo
    stated: tuple[Fraction, Fraction] | None = None
    stated_source: str = ""
    bound_assumed: bool = False
    location: tuple[IntensitySource, ...] = ()
    location_lacking: str = NO_GRID
    residual: tuple[IntensitySource, ...] = ()
    residual_lacking: str = NO_RESIDUAL
    supply: Mapping[EmissionBoundary, tuple[IntensitySource, ...]] = field(default_factory=dict)
    factors: tuple[tuple[Factor, str], ...] = ()
    series: tuple[tuple[str, About], ...] = ()
    grid_zone: str = ""
    country: str = ""
    lots: tuple[Lot, ...] = ()
    bought: int = 0
    accepted_beneficiaries: tuple[tuple[str, str], ...] = ()
    refused_beneficiaries: tuple[tuple[str, str], ...] = ()
    supplier_rates: tuple[SupplierRate, ...] = ()
    with_revision: bool = False
    tariffs: tuple[Tariff, ...] = ()
    water: tuple[WaterRecord, ...] = ()
    meters: tuple[MeterFacts, ...] = ()
    it_kw: Decimal | None = None
    factor_error: Fraction | None = None
    on_site_kept: bool | None = None
    floor_m2: Decimal | None = None
    stated_inputs: tuple[StatedInput, ...] = ()
    invoices: tuple[ElectricityInvoice, ...] = ()
    credits: tuple[ElectricityInvoice, ...] = ()
    readings: tuple[ElectricityInvoice, ...] = ()

    @property
    def supplied(self) -> tuple[ElectricityInvoice, ...]:
        """Invoices, and readings where one is missing or estimated: the energy of a site without meters in the ledger."""
        return with_readings(self.invoices, self.readings)


@dataclass(frozen=True, slots=True)
class ExpectedDevice:
    """A device expected at a site over [start_ns, end_ns), UTC ns: the basis of coverage.

    Args:
        uuid: "": all GPUs of the node that no other line lists.
        sku: "" if unknown.
        end_ns: `ledger.rows.INT64_MAX` if the device is still installed.
    """

    cluster: str
    node: str
    uuid: str
    sku: str
    site: str
    start_ns: int
    end_ns: int


@dataclass(frozen=True, slots=True)
class SoftwareEstimate:
    """Energy of one run that software estimated on a machine without a meter of ours, such as a laptop or a cloud instance.

    Args:
        id: of the run.
        start_ns: UTC ns.
        end_ns: UTC ns.
        team: "" if unknown.
        host: name of the machine; "" if unknown.
        place: country (ISO 3166-1 alpha-3), or provider and region of a cloud.
        kind: host or cloud.
        energy_uj: over the whole run.
        grams: CO2e by the software; None if it states none.
        basis: software, its version, and the basis of its factors.
        source: file that it was read from.
        row: number of its row there.
    """

    id: str
    start_ns: int
    end_ns: int
    team: str
    host: str
    place: str
    kind: str
    energy_uj: int
    grams: Decimal | None
    basis: str
    source: str
    row: int


@dataclass(frozen=True, slots=True)
class PowerEstimate:
    """Power that software estimates, in W, with its bounds."""

    w: Decimal
    low_w: Decimal
    high_w: Decimal


@dataclass(frozen=True, slots=True)
class HostHardware:
    """Processors and memory of nodes, with the power that CodeCarbon estimates for them.

    Args:
        node: glob over the names of nodes.
        cluster: glob over the names of their clusters.
        cpu: of all processors of a node.
        ram: of its memory.
        basis: the hardware as declared, and where its power is from.
    """

    node: str
    cluster: str
    cpu: PowerEstimate
    ram: PowerEstimate
    basis: str

    @property
    def powers(self) -> dict[str, PowerEstimate]:
        """By component."""
        return {"cpu": self.cpu, "ram": self.ram}


@dataclass(frozen=True, slots=True)
class Organisation:
    """All inputs of an organisation.

    Args:
        name: "" if not given.
        report_contact: the contact for questions about the report.
        least_coverage: minimum coverage; a report below it is refused.
        sites: sites by name, in the order of the files.
        expected: the inventory.
        teams: rules; `team_of` selects the rule that applies.
        embodied: the first rule whose glob matches applies.
        model_names: printed names by the model's name in the ledger.
        files: (path as given, SHA-256) of every file that was read.
        statement: who is responsible for the report.
        reported: totals of earlier periods, as earlier reports stated them.
        stated_inputs: every record that was typed in and belongs to no site.
        estimates: runs that software estimated, outside the ledger.
        hosts: processors and memory of nodes; the first entry whose globs match applies.
        variance: relative difference of invoice, meter and ledger above which the report states a finding.
        warnings: odd values and unused instruments, each with its key or cell.
    """

    name: str = ""
    report_contact: str = ""
    least_coverage: Fraction = LEAST_COVERAGE
    sites: Mapping[str, SiteInputs] = field(default_factory=dict)
    expected: tuple[ExpectedDevice, ...] = ()
    teams: tuple[TeamRule, ...] = ()
    prices: tuple[GpuHourPrice, ...] = ()
    embodied: tuple[EmbodiedDeclaration, ...] = ()
    model_names: Mapping[str, ModelName] = field(default_factory=dict)
    files: tuple[tuple[str, str], ...] = ()
    statement: ReportStatement = field(default_factory=ReportStatement)
    reported: tuple[ReportedPeriod, ...] = ()
    stated_inputs: tuple[StatedInput, ...] = ()
    estimates: tuple[SoftwareEstimate, ...] = ()
    hosts: tuple[HostHardware, ...] = ()
    variance: Fraction = VARIANCE
    warnings: tuple[str, ...] = ()

    @classmethod
    def nothing(cls) -> "Organisation":
        """Of a report without any input."""
        return cls()

    def stays(self, default: str | None = None) -> Sites:
        """The inventory as `ledger.compact` wants it; `default` is the site of what it does not know, None: an error."""
        by_device: dict[tuple[str, str, str], list[DeviceLocation]] = {}
        for each in self.expected:
            by_device.setdefault((each.cluster, each.node, each.uuid), []).append(
                DeviceLocation(each.site, each.start_ns, each.end_ns)
            )
        return Sites({key: tuple(stays) for key, stays in by_device.items()}, default)


def team_of(labels: Mapping[str, str], kind: str, workload: str, rules: Iterable[TeamRule]) -> tuple[str, str, str]:
    """Return (team, project, price class) of a workload; each is "" if nothing assigns it.

    Team and project belong together: they come from the first matching rule that assigns either. The price class comes from the
    first matching rule that assigns one, so one rule for a spot partition serves every team. Values that no rule assigns come
    from the workload's own labels `team`, `project` and `class`.
    """
    all_labels = {**labels, "kind": kind, "workload": workload}
    label_team = (labels.get("team", ""), labels.get("project", ""))
    team: tuple[str, str] | None = None
    price_class = ""
    for rule in rules:
        of_team, of_class = team is None and bool(rule.team or rule.project), not price_class and bool(rule.price_class)
        if (of_team or of_class) and rule.holds(all_labels):
            team = (rule.team or label_team[0], rule.project or label_team[1]) if of_team else team
            price_class = rule.price_class if of_class else price_class
        if team is not None and price_class:
            break
    return *(team or label_team), price_class or labels.get("class", "")


def price_of(price_class: str, prices: Sequence[GpuHourPrice]) -> GpuHourPrice | None:
    """The price of a class, else that of "" (every other); None: there is neither."""
    by_class = {each.price_class: each for each in prices}
    return by_class.get(price_class, by_class.get(""))


def host_of(cluster: str, node: str, hosts: Iterable[HostHardware]) -> HostHardware | None:
    """The first entry that is about a node; None: no entry is."""
    return next((h for h in hosts if fnmatchcase(node, h.node) and fnmatchcase(cluster, h.cluster)), None)


def embodied_of(sku: str, rows: Iterable[EmbodiedDeclaration]) -> EmbodiedDeclaration | None:
    """The first row that is about a board; None: none is."""
    wanted = sku.casefold()
    return next((row for row in rows if fnmatchcase(wanted, row.sku.casefold())), None)
