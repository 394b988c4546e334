"""The file in which a sweep's measurements are kept: Zeus's own format, so that either reads what the other wrote.

    {"measurements": [{"power_limit": 300, "energy": 5210.0, "time": 12.1, "energy_half_width": 40.0}, ...]}

W, J and s. `energy_half_width` is ours; Zeus leaves it out.
"""

import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from energy_agent.sdk.zeus.selection import PowerLimitMeasurement

_MOST_B = 1 << 20


def read(path: Path) -> list[PowerLimitMeasurement]:
    """The measurements of a file.

    Raises:
        ValueError: it cannot be read, or has none; names the file.
    """
    try:
        with path.open("rb") as file:
            rows = [_row(row) for row in json.loads(file.read(_MOST_B))["measurements"]]
    except OSError as error:
        raise ValueError(f"profile_path {path}: {error.strerror}") from None
    except (ValueError, TypeError, KeyError, RecursionError, AttributeError):
        rows = []
    if not rows:
        raise ValueError(f"profile_path {path}: expected measurements of power limits; move the file away to profile again")
    return rows


def write(path: Path, measurements: Sequence[PowerLimitMeasurement]) -> None:
    """Put the measurements into a file, whole or not at all. Raises OSError."""
    rows = [{k: v for k, v in asdict(one).items() if v is not None} for one in measurements]
    draft = path.with_name(f"{path.name}.{os.getpid()}.new")
    try:
        draft.write_text(json.dumps({"measurements": rows}, indent=4))
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


def _row(row: Mapping[str, Any]) -> PowerLimitMeasurement:
    limit_w, joules, seconds = (row[key] for key in ("power_limit", "energy", "time"))
    half = row.get("energy_half_width")
    if any(isinstance(value, bool) or not 0 < value < math.inf for value in (limit_w, joules, seconds)):
        raise ValueError("expected values above 0")
    return PowerLimitMeasurement(round(limit_w), float(joules), float(seconds), None if half is None else max(0.0, float(half)))
