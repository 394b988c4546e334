"""What a device of the ledger is: a GPU, the host around the GPUs, or a part of the host; and what a ledger's sum contains."""

from collections.abc import Iterable
from enum import StrEnum
from typing import Final

HOST: Final = "host"
"""The device that holds a node's energy minus that of its GPUs."""

_PART: Final = "host/"

UNBOUNDED: Final = "no bound known: "
"""Begins the reason of a gap whose energy nothing bounds: its `bound_uj` is 0 and says nothing."""


class Boundary(StrEnum):
    """What is within a sum."""

    GPU = "gpu"  # the GPU boards
    GPU_CPU = "gpu+cpu"  # and processors and memory, by RAPL
    NODE = "node"  # all that the node draws, by a meter of the whole node


def part(domain: str) -> str:
    """The device of a part of the host, such as `host/package-0`."""
    return _PART + domain


def is_gpu(device: str) -> bool:
    """Neither the host nor a part of it."""
    return device != HOST and not device.startswith(_PART)


def domain(device: str) -> str:
    """What a device of the host is called on metrics: `host`, or the part's name."""
    return device.removeprefix(_PART)


def boundary(devices: Iterable[str]) -> Boundary:
    """The boundary of a ledger that holds these devices."""
    beyond = {device for device in devices if not is_gpu(device)}
    return Boundary.NODE if HOST in beyond else Boundary.GPU_CPU if beyond else Boundary.GPU
