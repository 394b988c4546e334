"""Facts as CodeCarbon's `emissions.csv`, written by CodeCarbon itself: the one module that knows CodeCarbon.

CodeCarbon is used as a library of formats and of arithmetic, never as a tracker. The factor is the report's own dated one, so a
later CodeCarbon release cannot change a closed period. PUE and WUE stay 1 and 0: the energy is that of the GPU boundary.
Quantities that are not measured (CPU, RAM, water) are empty cells. Importing CodeCarbon calls nvmlInit, so only this module
imports it.

Energy of the rows of one `experiment_id` adds up to the total: `wattlens-site` by site, `wattlens-team` by team plus
unallocated energy. Kilograms by site add up too. With several sites there are no kilograms by team, because the facts do not
contain the grid of a team's energy.
"""

import io
import logging
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass, fields
from fractions import Fraction
from math import fsum
from pathlib import Path
from typing import Any

from energy_agent.core.errors import WattlensError
from energy_agent.core.text import harmless
from energy_agent.core.units import J_PER_KWH, NS_PER_S
from reports.figures.facts import Facts
from reports.figures.figure import Figure
from reports.period import utc_text

FILE_NAME = "emissions.csv"
TOTAL, SITE, TEAM = "wattlens-total", "wattlens-site", "wattlens-team"
"""experiment_id of the total's row, and of the rows that add up to it."""


@dataclass(frozen=True, slots=True)
class _Part:
    """One row of the file: its period is its site's, of several sites the longest."""

    project: str
    experiment: str
    joules: Fraction
    site: str  # whose grid it is; "": of several
    gpu_count: int | None = None


def write_emissions(facts: Facts, folder: Path) -> Path:
    """Write `emissions.csv` in `folder`, replacing one that is there: the total, then the parts that add up to it.

    Raises:
        WattlensError: CodeCarbon is not installed, or the file cannot be written.
    """
    target = folder / FILE_NAME
    try:
        with _quiet(), tempfile.TemporaryDirectory(prefix=".emissions-", dir=folder) as scratch:
            from codecarbon.output_methods.file import FileOutput

            output = FileOutput(FILE_NAME, scratch, on_csv_write="append")
            for row in _rows(facts):
                output.out(row, row)
            (Path(scratch) / FILE_NAME).replace(target)
    except ImportError:
        raise WattlensError("emissions.csv needs CodeCarbon; install wattlens[reports]") from None
    except OSError as error:
        raise WattlensError(f"{target}: cannot be written: {error.strerror}") from None
    return target


@contextmanager
def _quiet() -> Iterator[None]:
    """CodeCarbon looks for hardware when it is imported and prints what is not there; none of it is used here."""
    logger = logging.getLogger("codecarbon")
    logger.addFilter(_only_errors)
    try:
        with redirect_stdout(io.StringIO()):
            yield
    finally:
        logger.removeFilter(_only_errors)


def _only_errors(record: logging.LogRecord) -> bool:
    return record.levelno >= logging.ERROR


