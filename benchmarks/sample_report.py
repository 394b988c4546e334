"""Generator of the sample report of the docs, with the same bytes each time.

`python -m benchmarks sample_report --out docs/sample-report`: the segments of a made-up fleet (`sample_fleet`) are compacted
and reported with the inputs in deploy/examples/report, by the commands that a user runs. This module invents the other inputs:
the hours of a grid and of a solar park.
"""

import contextlib
import hashlib
import io
import shutil
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from benchmarks import sample_fleet
from benchmarks.runner import Row
from energy_agent.core.units import NS_PER_S
from energy_agent.site.grid.sources.csv_file import CsvFileSource, IntensityCsvConfig
from energy_agent.site.grid.store import GridStore
from wattlens.cli import main as wattlens
from wattlens.site.file import parse_site

INPUTS: Final = Path(__file__).parents[1] / "deploy/examples/report"
QUARTER: Final = "2026Q3"
AS_OF: Final = "2026-10-05"
FORMS: Final = "html,pdf"
GRID: Final = (412, 405, 400, 398, 402, 418, 430, 425, 390, 340, 298, 270, 262, 268, 285, 318, 362, 410, 446, 455, 450, 440,
               430, 420)  # fmt: skip
"""Grams of CO2e a kWh by the hour of a made-up day (UTC)."""
SUN: Final = (0, 0, 0, 0, 2, 9, 22, 41, 60, 76, 88, 95, 97, 92, 81, 66, 48, 29, 13, 4, 0, 0, 0, 0)
"""Percent of a solar park's power by the hour (UTC)."""


class _Known:
    """A clock that stands at the moment at which the grid's hours were learnt."""

    def utc_ns(self) -> int:
        return int(datetime(2026, 10, 4, tzinfo=UTC).timestamp()) * NS_PER_S

    def mono_ns(self) -> int:
        return self.utc_ns()


def hours(first: datetime, days: int) -> Iterator[tuple[int, datetime]]:
    """(day, hour in UTC)."""
    for number in range(24 * days):
        yield number // 24, first + timedelta(hours=number)


def grid_g_per_kwh(day: int, at: datetime) -> int:
    """Carbon intensity of a fictitious grid in an hour of a day of the sample."""
    return GRID[at.hour] + (day * 37) % 61 - 30 - (25 if at.weekday() > 4 else 0)


def grid_csv() -> str:
    """The hours of a fictitious grid."""
    lines = ["ts_utc,zone,g_per_kwh,kind,estimated,method,source"]
    for day, at in hours(datetime(2026, 3, 31, tzinfo=UTC), sample_fleet.DAYS):
        lines.append(f"{at:%Y-%m-%dT%H:%M:%SZ},DE,{grid_g_per_kwh(day, at)},direct,false,,simulated")
    return "\n".join(lines) + "\n"


def solar_csv() -> str:
    """Energy delivered by a solar park in each hour of the quarter: 6 kW peak."""
    lines = ["ts_utc,kwh"]
    for day, at in hours(datetime(2026, 6, 30, 22, tzinfo=UTC), 92):
        watt_hours = 60 * SUN[at.hour] * (60 + (day * 53) % 41) // 100
        lines.append(f"{at:%Y-%m-%dT%H:%M:%SZ},{watt_hours // 1000}.{watt_hours % 1000:03d}")
    return "\n".join(lines) + "\n"


def prepare(folder: Path) -> None:
    """Lay down everything that the report is made of."""
    shutil.copytree(INPUTS, folder / "inputs", ignore=shutil.ignore_patterns("*.md"))
    (folder / "inputs/grid-de.csv").write_text(grid_csv())
    path = folder / "inputs/fra1.yaml"
    (source,) = parse_site(path.read_bytes(), str(path)).the_grid.all_sources
    assert isinstance(source.config, IntensityCsvConfig)
    reader = CsvFileSource(source.config.model_copy(update={"path": folder / "inputs/grid-de.csv"}), _Known())
    GridStore(folder / "inputs/state/grid").append(reader.about, reader.read())
    (folder / "inputs/grid-de.csv").unlink()
    sample_fleet.write(folder / "segments")


def compact(folder: Path) -> None:
    """Compact the segments that `prepare` wrote; raises RuntimeError where the command fails."""
    _run("ledger", "compact", folder / "segments", "--out", folder / "days", "--inventory", folder / "inputs/inventory.csv",
         "--jobs", "2")  # fmt: skip


def make(folder: Path, out: Path, forms: str = FORMS) -> None:
    """Compact what `prepare` laid down, and report it; raises RuntimeError where a command fails."""
    inputs = folder / "inputs"
    compact(folder)
    _run("report", "--ledger", folder / "days", "--quarter", QUARTER, "--org", inputs / "org.yaml",
         "--as-of", AS_OF, "--earlier", "4", "--out", out, "--formats", forms)  # fmt: skip


def _run(*words: object) -> None:
    with contextlib.redirect_stdout(io.StringIO()) as output:
        code = wattlens([str(word) for word in words])
    if code:
        raise RuntimeError(f"wattlens {' '.join(map(str, words))}: exit code {code}: {output.getvalue()[-500:]}")


def run(out: Path, work: Path | None = None, formats: str = FORMS) -> Iterator[Row]:
    """Make the sample report in the folder `out`; `work` keeps segments, days and inputs."""
    with tempfile.TemporaryDirectory(prefix="sample-report-") as scratch:
        folder = work or Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        prepare(folder)
        (out / "manifest.json").unlink(missing_ok=True)  # a final report is not replaced by other figures, but this is a sample
        make(folder, out, formats)
    for path in sorted(out.iterdir()):
        yield {"file": path.name, "bytes": path.stat().st_size, "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
