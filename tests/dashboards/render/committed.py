"""The dashboards as they are in the repository, for tests that read what users load."""

import json
from pathlib import Path
from typing import Any

from dashboards.lint.queries import open_rows

FOLDER = Path(__file__).parents[3] / "dashboards/grafana"


def committed() -> list[dict[str, Any]]:
    """Every dashboard with its rows open, by file name."""
    return [open_rows(json.loads(path.read_text())) for path in sorted(FOLDER.glob("*.json"))]
