"""`emissions.csv` and BoAmps reports of the facts, written by CodeCarbon itself.

CodeCarbon is used as a library of formats, never as a tracker, and its emission factors are not used. Rows of `emissions.csv`
are disjoint: one per site and team, and one per site for energy that no team held. Energy, CO2e and water of a site's rows sum
to the site's figures to the last digit that the file keeps; there is no row with a total. Quantities that are not known are
empty cells. Importing CodeCarbon calls nvmlInit, so it is imported in functions alone, within `codecarbon_library`.
"""

import io
import json
import logging
import tempfile
import uuid
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass, fields, replace
from fractions import Fraction
from importlib.metadata import version
from math import ceil
from pathlib import Path
from typing import Any, Final

from energy_agent.core.errors import WattlensError
from energy_agent.core.extras import install_hint
from energy_agent.core.text import harmless
from energy_agent.core.units import J_PER_KWH, NS_PER_H, NS_PER_S
from reports.figures.facts import Facts
from reports.figures.figure import Figure
from reports.period import utc_text
from reports.render.allocated import (
    UNALLOCATED,
    UNASSIGNED,
    AllocatedPart,
    ExportColumn,
    allocated,
    in_units,
    site_total,
)

FILE_NAME: Final = "emissions.csv"
BOAMPS_NAME: Final = "boamps.zip"
OTHER_INTERFACE: Final = (
    "the installed CodeCarbon has another interface ({error}); install the version that the extra `reports` names"
)
QUALITIES: Final = ((Fraction(1, 10), "high"), (Fraction(1, 4), "medium"), (Fraction(1, 2), "low"))
"""BoAmps: quality of a report by the bound of its relative error (report_schema.json)."""


def write_emissions(facts: Facts, folder: Path) -> Path:
    """Write `emissions.csv` in `folder`, replacing an existing file: one row per site and team, and each site's rest.

    Raises:
        WattlensError: CodeCarbon is not installed, or the file cannot be written.
    """
    target = folder / FILE_NAME
    with _library(FILE_NAME, target), tempfile.TemporaryDirectory(prefix=".emissions-", dir=folder) as scratch:
        from codecarbon.output_methods.file import FileOutput

        output = FileOutput(FILE_NAME, scratch, on_csv_write="append")
        for row in _rows(facts):
            output.out(row, row)
        (Path(scratch) / FILE_NAME).replace(target)
    return target


def write_boamps(facts: Facts, folder: Path) -> Path:
    """Write `boamps.zip` in `folder`: a BoAmps report (JSON) per site and served model, and per training run.

    Raises:
        WattlensError: CodeCarbon is not installed, the file cannot be written, or no model was served or trained.
    """
    target = folder / BOAMPS_NAME
    with _library(BOAMPS_NAME, target), tempfile.TemporaryDirectory(prefix=".boamps-", dir=folder) as scratch:
        tasks = [*_served(facts), *_trained(facts)]
        if not tasks:
            raise WattlensError("boamps.zip: the period has no tokens and no training run; omit boamps from --formats")
        archive = Path(scratch) / BOAMPS_NAME
        with zipfile.ZipFile(archive, "w", zipfile.ZIP_STORED) as reports:
            for task in tasks:
                path, report = _boamps(facts, task, scratch)
                text = json.dumps(report, indent=2, ensure_ascii=False) + "\n"
                reports.writestr(zipfile.ZipInfo(path.name, date_time=(1980, 1, 1, 0, 0, 0)), text)
        archive.replace(target)
    return target


@contextmanager
def codecarbon_library(user: str) -> Iterator[None]:
    """CodeCarbon, without the messages about missing hardware that importing it prints.

    Raises:
        WattlensError: it is not installed, or has another interface; the message names `user`, which needs it.
    """
    logger = logging.getLogger("codecarbon")
    logger.addFilter(_only_errors)
    try:
        with redirect_stdout(io.StringIO()):
            yield
    except ImportError as error:
        if isinstance(error, ModuleNotFoundError) and error.name == "codecarbon":
            raise WattlensError(f"{user} needs CodeCarbon; {install_hint('reports')}") from None
        missing = error.msg.partition(" (")[0]
        raise WattlensError(f"{user}: {OTHER_INTERFACE.format(error=missing)}") from error
    finally:
        logger.removeFilter(_only_errors)


@contextmanager
def _library(name: str, target: Path) -> Iterator[None]:
    """CodeCarbon, to write a file.

    Raises:
        WattlensError: it is not installed, or `target` cannot be written.
    """
    try:
        with codecarbon_library(name):
            yield
    except OSError as error:
        raise WattlensError(f"{target}: cannot be written: {error.strerror}") from None


