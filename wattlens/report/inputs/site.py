"""One site of a report: its file and the organisation's keys for it, its grid as known at a time, its contracts."""

from dataclasses import dataclass, replace
from datetime import datetime
from fractions import Fraction
from pathlib import Path
from zoneinfo import ZoneInfo

from energy_agent.core.errors import UsageError
from energy_agent.core.meters.facility import MeterFacts
from energy_agent.core.units import NS_PER_S
from energy_agent.factors.sets import FILE_MAX_B, shipped
from energy_agent.runtime.files import yaml_file
from energy_agent.site.building.tree import refuse_unsound
from energy_agent.site.config.grid import GridBase
from energy_agent.site.config.meter import MeterConfig
from energy_agent.site.config.site import DeclaredPue
from reports.inputs import contracts as config_contracts
from reports.inputs import invoices as config_invoices
from reports.inputs import supplier as config_supplier
from reports.inputs import water as config_water
from reports.inputs.beneficiaries import Beneficiaries
from reports.inputs.contracts import Contract
from reports.inputs.market import MarketBoundary
from reports.inputs.matching import Lot
from reports.inputs.organisation import SiteInputs
from reports.inputs.serials import Retirement, refuse_double_use
from reports.inputs.supplier import SupplierRate
from reports.inputs.tariffs import Tariff, ended
from reports.inputs.water import WaterRecord
from wattlens.report.inputs.codecarbon_tables import CodeCarbonTables
from wattlens.report.inputs.files import InputFiles
from wattlens.report.inputs.grid import GridPeriod, hours, with_intensities
from wattlens.report.inputs.model import OrgGrid, OrgSite
from wattlens.report.inputs.stated import of_site
from wattlens.site.file import parse_site


@dataclass(frozen=True, slots=True)
class _StatedSite:
    """A site from its own file and the organisation's keys for it."""

    name: str
    zone: ZoneInfo
    pue: DeclaredPue
    grid: GridBase
    contracts: tuple[Contract, ...]
    tariffs: tuple[Tariff, ...]
    water: tuple[WaterRecord, ...]
    meters: tuple[MeterFacts, ...]
    nameplates: tuple[MeterConfig, ...]


def site_inputs(
    entry: OrgSite,
    files: InputFiles,
    span: GridPeriod,
    retired: list[Retirement],
    tables: CodeCarbonTables,
    beneficiaries: Beneficiaries,
) -> SiteInputs:
    """Return the report inputs of a site.

    Args:
        entry: the site's entry in the organisation's file.
        files: reader of the input files.
        span: time range of the grid.
        retired: retirements of the previous sites; this function adds those of this site.
        tables: lookup of cloud regions.
        beneficiaries: names for which its certificates may be retired.

    Raises:
        UsageError: its file or entry is invalid, or one of its certificates counts at another site.
        JournalError: a file of its grid's series is damaged.
    """
    declared = _of_file(entry, entry.file, files) if entry.file is not None else _of_entry(entry, files, tables)
    _refuse_unsound(declared, entry)
    _refuse_double_use(declared, retired)
    state = files.place(entry.state) if entry.state is not None else None
    if state is not None and not state.is_dir():
        raise UsageError(f"state {state} is not a folder; give the state folder of the site's `wattlens site`")
    stated = declared.pue.as_value
    credited = config_invoices.credit_positions(entry.invoices)
    bills = [(each.at(declared.zone), n in credited) for n, each in enumerate(entry.invoices)]
    bills.sort(key=lambda bill: (bill[0].start, bill[0].meter))
    site = SiteInputs(
        declared.name,
        declared.zone,
        stated=None if stated is None else (stated.value, stated.uncertainty),
        stated_source=declared.pue.source,
        bound_assumed=stated is not None and "uncertainty_percent" not in declared.pue.model_fields_set,
        grid_zone=declared.grid.zone or "",
        country=declared.grid.country or "",
        lots=_lots(declared, span, beneficiaries),
        accepted_beneficiaries=tuple(
            (each.id, each.beneficiary) for each in declared.contracts if beneficiaries.accepts_other(each.beneficiary)
        ),
        refused_beneficiaries=tuple(
            (each.id, reason) for each in declared.contracts if (reason := beneficiaries.objection(each.beneficiary))
        ),
        bought=len(declared.contracts),
        supplier_rates=_supplier_rates(entry, declared),
        with_revision=MarketBoundary(declared.grid.market_boundary) is MarketBoundary.REVISION,
        tariffs=tuple(ended(declared.tariffs)),
        water=tuple(sorted(declared.water, key=lambda row: row.start)),
        meters=declared.meters,
        invoices=tuple(bill for bill, is_credit in bills if not is_credit),
        credits=tuple(bill for bill, is_credit in bills if is_credit),
        readings=config_invoices.energy_between(entry.readings, declared.zone),
        it_kw=entry.it_power_kw,
        on_site_kept=None if declared.grid.on_site_certificates is None else declared.grid.on_site_certificates == "kept",
        factor_error=None if (error := declared.grid.factor_uncertainty_percent) is None else Fraction(error) / 100,
        floor_m2=entry.floor_m2,
        stated_inputs=of_site(
            declared.name,
            zip(declared.meters, declared.nameplates, strict=True),
            declared.pue,
            {
                "contract": declared.contracts,
                "supplier_rate": entry.supplier_rates,
                "tariff": declared.tariffs,
                "water": declared.water,
                "invoice": entry.invoices,
                "reading": entry.readings,
            },
        ),
    )
    return with_intensities(site, declared.grid, hours(declared.grid, state, files, entry.file), span)


