"""`wattlens compare A B`: whether the runs of two folders, or lists of files, differ in energy, with a confidence interval."""

import argparse
import json
from collections import Counter
from pathlib import Path
from typing import Any

from energy_agent.core.errors import UsageError
from wattlens.cli._command import Command

_MAX_B = 1 << 20


def _configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "a", metavar="A", help="runs saved by wattlens measure --save: a folder of them, or files joined by commas"
    )
    parser.add_argument("b", metavar="B", help="the runs to compare them with, likewise; two or more on each side")
    parser.add_argument("--json", action="store_true", help="as JSON")


def _run(args: argparse.Namespace) -> int:
    from wattlens.comparison import compare

    paths = [_paths(args.a), _paths(args.b)]
    named = Counter(path.resolve() for side in paths for path in side)
    twice = next((path for path, times in named.items() if times > 1), None)
    if twice is not None:
        raise UsageError(f"compare: {twice} is named twice; a run counts once, else the interval is narrower than it is")
    sides = [_side(text, side) for text, side in zip((args.a, args.b), paths, strict=True)]
    boards = [sorted({uuid for run in side for uuid in run["devices"]}) for side in sides]
    if len({run["simulated"] for side in sides for run in side}) > 1:
        raise UsageError("compare: runs on simulated and on real GPUs cannot be compared")
    found = {}
    for what in ("joules", "seconds"):
        try:
            found[what] = compare(*([run[what] for run in side] for side in sides))
        except ValueError as error:
            raise UsageError(f"compare: {error}") from None
    if args.json:
        rows = {
            what: {"mean_a": c.mean_a, "mean_b": c.mean_b, "ratio": c.ratio, "low": c.low, "high": c.high, "shown": c.shown}
            for what, c in found.items()
        }
        print(json.dumps(rows | {"runs": [len(s) for s in sides], "same_boards": boards[0] == boards[1]}, indent=2))
        return 0
    print(f"A: {len(sides[0])} runs, B: {len(sides[1])} runs" + ("; simulated GPUs" if sides[0][0]["simulated"] else ""))
    for what, c in found.items():
        change = f"{100 * (c.ratio - 1):+.1f} % ({100 * (c.low - 1):+.1f} to {100 * (c.high - 1):+.1f})"
        verdict = f"B takes {'more' if c.ratio > 1 else 'less'} {what}" if c.shown else f"no difference shown in {what}"
        print(f"{what:8} A {c.mean_a:.6g}   B {c.mean_b:.6g}   B against A {change}: {verdict}")
    if boards[0] != boards[1]:
        print("A and B ran on different boards: their sensors' gains, +-5 % each, add to the difference in joules")
    return 0


def _paths(text: str) -> list[Path]:
    folder = Path(text)
    return sorted(folder.glob("*.json")) if folder.is_dir() else [Path(part) for part in text.split(",") if part]


def _side(text: str, paths: list[Path]) -> list[dict[str, Any]]:
    runs = [_load(path) for path in paths]
    if len(runs) < 2:
        raise UsageError(f"compare: {text} holds {len(runs)} run{'' if len(runs) == 1 else 's'}; two or more are needed")
    return runs


def _load(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            run = json.loads(file.read(_MAX_B))
    except OSError as error:
        raise UsageError(f"compare: {path}: {error.strerror}") from None
    except ValueError:
        run = None
    if not isinstance(run, dict) or run.get("schema") != "wattlens.measure/1" or not isinstance(run.get("devices"), dict):
        raise UsageError(f"compare: {path} is no run that wattlens measure --save wrote")
    if not isinstance(run.get("joules"), int | float) or not isinstance(run.get("seconds"), int | float):
        raise UsageError(f"compare: {path} was not measured: {run.get('reason') or 'it has no joules'}")
    return run


SPEC = Command("compare the energy of saved runs, with a confidence interval", _configure, _run)