def _only_errors(record: logging.LogRecord) -> bool:
    return record.levelno >= logging.ERROR


def _rows(facts: Facts) -> Iterator[Any]:
    """CodeCarbon's EmissionsData, one per part. Rates and powers are means over the site's period."""
    for part, amounts in in_units(facts, ("team",), _AMOUNTS):
        yield _row(facts, part, {name: None if value is None else float(value) for name, value in amounts.items()})


_AMOUNTS: Final = (
    ExportColumn("energy_consumed", "energy", Fraction(1, J_PER_KWH)),
    ExportColumn("gpu_energy", "energy.gpu", Fraction(1, J_PER_KWH)),
    ExportColumn("emissions", "co2e.location", Fraction(1, 1000)),
    ExportColumn("water_consumed", "water", Fraction(1)),
)


def _row(facts: Facts, part: AllocatedPart, amounts: dict[str, float | None]) -> Any:
    from codecarbon.output_methods.emissions_data import EmissionsData

    period = facts.sites[part.site]
    start_ns, end_ns = int(period.start_ns), int(period.end_ns)
    seconds = float(Fraction(end_ns - start_ns, NS_PER_S))
    country = period.declared.get("country")
    pue = facts.figures[f"pue/site/{part.site}"].value
    team = (part.labels["team"] or UNASSIGNED) if part.is_allocated else UNALLOCATED
    kg, kwh = amounts["emissions"], amounts["gpu_energy"]
    columns = {
        "timestamp": utc_text(end_ns).removesuffix("Z"),  # as CodeCarbon writes it; UTC
        "project_name": harmless(team),
        "run_id": _run_id(facts, FILE_NAME, part.site, team, str(part.is_allocated)),
        "experiment_id": harmless(part.site),
        "duration": seconds,
        **amounts,
        "emissions_rate": kg / seconds if kg is not None and seconds else None,
        "gpu_power": kwh * J_PER_KWH / seconds if kwh is not None and seconds else None,
        "country_iso_code": country,
        "country_name": _country_name(country),
        "region": harmless(part.site),
        "on_cloud": "N",  # carbonboard takes an empty cell for an unknown cloud
        "codecarbon_version": version("codecarbon"),
        "gpu_model": _gpu_models(facts),
        "tracking_mode": "machine",
        "pue": None if pue is None else float(pue),
        "wue": _liters_per_kwh(facts, part.site),
    }
    # A quantity that the ledger does not have stays None; CodeCarbon's own default would be 0.
    filled: dict[str, Any] = dict.fromkeys(field.name for field in fields(EmissionsData)) | columns
    return EmissionsData(**filled)


def _run_id(facts: Facts, *names: str) -> str:
    """The same for the same edition and part."""
    periods = [f"{s.start_ns},{s.end_ns}" for s in facts.sites.values()]
    edition = ",".join([*periods, *(day.inputs_sha256 for day in facts.days)])
    return str(uuid.uuid5(uuid.NAMESPACE_URL, f"wattlens:{edition}:{':'.join(names)}"))


def _liters_per_kwh(facts: Facts, site: str) -> float | None:
    """WUE as CodeCarbon defines it, per kWh that is consumed, so that it is not the WUE of ISO/IEC 30134-9, per kWh of IT."""
    water, energy = site_total(facts, "water", site), site_total(facts, "energy", site)
    return None if water is None or not energy else float(water * J_PER_KWH / energy)


def _gpu_models(facts: Facts) -> str | None:
    return harmless(", ".join(sorted({f.dims["sku"] for f in facts.of("energy.gpu", "sku")}))) or None


def _country_name(iso3: str | None) -> str | None:
    """As CodeCarbon calls it; None: it does not know the country."""
    from codecarbon.input import DataSource

    source: Any = DataSource  # it has no types
    named: dict[str, Any] = source().get_global_energy_mix_data()
    country_name = named.get(iso3 or "", {}).get("country_name")
    return None if country_name is None else str(country_name)


@dataclass(frozen=True, slots=True)
class _BoampsTask:
    """What a BoAmps report is about.

    Args:
        site: "" if the task ran at several sites.
        context: the sections that CodeCarbon does not know, as BoAmps names them.
    """

    name: str
    site: str
    joules: Fraction
    error: Fraction | None
    gpus: int
    context: dict[str, Any]


