"""The inputs of an organisation for a report, as a typed model of `org.yaml` and of each row of the workbook.

A site is described by its own file (docs/site.md) plus the keys here, or by the keys here alone. An error is one line that
names the key, as everywhere.
"""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field, model_validator

from energy_agent.config.formats import EntryName, text_format
from energy_agent.config.section import Day, Exact, Section
from energy_agent.core.units import NS_PER_S, UJ_PER_KWH
from energy_agent.site.config.grid import SOURCES_MAX, AnyGridSource, GridBase
from energy_agent.site.config.meter import MeterConfig
from energy_agent.site.config.site import DeclaredPue, SiteIdentity
from energy_agent.site.grid.sources.csv_file import IntensityCsvConfig
from reports.inputs.contracts import Contract
from reports.inputs.invoices import ElectricityInvoice, RegisterReading
from reports.inputs.records import EmbodiedDeclaration, GpuHourPrice, ModelName, TeamRule, Text, refuse_duplicates
from reports.inputs.supplier import SupplierRateConfig
from reports.inputs.tariffs import Tariff
from reports.inputs.water import WaterRecord

CloudRegion = Annotated[str, text_format("[a-z0-9]{1,20}/[a-z0-9-]{1,60}", "PROVIDER/REGION, such as gcp/europe-west3")]
DELIVERIES_MAX: Final = 200_000


def _instant(value: Any) -> Any:
    """A UTC instant as YAML or a workbook has it, or as text; to the second, which is as near as a workbook's numbers come."""
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value)
        except ValueError:
            raise ValueError(f"expected a time in UTC such as 2026-01-31T23:15, got {value[:40]!r}") from None
    if not isinstance(value, datetime):
        raise ValueError(f"expected a time in UTC such as 2026-01-31T23:15, got {str(value)[:40]!r}")
    moment = value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
    if not 1990 <= moment.year <= 2200:
        raise ValueError(f"expected a year from 1990 to 2200, got {moment:%Y-%m-%d}")
    return (moment + timedelta(microseconds=500_000)).replace(microsecond=0)


Instant = Annotated[datetime, BeforeValidator(_instant)]


def _names(value: Any) -> Any:
    """Names as a list, or in one text with semicolons, as a workbook has them."""
    return [name for part in value.split(";") if (name := part.strip())] if isinstance(value, str) else value


Names = Annotated[tuple[Text, ...], BeforeValidator(_names), Field(max_length=1_000)]


class Delivery(Section):
    """What a contract delivered in an hour or a quarter of one."""

    start_utc: Instant = Field(description="start of the hour or quarter of an hour in UTC: 2026-01-31T23:15")
    minutes: Literal[15, 60] = Field(60, description="length of the interval")
    kwh: Exact = Field(ge=0, le=1e9, description="energy delivered in the interval")

    @model_validator(mode="after")
    def _check_start(self) -> Self:
        if self.start_utc.minute % self.minutes or self.start_utc.second:
            raise ValueError(f"{self.start_utc:%Y-%m-%d %H:%M:%S}: not the start of an interval of {self.minutes} minutes")
        return self

    @property
    def start_ns(self) -> int:
        """UTC ns at which it begins."""
        return int(self.start_utc.timestamp()) * NS_PER_S

    @property
    def end_ns(self) -> int:
        """UTC ns at which it is over."""
        return self.start_ns + self.minutes * 60 * NS_PER_S


class BoughtContract(Contract):
    """A contract or certificate with its deliveries, which may be given inline."""

    deliveries: tuple[Delivery, ...] = Field(
        (), max_length=DELIVERIES_MAX, description="energy delivered per hour or quarter of an hour, instead of a volume"
    )

    @model_validator(mode="after")
    def _check_deliveries(self) -> Self:
        if not self.deliveries:
            return self
        what, ordered = f"contract {self.id!r}", sorted(self.deliveries, key=lambda d: d.start_ns)
        for before, after in pairwise(ordered):
            if after.start_ns < before.end_ns:
                raise ValueError(f"{what}: duplicate delivery at '{after.start_utc:%Y-%m-%d %H:%M:%S}' UTC")
        first = ordered[0].start_utc.date()
        if self.commissioned is not None and first < self.commissioned - timedelta(days=1):  # days begin earlier east of UTC
            raise ValueError(f"{what}: delivered on {first}, before its plant was commissioned ({self.commissioned})")
        return self

    def _check_volume(self, what: str) -> None:
        if not self.is_timed and self.volume_kwh is None:
            raise ValueError(f"{what}: expected volume_kwh with start and end, deliveries, or an hourly_file")
        if self.deliveries and (self.volume_kwh is not None or self.hourly_file is not None):
            raise ValueError(f"{what}: deliveries cannot be combined with volume_kwh or hourly_file")
        super()._check_volume(what)

    @property
    def is_timed(self) -> bool:
        """Whether its deliveries have time stamps."""
        return bool(self.deliveries) or super().is_timed

    def deliveries_by_time(self, time_zone: ZoneInfo) -> list[tuple[int, int, int]]:
        """As of any contract, or its deliveries one by one."""
        if not self.deliveries:
            return super().deliveries_by_time(time_zone)
        ordered = sorted(self.deliveries, key=lambda d: d.start_ns)
        return [(d.start_ns, d.end_ns, int(d.kwh * UJ_PER_KWH)) for d in ordered]


