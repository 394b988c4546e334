"""`wattlens report sample`: cells drawn at random, with the segment, line and hash that each comes from."""

from argparse import Namespace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wattlens.cli._command import Command, CommandOptions, print_json, print_lines
from wattlens.cli._options import add_store_limits

if TYPE_CHECKING:
    from reports.sampling import CellSample, SampledCell


def _configure(add: CommandOptions) -> None:
    add("folder DIR", "folder of the report")
    add("--ledger URL", "compacted days of the report (required)")
    add("--segments DIR", "folder of the nodes' segments: look up each cell's line")
    add("--count N", "number of cells (default 25)", type=int, default=25)
    add("--seed TEXT", "the same seed draws the same cells again (default 0)", default="0")
    add_store_limits(add)
    add("--json", "print JSON")


def _run(args: Namespace) -> int:
    """Draw and print; 0 where every cell and figure agrees, 1 where one does not."""
    from energy_agent.core.errors import UsageError
    from energy_agent.ledger.reading import is_compacted
    from energy_agent.query.port import EngineOptions
    from reports.sampling import draw

    if args.ledger is None:
        raise UsageError("missing --ledger: the compacted days that the report was created from")
    folder = Path(args.ledger)
    if folder.is_dir() and not is_compacted(folder):
        raise UsageError(
            f"--ledger {folder}: expected the compacted days of `wattlens ledger compact`, from which a report is sampled"
        )
    limits = EngineOptions(args.threads, args.memory, args.engine)
    sample = draw(args.folder, args.ledger, args.count, args.seed, args.segments, limits)
    if args.json:
        print_json(_as_json(sample), 1)
    else:
        print_lines(_lines(sample, args))
    return 0 if sample.ok else 1


def _lines(sample: "CellSample", args: Namespace) -> list[str]:
    from reports.figures.figure import plain

    lines = [f"{len(sample.cells)} of {sample.population:,} cells of GPUs and hosts, seed {sample.seed}"]
    for number, cell in enumerate(sample.cells, 1):
        lines += ["", *_cell_lines(number, cell)]
    lines += ["", "Figures, summed again over all of their cells:"]
    for figure in sample.figures:
        stated = "absent" if figure.stated_j is None else f"{plain(figure.stated_j)} J"
        result = "equal" if figure.agrees else "DIFFERENT"
        lines.append(f"  {figure.id}: {figure.cells:,} cells, {figure.summed_uj:,} uJ; report: {stated}; {result}")
    if args.segments is None:
        lines += ["", "Lines in segments were not looked up: requires --segments."]
    bad = sum(bool(cell.problem) for cell in sample.cells) + sum(not figure.agrees for figure in sample.figures)
    return [*lines, "", "All cells and figures agree." if sample.ok else f"{bad} do NOT agree."]


def _cell_lines(number: int, cell: "SampledCell") -> list[str]:
    values = cell.values
    who = values["workload"] or "no workload"
    start = datetime.fromtimestamp(values["start_ns"] // 10**9, UTC)
    seconds = (values["end_ns"] - values["start_ns"]) / 10**9
    line = f"line {cell.line}" if cell.line is not None else "line not looked up"
    return [
        f"{number}. {cell.site}  {start:%Y-%m-%dT%H:%M:%SZ} + {seconds:g} s  {values['cluster']}/{values['node']}  "
        f"{values['device']}",
        f"   {values['energy_uj']:,} uJ, {values['state']}, {values['method']}, {who}; part of {cell.figure}",
        f"   segment {cell.segment[0]}, {line}, SHA-256 {cell.segment[1]}",
        f"   day {cell.day_file[0]}, SHA-256 {cell.day_file[1]}",
        *([f"   PROBLEM: {cell.problem}"] if cell.problem else []),
    ]


def _as_json(sample: "CellSample") -> dict[str, Any]:
    from reports.figures.figure import plain

    return {
        "ok": sample.ok,
        "seed": sample.seed,
        "population": sample.population,
        "cells": [
            {
                "site": cell.site,
                **cell.values,
                "day_file": cell.day_file[0],
                "day_file_sha256": cell.day_file[1],
                "segment": cell.segment[0],
                "segment_sha256": cell.segment[1],
                "line": cell.line,
                "figure": cell.figure,
                "problem": cell.problem,
            }
            for cell in sample.cells
        ],
        "figures": [
            {
                "id": each.id,
                "cells": each.cells,
                "summed_uj": each.summed_uj,
                "stated_j": None if each.stated_j is None else plain(each.stated_j),
                "agrees": each.agrees,
            }
            for each in sample.figures
        ],
    }


COMMAND = Command("draw cells of a report at random, and trace each to its segment, line and hash", _configure, _run)
