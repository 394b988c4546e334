"""The file that `wattlens doctor --sensors --json` writes, read back: what the agent need not assume any more."""

import json
import math
from pathlib import Path

from energy_agent.core.errors import UsageError

SCHEMA = "wattlens-sensors/1"
MAX_B = 1 << 20


def tick_ns_by_board(path: Path) -> dict[str, int]:
    """The longest tick in ns by UUID, and by product name the longest of its boards, where it was measured.

    Raises:
        UsageError: the file cannot be read or is none of this schema.
    """
    try:
        with path.open("rb") as file:
            body = json.loads(file.read(MAX_B))
        if body["schema"] != SCHEMA:
            raise ValueError(f"schema {body['schema']!r}")
        ticks: dict[str, int] = {}
        for board in body["boards"]:
            high_ms = board["tick_max_ms"].get("high")
            if high_ms is None:
                continue  # absent, with its reason beside it
            if not 1.0 <= float(high_ms) <= 10_000.0:
                raise ValueError(f"a tick of {high_ms} ms")
            high_ns = math.ceil(float(high_ms) * 1e6)
            ticks[str(board["uuid"])] = high_ns
            ticks[str(board["name"])] = max(high_ns, ticks.get(str(board["name"]), 0))
    except OSError as error:
        raise UsageError(f"sources.nvml.sensor_profile {path}: {error.strerror}") from None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UsageError(
            f"sources.nvml.sensor_profile {path} is not what 'wattlens doctor --sensors --json' writes: {error}"
        ) from None
    return ticks
