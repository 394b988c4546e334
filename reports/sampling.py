"""Cells of a report's ledger drawn at random, each traced from a figure to the segment, line and hash that it comes from.

For an auditor's test of details: the draw is repeatable by its seed, every file that is read has the hash that the report's
manifest and the day's manifest state, and the figure that a cell is part of is summed again over all of its cells.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from random import Random
from typing import Any, Final

from energy_agent.core.errors import ChainError, UsageError, WattlensError
from energy_agent.core.units import UJ_PER_J
from energy_agent.ledger.fleet.parquet import columns_of
from energy_agent.ledger.rows.kinds import CELL_NS
from energy_agent.ledger.segments import segment
from energy_agent.query.port import EngineOptions
from reports.audit import folder as files
from reports.audit.manifest import read_manifest, sha256
from reports.figures.facts import Facts
from reports.figures.figure import rounded
from reports.ledger.days import MANIFEST_MAX_B, Day, DayStorage, find_days, overlapping, verify_files
from reports.ledger.store import USUAL, DayDatabase, kind_file, open_store
from reports.ledger.sums import SiteWindow
from reports.reproduce import facts_of

COUNT_MAX: Final = 1000
_KEY: Final = ("cell_start_ns", "cluster", "node", "device", "workload", "state", "method", "start_ns", "energy_uj")
_ORDER: Final = ", ".join(_KEY)
_FIGURES: Final = {"gpu": "energy.gpu", "host": "energy.node"}
"""The figure of a site that cells of a class are part of."""


@dataclass(frozen=True, slots=True)
class SampledCell:
    """One drawn cell.

    Args:
        day_file: file of the compacted day, and its SHA-256, which the report's manifest and the file itself have.
        segment: name of the node's segment, and its SHA-256 in the day's manifest.
        line: number of its line in the segment; None: segments were not given.
        figure: ID of the site's figure that it is part of.
        problem: what does not agree; "": nothing.
    """

    site: str
    values: Mapping[str, Any]
    day_file: tuple[str, str]
    segment: tuple[str, str]
    line: int | None
    figure: str
    problem: str


@dataclass(frozen=True, slots=True)
class RecomputedFigure:
    """A figure of the report in J, None if it is absent, and the sum in uJ of the ledger's cells that it is made of."""

    id: str
    cells: int
    summed_uj: int
    stated_j: Fraction | None

    @property
    def agrees(self) -> bool:
        """Equal to the last microjoule, or to the nine digits that a figure of several sums has."""
        exact = Fraction(self.summed_uj, UJ_PER_J)
        return self.stated_j in (exact, rounded(exact))


@dataclass(frozen=True, slots=True)
class CellSample:
    """The drawn cells, out of how many, and the figures that they are part of."""

    seed: str
    population: int
    cells: tuple[SampledCell, ...]
    figures: tuple[RecomputedFigure, ...]

    @property
    def ok(self) -> bool:
        """Whether every cell is where the manifests say, and every figure is the sum of its cells."""
        return all(not cell.problem for cell in self.cells) and all(figure.agrees for figure in self.figures)


