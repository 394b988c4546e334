"""Common parts of the node's meters: the type of a SPEC, bounded reads of small files, and checks of implausible numbers."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from energy_agent.config.node_meters import NodeMeters
from energy_agent.core.meters.plausible import NODE_MAX_MW
from energy_agent.core.meters.reading import MeterError
from energy_agent.core.ports import Clock, PolledMeter

_SMALL_LIMIT_B = 4096


@dataclass(frozen=True, slots=True)
class NodeSource:
    """One kind of meter.

    `period_s` returns None if the configuration does not enable the meter. `open` raises MeterError if the meter is not
    available (a file that only root can read, a program that is not installed); the agent retries it later.
    """

    summary: str
    period_s: Callable[[NodeMeters], float | None]
    open: Callable[[NodeMeters, Clock], PolledMeter]


def read_number(path: Path) -> int:
    """The whole number in a small file of the kernel's.

    Raises:
        OSError: it cannot be read.
        MeterError: it holds no whole number.
    """
    with path.open("rb") as file:
        text = file.read(_SMALL_LIMIT_B).strip()
    try:
        return int(text)
    except ValueError:
        raise MeterError(f"{path}: expected a whole number") from None


def read_text(path: Path) -> str:
    """The line in a small file of the kernel; '' if it cannot be read."""
    try:
        with path.open("rb") as file:
            return file.read(_SMALL_LIMIT_B).decode("utf-8", "replace").strip()
    except OSError:
        return ""


def believable_mw(power_mw: int, max_power_w: float | None) -> int:
    """The power of a whole node.

    Raises:
        MeterError: negative, zero (the node that reads it is running), or above the maximum.

    >>> believable_mw(350_000, max_power_w=800.0)
    350000
    """
    most_mw = NODE_MAX_MW if max_power_w is None else min(NODE_MAX_MW, round(max_power_w * 1000))
    if power_mw <= 0:
        raise MeterError(f"implausible reading: {power_mw / 1000:g} W of a running node")
    if power_mw > most_mw:
        raise MeterError(f"implausible reading: {power_mw / 1000:g} W, above the maximum of {most_mw / 1000:g} W")
    return power_mw
