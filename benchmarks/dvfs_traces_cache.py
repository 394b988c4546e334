"""What of a case of dvfs_traces does not depend on our policy, kept in a folder by a hash of everything that it comes from."""

import ast
import hashlib
import json
from dataclasses import asdict
from pathlib import Path

from dvfs.replay.serving import replay
from dvfs.replay.serving.replay import Case, Row

_SOURCES = sorted(p for p in Path(replay.__file__).parent.glob("*.py") if p.name != "__init__.py")


def key(case: Case) -> str:
    """A hash of requests, server, limits, grid and seed, and of the program (dvfs/replay/serving) that computes the rest."""
    found = hashlib.sha256()
    for path in _SOURCES:
        found.update(ast.dump(ast.parse(path.read_text())).encode())  # layout and comments change nothing
    clocks = replay.clocks_between(case.knee_mhz, case.server.board.f_max_mhz, case.levels)
    inputs = asdict(case) | {"clocks": clocks}
    found.update(json.dumps(inputs, sort_keys=True, default=str).encode())
    return found.hexdigest()[:32]


def read(folder: Path | None, case: Case) -> tuple[int, list[Row]] | None:
    """Replicas and rows, if they are there."""
    if folder is None:
        return None
    try:
        data = json.loads((folder / f"{key(case)}.json").read_text())
        rows = [Row(**{**row, "mean_mhz": tuple(row["mean_mhz"])}) for row in data["rows"]]
        return int(data["replicas"]), rows
    except (OSError, ValueError, KeyError, TypeError):
        return None


def write(folder: Path | None, case: Case, replicas: int, rows: list[Row]) -> None:
    """Keep them; a file is there whole or not at all."""
    if folder is None:
        return
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{key(case)}.json"
    part = path.with_suffix(".part")
    part.write_text(json.dumps({"replicas": replicas, "rows": [asdict(row) for row in rows]}))
    part.rename(path)
