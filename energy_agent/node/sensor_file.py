"""Read what `wattlens doctor --sensors` measured, its --json or its capture file: properties that replace assumptions."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final, Literal

from pydantic import Field, TypeAdapter

from energy_agent.core.errors import UsageError
from energy_agent.runtime.files import json_file

SCHEMA: Final = "wattlens-sensors/1"
MAX_B = 16 << 20


@dataclass(frozen=True, slots=True)
class _Tick:
    high: Annotated[float, Field(ge=1.0, le=10_000.0)] | None = None  # absent, with its reason next to it


@dataclass(frozen=True, slots=True)
class _Board:
    tick_max_ms: _Tick
    uuid: str = ""  # not in a capture file; a GPU that hangs has neither
    name: str = ""


@dataclass(frozen=True, slots=True)
class _Profile:
    schema: Literal["wattlens-sensors/1"]
    boards: tuple[_Board, ...]


_PROFILE = TypeAdapter(_Profile)


def tick_ns_by_board(path: Path) -> dict[str, int]:
    """The longest measured tick in ns by UUID, and by product name the longest of the GPUs of that product.

    Raises:
        UsageError: the file cannot be read or does not have this schema.
    """
    try:
        profile = json_file.load(_PROFILE, path, MAX_B)
    except UsageError as error:
        raise UsageError(
            f"sources.nvml.sensor_profile: expected the output of 'wattlens doctor --sensors --json': {error}"
        ) from None
    ticks: dict[str, int] = {}
    for board in profile.boards:
        if board.tick_max_ms.high is not None:
            high_ns = math.ceil(board.tick_max_ms.high * 1e6)
            for key in filter(None, (board.uuid, board.name)):
                ticks[key] = max(high_ns, ticks.get(key, 0))
    return ticks