class RegisteredMeter(MeterConfig):
    """A meter that the site has: the report says so where the ledger has none of its readings."""

    source: EntryName = Field("declared", description="source of its readings: modbus, snmp, redfish, prometheus, imported")


class GridHours(AnyGridSource):
    """A file with the intensity of a grid hour by hour."""

    csv_file: IntensityCsvConfig | None = Field(None, description="a CSV file of intensities")

    @property
    def kinds(self) -> list[str]:
        """A file alone: what asks a service belongs to the site's own file."""
        return ["csv_file"] if self.csv_file is not None else []


class OrgGrid(GridBase):
    """The grid that a site hangs on."""

    cloud_region: CloudRegion | None = Field(
        None,
        description="region of a cloud, such as gcp/europe-west4: its country and state by CodeCarbon's table",
    )

    sources: tuple[GridHours, ...] = Field(
        (), max_length=SOURCES_MAX, description="files with hourly intensities, the preferred first"
    )


class OrgSite(Section):
    """A site: by its own file, or by what stands here."""

    file: Path | None = Field(None, description="the site's file (docs/site.md); without it, the keys `site` and `grid` here")
    state: Path | None = Field(
        None, description="state folder of the site's `wattlens site`, whose subfolder grid has the hourly intensities"
    )
    it_power_kw: Exact | None = Field(None, gt=0, le=1e7, description="installed IT power demand (EU 2024/1364)")
    floor_m2: Exact | None = Field(None, gt=0, le=1e8, description="floor area of the data centre, in square metres")
    site: SiteIdentity | None = None
    pue: DeclaredPue | None = None
    grid: OrgGrid | None = None
    contracts: tuple[BoughtContract, ...] = Field((), max_length=10_000)
    supplier_rates: tuple[SupplierRateConfig, ...] = Field((), max_length=1_000)
    tariffs: tuple[Tariff, ...] = Field((), max_length=1_000)
    water: tuple[WaterRecord, ...] = Field((), max_length=10_000)
    invoices: tuple[ElectricityInvoice, ...] = Field((), max_length=10_000)
    readings: tuple[RegisterReading, ...] = Field((), max_length=10_000)
    meters: tuple[RegisteredMeter, ...] = Field((), max_length=2_000)

    @model_validator(mode="after")
    def _check_file(self) -> Self:
        if self.file is None:
            if self.site is None or "name" not in self.site.model_fields_set:
                raise ValueError("a site needs file or site.name")
            return self
        misplaced = [key for key in ("pue", "grid", "meters") if getattr(self, key)]
        if self.site is not None:
            misplaced += [f"site.{key}" for key in type(self.site).model_fields if key in self.site.model_fields_set - {"name"}]
        if misplaced:
            raise ValueError(f"{self.file} describes this site; move {misplaced[0]} into that file")
        return self


class InventoryLine(Section):
    """A line of the inventory: a GPU, or a node with all of its GPUs."""

    model_config = ConfigDict(populate_by_name=True)

    cluster: str = Field(min_length=1, max_length=63, description="cluster, as its agents name it (node.cluster)")
    node: str = Field(min_length=1, max_length=253, description="node, as its agent names it")
    uuid: str = Field("", max_length=120, description="UUID of the GPU, such as GPU-8f2a...; empty: all GPUs of the node")
    sku: str = Field("", max_length=200, description="GPU model, such as NVIDIA H100 80GB HBM3")
    site: EntryName = Field(description="site at which it is installed")
    first: Day | None = Field(None, alias="from", description="first day there, UTC; empty: always")
    gone: Day | None = Field(None, alias="to", description="first day after its removal, UTC; empty: still there")

    @model_validator(mode="after")
    def _check_days(self) -> Self:
        if self.first and self.gone and self.gone <= self.first:
            raise ValueError(f"removed on {self.gone}, before its first day {self.first}")
        return self


class NodeHardware(Section):
    """Processors and memory of nodes. CodeCarbon estimates their power where no meter reads it. The first match applies."""

    node: str = Field(min_length=1, max_length=253, description="glob that the node's name must match, such as gpu-node-*")
    cluster: str = Field("*", min_length=1, max_length=63, description="glob that the cluster's name must match")
    cpu: str = Field(
        "", max_length=200, description="model of the processors, as the system reports it: AMD EPYC 9654 96-Core Processor"
    )
    cpu_tdp_w: Exact | None = Field(
        None, gt=0, le=2000, description="TDP of a processor in W, for a model that CodeCarbon's table does not have"
    )
    sockets: int = Field(1, ge=1, le=16, description="number of processors of a node")
    ram_gb: Exact = Field(gt=0, le=65_536, description="memory of a node in GB")

    @model_validator(mode="after")
    def _check_processor(self) -> Self:
        if not self.cpu and self.cpu_tdp_w is None:
            raise ValueError(f"host {self.node!r}: expected cpu or cpu_tdp_w")
        return self