def _served(facts: Facts) -> Iterator[_BoampsTask]:
    """One task per site and model that generated tokens there."""
    for part in allocated(facts, ("model",)):
        model, joules, tokens = part.labels["model"], part.values["energy"], part.values["tokens.generation"]
        if not model or joules is None or not tokens:
            continue
        prompt = part.values["tokens.prompt"]
        period = facts.sites[part.site]
        hours = Fraction(int(period.end_ns) - int(period.start_ns), NS_PER_H)
        data = [{"dataUsage": "output", "dataType": "token", "dataQuantity": int(tokens)}]
        if prompt is not None:
            data.insert(0, {"dataUsage": "input", "dataType": "token", "dataQuantity": int(prompt)})
        task = {
            "taskStage": "inference",
            "taskFamily": "text generation",
            "algorithms": [{"algorithmType": "llm", "foundationModelName": model}],
            "dataset": data,
            "taskDescription": f"all requests of {facts.label or 'the period'} at site {part.site}; energy at the "
            f"{facts.boundary_of(part.site)} boundary, without unallocated energy",
        }
        gpus = max(1, ceil((part.values["gpu_hours"] or 0) / hours)) if hours else 1
        figures = [f for f in facts.by_prefix("energy.allocated/") if (f.dims["site"], f.dims["model"]) == (part.site, model)]
        yield _BoampsTask(model, part.site, joules, _error(figures), gpus, {"task": task})


def _trained(facts: Facts) -> Iterator[_BoampsTask]:
    """One task per training run, at the widest boundary that is known."""
    only = next(iter(facts.sites)) if len(facts.sites) == 1 else ""
    for gpu in facts.of("training.energy", "run"):
        name = gpu.dims["run"]
        figures = [facts.figures[f"training.energy{level}/run/{name}"] for level in (".facility", ".node", "")]
        figure = next((f for f in figures if f.value is not None), None)
        if figure is None or figure.value is None:
            continue
        task = {
            "taskStage": "training",
            "taskFamily": "model training",
            "algorithms": [{"foundationModelName": gpu.dims["model"]} if gpu.dims["model"] else {"algorithmName": name}],
            "dataset": [{"dataUsage": "input", "dataType": "other"}],
            "taskDescription": f"{gpu.dims['steps']} steps; energy at the {figure.boundary} boundary",
        }
        yield _BoampsTask(name, only, figure.value, _error([figure]), 1, {"task": task})


def _error(figures: Sequence[Figure]) -> Fraction | None:
    """Largest relative distance of a bound; None: a figure has no bounds."""
    errors = []
    for figure in figures:
        if not figure.value or figure.low is None or figure.high is None:
            return None
        errors.append(max(figure.value - figure.low, figure.high - figure.value) / figure.value)
    return max(errors, default=None)


def _boamps(facts: Facts, task: _BoampsTask, folder: str) -> tuple[Path, dict[str, Any]]:
    """(file that CodeCarbon names, the report), with the meter's name and without parts that CodeCarbon assumes."""
    from codecarbon.output_methods.boamps.output import BoAmpsOutput

    site = task.site or next(iter(facts.sites))
    part = AllocatedPart(site, {"team": ""}, is_allocated=True, values={})
    amounts = dict.fromkeys((column.name for column in _AMOUNTS), None)
    row = replace(
        _row(facts, part, amounts), run_id=_run_id(facts, BOAMPS_NAME, task.site, task.name), gpu_count=task.gpus,
        energy_consumed=float(task.joules / J_PER_KWH), cpu_utilization_percent=0.0, gpu_utilization_percent=0.0,
    )  # fmt: skip
    context = task.context | {"environment": {"location": task.site}} if task.site else dict(task.context)
    context["header"] = {"publisher": {"name": facts.organisation, "confidentialityLevel": "internal"},
                         "reportStatus": "final" if facts.status == "final" else "draft"}  # fmt: skip
    quality = next((name for bound, name in QUALITIES if task.error is not None and task.error <= bound), None)
    output = BoAmpsOutput.from_dict(context | ({"quality": quality} if quality else {}), output_dir=folder)
    output.out(row, row)
    if output.save_file_path is None:
        raise WattlensError(f"{BOAMPS_NAME}: CodeCarbon could not write the report of {task.name}")
    path = Path(output.save_file_path)
    report: dict[str, Any] = json.loads(path.read_text())
    report["measures"][0] |= {"measurementMethod": "wattlens", "version": facts.version}
    infrastructure = report["infrastructure"]
    infrastructure["components"] = [each for each in infrastructure["components"] if each["componentType"] == "gpu"]
    for section in ("system", "software"):
        report.pop(section, None)
    if not task.site or "country" not in report.get("environment", {}):  # the schema requires a country
        report.pop("environment", None)
    return path, report