def draw(
    report: Path, ledger: str, count: int, seed: str, segments: Path | None = None, limits: EngineOptions = USUAL
) -> CellSample:
    """Draw cells of GPUs and hosts from the days that a report was created from.

    Args:
        report: its folder.
        ledger: folder or fsspec URL of the compacted days.
        count: how many, from 1 to COUNT_MAX; all if the period has fewer.
        seed: with the hash of the facts it decides the draw.
        segments: folder of the nodes' segments; None: lines are not looked up.
        limits: threads and memory for reading the ledger.

    Raises:
        UsageError: a folder does not exist, or `count` is out of range.
        WattlensError: the report or the ledger is damaged, or is not the one that the report names.
    """
    if not 1 <= count <= COUNT_MAX:
        raise UsageError(f"--count: expected 1 to {COUNT_MAX}, got {count}")
    if segments is not None and not segments.is_dir():
        raise UsageError(f"--segments {segments}: no such folder")
    files.names(report)
    manifest = read_manifest(report)
    raw = files.read(report / files.FACTS, files.FACTS_MAX_B)
    if sha256(raw) != manifest.outputs[files.FACTS].sha256:
        raise WattlensError(f"{report / files.FACTS}: differs from the manifest; run `wattlens report verify`")
    facts = facts_of(raw, files.FACTS)
    system = DayStorage(ledger)
    stated = {(day.site, day.day): day for day in manifest.inputs.days.values()}
    days = find_days(system, {key: day.statement for key, day in stated.items()})
    for day in days:
        if dict(day.files) != dict(stated[day.site, day.day.isoformat()].files):
            raise WattlensError(f"{day.folder}: its files are not those that the report names; run `wattlens report verify`")
    # A period that begins with the first reading has the whole cell of that reading.
    into_cell = 1 if manifest.command.get("from") else CELL_NS
    windows = {
        name: SiteWindow(int(site.start_ns) // into_cell * into_cell, int(site.end_ns)) for name, site in facts.sites.items()
    }
    used = [d for name, w in windows.items() for d in overlapping(days, w.start_ns, w.end_ns) if d.site == name]
    name = kind_file("cell")
    used = [day for day in used if name in day.files]
    verify_files(system, used, [name])
    with open_store(system, [], windows, limits=limits) as store:
        population = _view(store, system, used, windows)
        if not population:
            raise WattlensError(f"{report}: the days of its period have no cell of a GPU or host")
        wanted = sorted(Random(f"{seed}:{sha256(raw)}").sample(range(population), min(count, population)))
        rows = _rows(store, wanted)
        totals = _totals(store)
    by_address = {system.address(day.path(name)): day for day in used}
    cells = tuple(_cell(system, by_address[row["filename"]], row, segments) for row in rows)
    touched = sorted({cell.figure for cell in cells})
    return CellSample(seed, population, cells, tuple(_figure(facts, identity, totals) for identity in touched))


def _view(store: DayDatabase, system: DayStorage, days: Sequence[Day], windows: Mapping[str, SiteWindow]) -> int:
    """Create the view `population` of all cells of GPUs and hosts in the sites' periods; returns how many there are."""
    paths = [system.address(day.path(kind_file("cell"))) for day in days]
    store.files_view("sampled_file", columns_of("cell"), paths)
    columns = {"path": "VARCHAR", "site": "VARCHAR", "from_ns": "BIGINT", "to_ns": "BIGINT"}
    rows = ((path, day.site, *windows[day.site].span) for path, day in zip(paths, days, strict=True))
    store.table("sampled_day", columns, rows)
    store.run("population")
    return int(store.rows("SELECT count(*) FROM population")[0][0])


def _rows(store: DayDatabase, wanted: Sequence[int]) -> list[dict[str, Any]]:
    names = (*_KEY, "sequence", "end_ns", "site", "class", "filename")
    listed = ", ".join(map(str, wanted)) or "-1"
    query = (
        f"SELECT {', '.join(names)} FROM (SELECT *, row_number() OVER (ORDER BY site, {_ORDER}) - 1 AS n FROM population)"  # noqa: S608
        f" WHERE n IN ({listed}) ORDER BY n"
    )
    return [dict(zip(names, row, strict=True)) for row in store.rows(query)]


def _totals(store: DayDatabase) -> dict[tuple[str, str], tuple[int, int]]:
    """(cells, uJ) by (site, class)."""
    query = "SELECT site, class, count(*), CAST(sum(energy_uj) AS VARCHAR) FROM population GROUP BY site, class"
    return {(site, kind): (int(cells), int(uj)) for site, kind, cells, uj in store.rows(query)}


def _figure(facts: Facts, identity: str, totals: Mapping[tuple[str, str], tuple[int, int]]) -> RecomputedFigure:
    name, _, site = identity.partition("/site/")
    classes = ("gpu",) if name == _FIGURES["gpu"] else ("gpu", "host")
    parts = [totals.get((site, kind), (0, 0)) for kind in classes]
    figure = facts.figures.get(identity)
    stated = None if figure is None else figure.value
    return RecomputedFigure(identity, sum(cells for cells, _ in parts), sum(uj for _, uj in parts), stated)


def _cell(system: DayStorage, day: Day, row: Mapping[str, Any], segments: Path | None) -> SampledCell:
    name = segment.file_name(row["cluster"], row["node"], row["sequence"])
    inputs = parse_inputs(system.read(day.path("manifest.json"), MANIFEST_MAX_B), day.path("manifest.json"))
    digest = inputs.get(name, "")
    file = kind_file("cell")
    label = f"{day.site}/{day.day}/r{day.statement:04d}/{file}"
    line, problem = None, "" if digest else f"the day's manifest does not name the segment {name}"
    if segments is not None and digest:
        line, problem = _line(segments / name, digest, row)
    values = {key: row[key] for key in (*_KEY, "end_ns")}
    figure = f"{_FIGURES[row['class']]}/site/{row['site']}"
    return SampledCell(row["site"], values, (label, day.files[file]), (name, digest), line, figure, problem)


def parse_inputs(raw: bytes, where: str) -> dict[str, str]:
    """Segments of a day's manifest: name -> SHA-256.

    Raises:
        ChainError: it is damaged.
    """
    try:
        return {str(name): str(digest) for name, digest in json.loads(raw)["inputs"]}
    except (ValueError, KeyError, TypeError):
        raise ChainError(f"{where}: is corrupted") from None


def _line(path: Path, digest: str, row: Mapping[str, Any]) -> tuple[int | None, str]:
    """(number of the cell's line in a segment, the fault)."""
    if not path.is_file():
        return None, f"{path.name}: is missing in the folder of segments"
    try:
        data = segment.load(path)
    except ChainError as error:
        return None, str(error)
    if segment.sha256(data) != digest:
        return None, f"{path.name}: its SHA-256 differs from the day's manifest"
    wanted = {key: row[key] for key in _KEY if key not in ("cluster", "node")}
    device = f'"device":{json.dumps(row["device"])}'  # as a segment writes it, with escapes
    for number, text in enumerate(data.decode().splitlines(), 1):
        if device in text and '"kind":"cell"' in text:
            fields: dict[str, Any] = json.loads(text)  # whole lines of a segment whose hash is right
            if all(fields.get(key) == value for key, value in wanted.items()):
                return number, ""
    return None, f"{path.name}: no line has this cell"