def _consolidation(value: Any) -> Any:
    """An approach that counts each site as a whole: no input has a share of one."""
    if value == "equity share":
        raise ValueError(
            "equity share is not supported, because no input has the organisation's share of a site and every figure is of "
            "whole sites; expected 'operational control' or 'financial control'"
        )
    return value


class ReportingOrganisation(Section):
    """The organisation that reports."""

    name: str = Field("", max_length=200, description="name of the organisation, as shown in the report")
    legal_entities: Names = Field(
        (), description="its legal entities, separated by semicolons: names for which its certificates may be retired"
    )
    beneficiaries: Names = Field(
        (),
        description="others who retire certificates on its behalf, such as a landlord or a supplier, separated by semicolons; "
        "certificates retired for any other name cover nothing",
    )
    contact: str = Field("", max_length=200, description="contact for questions about the report: a name, an address")
    prepared_by: str = Field("", max_length=200, description="person or role that prepared the report")
    approved_by: str = Field("", max_length=200, description="person or role that approved it")
    issued: Day | None = Field(None, description="date of issue")
    consolidation: Annotated[Literal["", "operational control", "financial control"], BeforeValidator(_consolidation)] = Field(
        "", description="approach by which sites belong to the organisation, each as a whole (GHG Protocol)"
    )
    base_year: int | None = Field(
        None, ge=1990, le=2200, description="year with which each report is compared: the same month or quarter of it"
    )
    fiscal_year_start: int | None = Field(
        None,
        ge=1,
        le=12,
        description="first month of the fiscal year, such as 4 for April; it is named by the year in which it ends",
    )


def _without_hyphen(period: str) -> str:
    """The label of a quarter as reports print it, by which its totals are looked up."""
    return period.replace("-Q", "Q")


PeriodName = Annotated[
    str,
    text_format(
        r"(FY)?(19|20)\d\d(-?Q[1-4])?|(19|20)\d\d-(0[1-9]|1[0-2])",
        "a month, quarter or year such as 2025-07, 2025Q3, 2025, FY2025 or FY2025Q3",
    ),
    AfterValidator(_without_hyphen),
]


class PeriodTotals(Section):
    """Totals of an earlier period, as an earlier report stated them."""

    period: PeriodName = Field(
        description="period as a report names it: 2025-07, 2025Q3, 2025, FY2025 or FY2025Q3",
    )
    electricity_mwh: Exact | None = Field(None, ge=0, le=1e9, description="electricity at the boundary of the report")
    co2e_location_t: Exact | None = Field(None, ge=0, le=1e9, description="Scope 2, location-based, in tonnes of CO2e")
    co2e_market_t: Exact | None = Field(None, ge=0, le=1e9, description="Scope 2, market-based, in tonnes of CO2e")
    cost: Exact | None = Field(None, ge=0, le=1e12, description="electricity cost, in the currency of the tariffs")
    source: str = Field(min_length=1, max_length=400, description="report in which these totals are, with its edition and date")
    reason: str = Field(
        "",
        max_length=1000,
        description="why today's ledger and inputs give other totals of that period: required where they do",
    )

    @model_validator(mode="after")
    def _check_totals(self) -> Self:
        if all(each is None for each in (self.electricity_mwh, self.co2e_location_t, self.co2e_market_t, self.cost)):
            raise ValueError(f"period {self.period}: expected electricity_mwh, co2e_location_t, co2e_market_t or cost")
        return self


class OrgFile(Section):
    """The whole file."""

    organisation: ReportingOrganisation = ReportingOrganisation()
    least_coverage_percent: Exact = Field(
        Decimal(95),
        ge=0,
        le=100,
        description="minimum share of the inventory's device hours that must be metered; below it no report is created",
    )
    variance_percent: Exact = Field(
        Decimal(5), gt=0, le=100, description="difference of invoice, meter and ledger above which the report states a finding"
    )
    inventory: Path | None = Field(None, description="CSV of cluster,node,uuid,sku,site,from,to: the denominator of coverage")
    estimates: Path | None = Field(
        None, description="CSV of `wattlens report import codecarbon`: laptops and cloud jobs without meters"
    )
    sites: tuple[OrgSite, ...] = Field((), max_length=1_000)
    hosts: tuple[NodeHardware, ...] = Field((), max_length=10_000)
    teams: tuple[TeamRule, ...] = Field((), max_length=10_000)
    prices: tuple[GpuHourPrice, ...] = Field((), max_length=1_000)
    embodied: tuple[EmbodiedDeclaration, ...] = Field((), max_length=1_000)
    models: tuple[ModelName, ...] = Field((), max_length=10_000)
    reported: tuple[PeriodTotals, ...] = Field((), max_length=400)

    @model_validator(mode="after")
    def _check_duplicates(self) -> Self:
        refuse_duplicates("price class", [each.price_class for each in self.prices])
        refuse_duplicates("host", [each.node if each.cluster == "*" else f"{each.cluster}/{each.node}" for each in self.hosts])
        refuse_duplicates("model", [each.model for each in self.models])
        refuse_duplicates("period", [each.period for each in self.reported])
        return self