def _of_file(entry: OrgSite, given: Path, files: InputFiles) -> _StatedSite:
    raw = files.read(given, yaml_file.MAX_BYTES)
    config = parse_site(raw, str(given))
    if entry.site is not None and entry.site.name != config.site.name:
        raise UsageError(f"{given}: expected site {entry.site.name!r}, got {config.site.name!r}")
    contracts = [_placed(each, files, given) for each in config.contracts] + [_placed(c, files, None) for c in entry.contracts]
    return _StatedSite(
        config.site.name,
        ZoneInfo(config.site.time_zone),
        config.pue,
        _with_factors(config.the_grid, files, given),
        tuple(contracts),
        (*config.tariffs, *entry.tariffs),
        (*config.water, *entry.water),
        tuple(meter.meter_facts for meter in config.all_meters),
        config.all_meters,
    )


def _of_entry(entry: OrgSite, files: InputFiles, tables: CodeCarbonTables) -> _StatedSite:
    assert entry.site is not None
    grid = GridBase() if entry.grid is None else _with_region(entry.grid, entry.site.name, tables)
    return _StatedSite(
        entry.site.name,
        ZoneInfo(entry.site.time_zone),
        entry.pue or DeclaredPue(),
        _with_factors(grid, files, None),
        tuple(_placed(each, files, None) for each in entry.contracts),
        entry.tariffs,
        entry.water,
        tuple(meter.facts(meter.source) for meter in entry.meters),
        entry.meters,
    )


def _with_region(grid: OrgGrid, site: str, tables: CodeCarbonTables) -> OrgGrid:
    """The grid with the country of its cloud region, and with the zone of its US state; stated ones take precedence."""
    if grid.cloud_region is None:
        return grid
    where = f"site {site!r}: grid.cloud_region"
    try:
        country, state = tables.region(grid.cloud_region)
    except UsageError as error:
        raise UsageError(f"{where}: {error}") from None
    if grid.country not in (None, country):
        raise UsageError(f"{where}: {grid.cloud_region} is in {country}, but grid.country is {grid.country}")
    states = (
        f.zone for table in shipped() for f in table.factors.values() if f.zone.startswith("US-") and f.zone_name == state
    )
    zone = grid.zone or (next(states, None) if country == "USA" else None)
    return grid.model_copy(update={"country": country, "zone": zone})


def _refuse_unsound(site: _StatedSite, entry: OrgSite) -> None:
    try:
        refuse_unsound(site.meters)
        config_contracts.refuse_unsound(site.contracts, site.tariffs)
        config_water.refuse_overlap(site.water)
        config_invoices.refuse_unsound(entry.invoices, entry.readings)
    except ValueError as error:
        raise UsageError(f"site {site.name!r}: {error}") from None
    if site.contracts and site.grid.zone is None:
        raise UsageError(
            f"site {site.name!r}: contracts need grid.zone, because only generation in the site's own zone is matched"
        )


def _refuse_double_use(site: _StatedSite, retired: list[Retirement]) -> None:
    """A certificate counts once in the organisation; within the site that is checked already."""
    for contract in site.contracts:
        retirement = contract.retirement
        retired.append(replace(retirement, owner=f"{retirement.owner} of site {site.name!r}"))
    try:
        refuse_double_use(retired)
    except ValueError as error:
        raise UsageError(str(error)) from None


def _placed(contract: Contract, files: InputFiles, site_file: Path | None) -> Contract:
    """The contract with its file of hours where it lies; what stands in a site's file counts from that file's folder."""
    if contract.hourly_file is None:
        return contract
    try:
        files.read(contract.hourly_file, config_contracts.FILE_MAX_B, site_file)
    except UsageError as error:
        raise UsageError(f"contract {contract.id!r}: {error}") from None
    return contract.model_copy(update={"hourly_file": files.place(contract.hourly_file, site_file)})


def _with_factors(grid: GridBase, files: InputFiles, site_file: Path | None) -> GridBase:
    """The grid with its folder of factors where it lies."""
    if grid.factors is None:
        return grid
    place = files.place(grid.factors, site_file)
    for path in sorted(place.glob("*")) if place.is_dir() else ():
        if path.suffix in (".csv", ".json"):
            files.read(grid.factors / path.name, FILE_MAX_B, site_file)
    return grid.model_copy(update={"factors": place})


def _lots(site: _StatedSite, span: GridPeriod, beneficiaries: Beneficiaries) -> tuple[Lot, ...]:
    """What is delivered within the time, in the order of its start."""
    try:
        as_of = datetime.fromtimestamp(span.as_of_ns // NS_PER_S, site.zone).date()
        basis = site.grid.basis.boundary
        lots = [lot for contract in site.contracts for lot in contract.lots(site.zone, as_of, basis, beneficiaries)]
    except (UsageError, ValueError) as error:
        raise UsageError(f"site {site.name!r}: {error}") from None
    within = [lot for lot in lots if lot.start_ns < span.end_ns and lot.end_ns > span.start_ns]
    return tuple(sorted(within, key=lambda lot: (lot.start_ns, lot.end_ns, lot.contract)))


def _supplier_rates(entry: OrgSite, site: _StatedSite) -> tuple[SupplierRate, ...]:
    """The supplier-specific rates of a site, those that may not be used with the reason."""
    try:
        config_supplier.refuse_overlap(entry.supplier_rates)
    except ValueError as error:
        raise UsageError(f"site {site.name!r}: {error}") from None
    if entry.supplier_rates and site.grid.zone is None:
        raise UsageError(f"site {site.name!r}: supplier rates need grid.zone, as only those of the site's market are used")
    ordered = sorted(entry.supplier_rates, key=lambda rate: rate.start)
    return tuple(rate.rate(site.zone, site.grid.zone or "", site.grid.basis.boundary) for rate in ordered)
