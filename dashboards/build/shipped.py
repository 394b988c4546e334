"""The built dashboards as they ship: JSON files in the package, so that nothing is built at run time."""

import json
from pathlib import Path
from typing import Any, Final

FOLDER: Final = Path(__file__).parents[1] / "grafana"


def load_dashboards(folder: Path = FOLDER) -> dict[str, dict[str, Any]]:
    """Every dashboard by its uid, as `wattlens dashboards build` has written it.

    Raises:
        OSError: they cannot be read.
        ValueError: a file is no dashboard.
    """
    dashboards = {}
    for path in sorted(folder.glob("*.json")):
        board = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(board, dict) or board.get("uid") != path.stem or not isinstance(board.get("title"), str):
            raise ValueError(f"{path}: expected a dashboard with the uid {path.stem!r} and a title")
        dashboards[path.stem] = board
    return dashboards