def _rows(facts: Facts) -> Iterator[Any]:
    """CodeCarbon's EmissionsData, one a part. Rates and powers are means over the period."""
    from codecarbon._version import __version__
    from codecarbon.core.units import Energy
    from codecarbon.output_methods.emissions_data import EmissionsData

    periods = {name: (int(s.start_ns), int(s.end_ns)) for name, s in facts.sites.items()}
    start_ns, end_ns = min(s for s, _ in periods.values()), max(e for _, e in periods.values())
    longest_ns = max(e - s for s, e in periods.values())
    edition = ",".join([str(start_ns), str(end_ns), *(day.inputs_sha256 for day in facts.days)])
    models = sorted({f.dims["sku"] for f in facts.of("energy.gpu", "sku")})
    # Whatever the ledger does not hold stays None; CodeCarbon's own defaults would say 0.
    nothing = dict.fromkeys(field.name for field in fields(EmissionsData))
    for part in _parts(facts):
        energy = Energy.from_energy(float(part.joules / J_PER_KWH))
        kg = _summed(facts) if part.experiment == TOTAL else _kilograms(facts, part.site, energy)
        own = periods.get(part.site)
        seconds = Fraction(longest_ns if own is None else own[1] - own[0], NS_PER_S)
        country = facts.sites[part.site].declared.get("country") if part.site else None
        known = {
            "timestamp": utc_text(end_ns if own is None else own[1]).removesuffix("Z"),  # as CodeCarbon writes it; UTC
            "project_name": harmless(part.project),
            "run_id": str(uuid.uuid5(uuid.NAMESPACE_URL, f"wattlens:{edition}:{part.experiment}:{part.project}")),
            "experiment_id": part.experiment,
            "duration": float(seconds),
            "emissions": kg,
            "emissions_rate": kg / float(seconds) if kg is not None and seconds else None,
            "gpu_power": float(part.joules / seconds) if seconds else None,
            "gpu_energy": energy.kWh,
            "energy_consumed": energy.kWh,
            "country_iso_code": country,
            "country_name": _country_name(country),
            "on_cloud": "N",  # a site's own grid; CodeCarbon's board takes an empty cell for a cloud that it does not know
            "codecarbon_version": __version__,
            "gpu_count": part.gpu_count,
            "gpu_model": harmless(", ".join(models)) or None,
            "tracking_mode": "machine" if part.experiment == TOTAL else "process",
            "pue": 1,
            "wue": 0,
        }
        filled: dict[str, Any] = nothing | known
        yield EmissionsData(**filled)


def _country_name(iso3: str | None) -> str | None:
    """As CodeCarbon calls it; None: it does not know the country."""
    from codecarbon.input import DataSource

    source: Any = DataSource  # it has no types
    named: dict[str, Any] = source().get_global_energy_mix_data()
    country_name = named.get(iso3 or "", {}).get("country_name")
    return None if country_name is None else str(country_name)


def _kilograms(facts: Facts, site: str, energy: Any) -> float | None:
    """CodeCarbon's conversion of energy into kg with the mean intensity of the site's own grid; None where it is not known."""
    from codecarbon.core.emissions import Emissions
    from codecarbon.external.geography import GeoMetadata
    from codecarbon.input import DataSource

    mean = facts.figures[f"grid_intensity/site/{site}"] if site else None
    if mean is None or mean.value is None:
        return None
    source: Any = DataSource  # it has no types
    engine = Emissions(source(), force_carbon_intensity_g_co2e_kwh=float(mean.value))
    kg: float = engine.get_private_infra_emissions(energy, GeoMetadata(facts.sites[site].declared.get("country", "")))
    return kg


def _summed(facts: Facts) -> float | None:
    """Kilograms of all sites; None where one's are not known."""
    from codecarbon.core.units import Energy

    joules = {site: _joules(facts.figures[f"energy.gpu/site/{site}"]) for site in facts.sites}
    kilograms = [_kilograms(facts, site, Energy.from_energy(float(of / J_PER_KWH))) for site, of in joules.items()]
    return None if None in kilograms else fsum(kg for kg in kilograms if kg is not None)


def _parts(facts: Facts) -> Iterator[_Part]:
    gpu_count = sum(int(f.dims["devices"]) for f in facts.of("energy.gpu", "sku"))
    only = next(iter(facts.sites)) if len(facts.sites) == 1 else ""
    yield _Part("total", TOTAL, _joules(facts.figures["energy.gpu"]), only, gpu_count)
    for site in facts.sites:
        yield _Part(site, SITE, _joules(facts.figures[f"energy.gpu/site/{site}"]), site)
    teams = facts.of("energy.held", "team")
    for figure in teams:
        yield _Part(figure.dims["team"] or "unassigned", TEAM, _joules(figure), only)
    if not teams:
        yield _Part("unassigned", TEAM, _joules(facts.figures["energy.held"]), only)
    yield _Part("unallocated", TEAM, _joules(facts.figures["energy.gpu.unheld"]), only)
    for figure in facts.of("energy.gpu.unattributed", "reason"):
        if _joules(figure):
            yield _Part(f"unattributed: {figure.dims['reason']}", TEAM, _joules(figure), only)


def _joules(figure: Figure) -> Fraction:
    return figure.value or Fraction(0)
