"""Kinds of devices in the ledger (GPU, host, part of a host, meter of the building) and the boundary of an energy sum.

Device names are unique across a fleet: a GPU has its UUID, a host its cluster and node, a meter its site; none of these can
contain `:` or `/`. A meter of the building includes hosts and GPUs, so it is never added to them.
"""

from collections.abc import Iterable
from enum import StrEnum
from typing import Final

_HOST: Final = "host:"
_METER: Final = "meter:"

UNBOUNDED: Final = "no bound known: "
"""Begins the reason of a gap whose energy nothing bounds: its `bound_uj` is 0 and says nothing."""
JOURNAL_LOST: Final = "journal lost"
"""Reason of the gap between a device's last row and its next reading, where its last reading was lost with the journal."""
NO_SENSOR: Final = "no energy counter and no power readings"
"""Reason of the gap of a device that reports neither energy nor power, and of its missing energy."""

CLOCK_WENT_BACK: Final = "the clock went back"
"""Reason of a gap without length: UTC was set back, so the device's time begins again there."""
CLOCK_WENT_BACK_BETWEEN: Final = "the clock went back between two intervals of a commit"
"""The same, in a segment that has time of the device from before the step too."""


class CounterScope(StrEnum):
    """What a GPU's energy counter includes, with its basis. It never follows from the name of the product."""

    GPU_STATED = "gpu:stated"
    MODULE_STATED = "module:stated"  # and processors and memory of its module
    GPU_MEASURED = "gpu:measured"
    MODULE_MEASURED = "module:measured"
    UNKNOWN = "unknown"

    @property
    def of_module(self) -> bool:
        """The counter includes the module, whichever the basis."""
        return self in (CounterScope.MODULE_STATED, CounterScope.MODULE_MEASURED)


class Boundary(StrEnum):
    """What is within a sum."""

    GPU = "gpu"  # the GPU boards
    GPU_CPU = "gpu+cpu"  # and processors and memory, by RAPL
    NODE = "node"  # all that the node draws, by a meter of the whole node


def host(cluster: str, node: str) -> str:
    """The device that holds a node's energy minus that of its GPUs."""
    return f"{_HOST}{cluster}:{node}"


def part(host_device: str, domain: str) -> str:
    """The device of a part of a host, such as its `package-0`."""
    return f"{host_device}/{domain}"


def meter(site: str, meter_id: str) -> str:
    """The device that holds what a meter of the building counted."""
    return f"{_METER}{site}:{meter_id}"


def is_meter(device: str) -> bool:
    """A meter of the building."""
    return device.startswith(_METER)


def site_and_meter(device: str) -> tuple[str, str]:
    """Site and id of a meter of the building."""
    site, _, meter_id = device.removeprefix(_METER).partition(":")
    return site, meter_id


def is_gpu(device: str) -> bool:
    """Neither a host nor a part of one, nor a meter of the building."""
    return not device.startswith((_HOST, _METER))


def is_host(device: str) -> bool:
    """A whole host."""
    return device.startswith(_HOST) and "/" not in device


def domain(device: str) -> str:
    """What a device of the host is called on metrics: `host`, or the part's name."""
    return device.partition("/")[2] or "host"


def boundary(devices: Iterable[str]) -> Boundary:
    """The boundary of a node's ledger that holds these devices."""
    beyond = [device for device in devices if device.startswith(_HOST)]
    return Boundary.NODE if any(map(is_host, beyond)) else Boundary.GPU_CPU if beyond else Boundary.GPU
