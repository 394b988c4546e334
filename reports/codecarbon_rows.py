"""Facts as CodeCarbon's `emissions.csv`, written by CodeCarbon itself: the one module that knows CodeCarbon.

CodeCarbon is used as a library of formats and of arithmetic, never as a tracker. The factor is the report's own dated one, so a
later CodeCarbon release cannot change a closed period. PUE and WUE stay 1 and 0: the energy is that of the GPU boundary. What
is not measured (CPU, RAM, water) is an empty cell. Importing CodeCarbon calls nvmlInit, so it is imported only in here.
"""

import io
import logging
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass, fields
from fractions import Fraction
from pathlib import Path
from typing import Any

from energy_agent.core.errors import WattlensError
from energy_agent.core.units import NS_PER_S
from energy_agent.factors.record import Factor
from reports.facts import Facts
from reports.figures import Figure

FILE_NAME = "emissions.csv"
TOTAL, PART = "wattlens-total", "wattlens-part"
"""experiment_id of the total's row and of the rows that add up to it."""
KWH_IN_J = 3_600_000


@dataclass(frozen=True, slots=True)
class _Part:
    """One row of the file."""

    project: str
    experiment: str
    joules: Fraction
    gpu_count: int | None


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

    factor = facts.factors[0] if facts.factors else None
    kilograms = _engine(factor)
    seconds = Fraction(int(facts.period_end_ns) - int(facts.period_start_ns), NS_PER_S)
    edition = ",".join([facts.period_start_ns, facts.period_end_ns, *(chain.head_sha256 for chain in facts.chains)])
    models = sorted({name.sku for name in facts.devices.values() if name.sku})
    # Whatever the ledger does not hold stays None; CodeCarbon's own defaults would say 0.
    nothing = dict.fromkeys(field.name for field in fields(EmissionsData))
    for part in _parts(facts):
        energy = Energy.from_energy(float(part.joules / KWH_IN_J))
        kg = kilograms(energy) if kilograms else None
        known = {
            "timestamp": facts.period_end.removesuffix("Z"),  # as CodeCarbon writes it; UTC
            "project_name": part.project,
            "run_id": str(uuid.uuid5(uuid.NAMESPACE_URL, f"wattlens:{edition}:{part.experiment}:{part.project}")),
            "experiment_id": part.experiment,
            "duration": float(seconds),
            "emissions": kg,
            "emissions_rate": kg / float(seconds) if kg is not None and seconds else None,
            "gpu_power": float(part.joules / seconds) if seconds else None,
            "gpu_energy": energy.kWh,
            "energy_consumed": energy.kWh,
            "country_name": factor.zone_name if factor else None,
            "country_iso_code": factor.zone if factor else None,
            "codecarbon_version": __version__,
            "gpu_count": part.gpu_count,
            "gpu_model": ", ".join(models) or None,
            "tracking_mode": "machine" if part.experiment == TOTAL else "process",
            "pue": 1,
            "wue": 0,
        }
        yield EmissionsData(**(nothing | known))


def _engine(factor: Factor | None) -> Any:
    """CodeCarbon's conversion of energy into kg with the report's own factor; None without one."""
    if factor is None:
        return None
    from codecarbon.core.emissions import Emissions
    from codecarbon.external.geography import GeoMetadata
    from codecarbon.input import DataSource

    source: Any = DataSource  # it has no types
    engine = Emissions(source(), force_carbon_intensity_g_co2e_kwh=float(factor.value))
    place = GeoMetadata(factor.zone, country_name=factor.zone_name)
    return lambda energy: engine.get_private_infra_emissions(energy, place)


def _parts(facts: Facts) -> Iterator[_Part]:
    yield _Part("total", TOTAL, _joules(facts.figures["energy.total"]), len(facts.devices))
    for figure in facts.by_prefix("energy.workload/"):
        workload = figure.dims["workload"]
        yield _Part(facts.workloads[workload], PART, _joules(figure), None)
    yield _Part("not held", PART, _joules(facts.figures["energy.unheld"]), None)
    for figure in facts.by_prefix("energy.unattributed/"):
        if _joules(figure):
            yield _Part(f"not attributed: {figure.dims['reason']}", PART, _joules(figure), None)


def _joules(figure: Figure) -> Fraction:
    return Fraction(figure.value or 0)
