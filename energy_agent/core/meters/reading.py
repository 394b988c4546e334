"""Readings of meters: a whole node, a module, a processor package, its memory, or a part of a building."""

from dataclasses import dataclass
from enum import StrEnum

from energy_agent.core.errors import WattlensError


class MeterError(WattlensError):
    """A meter returned no plausible reading; the message is the reason."""


class Scope(StrEnum):
    """What a reading contains. Two scopes of one node are never summed unless neither contains the other."""

    NODE = "node"  # everything behind the node's power supplies
    MODULE = "module"  # a board that contains its GPU
    SOCKET = "socket"  # a part of a module; a Grace contains its CPU and SysIO
    PACKAGE = "package"  # a processor socket
    DRAM = "dram"  # the memory of a socket
    FACILITY = "facility"  # a meter of the building; what is behind it, the site's configuration says


@dataclass(frozen=True, slots=True)
class MeterReading:
    """One domain of one meter, read once.

    Args:
        domain: names it within its meter, such as `node`, `package-0` or `dram-0`.
        t_ns: UTC ns; `boot_ns` is CLOCK_BOOTTIME ns.
        energy_uj: cumulative counter in uJ, None where the meter has none.
        wrap_uj: the counter's range: it goes on at 0 there. None: it does not wrap.
        power_mw: power in mW, None where the meter has none.
        max_mw: the maximum that the domain can draw, None where nobody said.
        step_uj: resolution of the counter.
        step_mw: resolution of the power.
        age_ns: how old a reading can be when it is read.
    """

    domain: str
    scope: Scope
    t_ns: int
    boot_ns: int
    energy_uj: int | None = None
    wrap_uj: int | None = None
    power_mw: int | None = None
    max_mw: int | None = None
    step_uj: int = 1
    step_mw: int = 1
    age_ns: int = 0
