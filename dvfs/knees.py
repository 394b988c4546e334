"""The knee table: per SKU the SM clock of least energy per work, each row with its basis and source."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from energy_agent.core.errors import UsageError

TABLE = Path(__file__).with_name("knees.json")
_MAX_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Knee:
    """One row. `match` are parts of NVML's device name; the first row that matches holds, so special parts come first."""

    sku: str
    match: tuple[str, ...]
    knee_mhz: int
    basis: str  # measured | fitted | assumed
    source: str


def load(path: Path = TABLE) -> tuple[Knee, ...]:
    """Read a table.

    Raises:
        UsageError: the file cannot be read or a row is wrong; names the file and row.
    """
    try:
        with path.open("rb") as file:
            text = file.read(_MAX_BYTES + 1)
        if len(text) > _MAX_BYTES:
            raise UsageError(f"{path}: larger than {_MAX_BYTES} bytes; a knee table is small")
        data = json.loads(text)
    except (OSError, ValueError, RecursionError) as error:
        raise UsageError(f"{path}: cannot read the knee table: {error}") from error
    rows = data.get("knees") if isinstance(data, dict) and data.get("schema") == 1 else None
    if not isinstance(rows, list):
        raise UsageError(f"{path}: must be an object with 'schema': 1 and a list 'knees'")
    return tuple(_row(row, f"{path}: knees[{i}]") for i, row in enumerate(rows))


def _row(row: object, where: str) -> Knee:
    if not isinstance(row, dict):
        raise UsageError(f"{where}: must be an object")
    match, clock = row.get("match"), row.get("knee_mhz")
    if not isinstance(match, list) or not match or not all(isinstance(m, str) and m for m in match):
        raise UsageError(f"{where}.match: must be a list of parts of device names")
    if not isinstance(clock, int) or isinstance(clock, bool) or not 100 <= clock <= 5000:
        raise UsageError(f"{where}.knee_mhz: must be a clock in MHz")
    texts = [row.get(key) for key in ("sku", "basis", "source")]
    if not all(isinstance(t, str) and t for t in texts) or texts[1] not in ("measured", "fitted", "assumed"):
        raise UsageError(f"{where}: needs 'sku', 'source' and 'basis' (measured, fitted or assumed)")
    return Knee(str(texts[0]), tuple(match), clock, str(texts[1]), str(texts[2]))


def find(knees: Sequence[Knee], sku: str) -> Knee | None:
    """The row for NVML's device name `sku`, or None where the table has none."""
    name = sku.upper()
    return next((k for k in knees if any(m.upper() in name for m in k.match)), None)
