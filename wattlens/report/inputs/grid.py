"""Grid intensity of a site in a report: stored or imported hours first, then the year's factors."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final
from zoneinfo import ZoneInfo

from energy_agent.core.errors import UsageError
from energy_agent.factors import by_year, series_csv
from energy_agent.factors.basis import Basis, EmissionBoundary, Gases
from energy_agent.factors.join import IntensitySource, of_series
from energy_agent.factors.record import Factor
from energy_agent.factors.series import About, IntensitySeries, series
from energy_agent.factors.sets import catalogue
from energy_agent.runtime.clock import RealClock
from energy_agent.site.config.grid import GridBase, grid_specs
from energy_agent.site.grid.sources.csv_file import FILE_MAX_B
from energy_agent.site.grid.store import GridStore
from reports.inputs.organisation import SiteInputs
from wattlens.report.inputs.files import InputFiles

GRID_FOLDER: Final = "grid"
_FILE: Final = "csv_file"


@dataclass(frozen=True, slots=True)
class GridPeriod:
    """The period of a report in UTC ns, the moment as of which grid data count, and whether old yearly factors do."""

    start_ns: int
    end_ns: int
    as_of_ns: int
    accept_old: bool = False


@dataclass(frozen=True, slots=True)
class HourlySeries:
    """Series, the best first, and why there are not all that the site's file asks for; "" where there are."""

    series: tuple[IntensitySeries, ...]
    missing: str = ""


def hours(grid: GridBase, state: Path | None, files: InputFiles, site_file: Path | None) -> HourlySeries:
    """Return every series of a grid: those that its `wattlens site` stored, if its state is named; else those of CSV files.

    A file is an input of the report like any other: its content counts as known at any time, and the report records its hash.

    Raises:
        UsageError: a file is not a valid series; the message names the line.
        JournalError: a file that the site stored is damaged.
    """
    if state is not None and (state / GRID_FOLDER).is_dir():
        store = GridStore(state / GRID_FOLDER)
        return HourlySeries(tuple(store.read(about).series for about in _abouts(grid, store)))
    series, unread = [], []
    for source in grid.all_sources:
        if source.kind != _FILE:
            unread.append(source.kind)
        elif site_file is None or files.place(source.config.path, site_file).exists():
            series.append(_of_file(source.config, files, site_file))
        else:  # it lies where the site's process runs
            unread.append(str(source.config.path))
    if not unread:
        return HourlySeries(tuple(series))
    why = "no `state` is named" if state is None else f"{state} has no folder {GRID_FOLDER}"
    return HourlySeries(tuple(series), f"{why}, so these files are not read: {', '.join(unread)}")


def with_intensities(site: SiteInputs, grid: GridBase, hourly: HourlySeries, span: GridPeriod) -> SiteInputs:
    """A site with what its energy is joined with; raises UsageError where a folder of factors is wrong, or no table has it."""
    if grid.zone is None and grid.country is None:
        missing = f"site {site.name!r} names neither the zone nor the country of its grid"
        return replace(site, location_lacking=missing, residual_lacking=missing)
    if grid.country is not None:
        try:
            catalogue(grid.factors).refuse_unknown(grid.country)
        except UsageError as error:
            raise UsageError(f"site {site.name!r}: grid.country: {error}") from None
    location, location_factors, location_lacking = _sources(grid, grid.basis, site.zone, hourly, span)
    residual, residual_factors, residual_lacking = _sources(grid, grid.residual_basis, site.zone, hourly, span)
    supply, supply_factors = _supply(grid, site.zone, span)
    chosen = (*location_factors, *residual_factors, *supply_factors)
    factors = {factor.id: (factor, sha256) for factor, sha256 in chosen}
    location_lacking = "; ".join(filter(None, [location_lacking, hourly.missing]))
    return replace(
        site,
        location=location,
        location_lacking=location_lacking,
        residual=residual,
        residual_lacking=residual_lacking,
        supply=supply,
        factors=tuple(factors[each] for each in sorted(factors)),
        series=_series(hourly, span),
    )


def _sources(
    grid: GridBase, basis: Basis, time_zone: ZoneInfo, hourly: HourlySeries, span: GridPeriod
) -> tuple[tuple[IntensitySource, ...], list[tuple[Factor, str]], str]:
    """Return (series of this basis and yearly factors, those factors, why sources are missing for all or some of the time)."""
    hourly_sources, missing = [], []
    for each in hourly.series:
        if each.about.basis != basis:
            continue
        source = of_series(each, span.as_of_ns)
        if source.pieces:
            hourly_sources.append(source)
        else:
            about = each.about
            missing.append(
                f"{about.id}: no intensity of zone {about.zone} was published at the time that the report uses (--as-of)"
            )
    yearly, factors, none = by_year.sources(
        catalogue(grid.factors, accept_old=span.accept_old),
        grid.zone or "",
        grid.country or "",
        basis,
        span.start_ns,
        span.end_ns,
        time_zone,
    )
    return (
        (*hourly_sources, *yearly),
        [(f.factor, f.csv_sha256) for f in factors],
        "; ".join([*missing, *([none] if none else [])]),
    )


def _supply(
    grid: GridBase, time_zone: ZoneInfo, span: GridPeriod
) -> tuple[dict[EmissionBoundary, tuple[IntensitySource, ...]], list[tuple[Factor, str]]]:
    """Return (yearly sources of Scope 3, category 3 and of biogenic CO2, their factors); none next to life-cycle factors."""
    if grid.basis.boundary is not EmissionBoundary.DIRECT:
        return {}, []
    sources, factors = {}, []
    for boundary in (EmissionBoundary.UPSTREAM, EmissionBoundary.LOSSES, EmissionBoundary.BIOGENIC):
        gases = Gases.CO2 if boundary is EmissionBoundary.BIOGENIC else grid.basis.gases
        yearly_sources, used, _ = _sources(grid, Basis(boundary, gases=gases), time_zone, HourlySeries(()), span)
        if yearly_sources:
            sources[boundary] = yearly_sources
            factors += used
    return sources, factors


def _series(hourly: HourlySeries, span: GridPeriod) -> tuple[tuple[str, About], ...]:
    """Whose each series is, by its id as figures name it."""
    abouts = {of_series(each, span.as_of_ns).id: each.about for each in hourly.series}
    return tuple(sorted(abouts.items()))


def _abouts(grid: GridBase, store: GridStore) -> Sequence[About]:
    """Whose series: in the order of the site's file; without one, all that were kept of the zone, the best first."""
    if grid.all_sources:
        # Opening asks nobody yet.
        return [grid_specs()[source.kind].open(source.config, RealClock()).about for source in grid.all_sources]
    return sorted((a for a in store.list_series() if a.zone == grid.zone), key=lambda about: (about.quality, about.id))


def _of_file(config: object, files: InputFiles, site_file: Path | None) -> IntensitySeries:
    """The series that a CSV file has of a zone."""
    about: About = grid_specs()[_FILE].open(config, RealClock()).about
    path: Path = config.path  # type: ignore[attr-defined]
    raw = files.read(path, FILE_MAX_B, site_file)
    parsed = series_csv.parse(raw, str(path), about.zone, about.basis.boundary, 0, hashlib.sha256(raw).hexdigest())
    return series(about, parsed.points)
