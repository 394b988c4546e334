"""What a device of the ledger is: a GPU, the host around the GPUs, or a part of the host; and what a ledger's sum contains.

Devices are named across a fleet: a GPU by its UUID, a host by its cluster and node, neither of which can hold `:` or `/`.
"""

from collections.abc import Iterable
from enum import StrEnum
from typing import Final

_HOST: Final = "host:"

UNBOUNDED: Final = "no bound known: "
"""Begins the reason of a gap whose energy nothing bounds: its `bound_uj` is 0 and says nothing."""


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


def is_gpu(device: str) -> bool:
    """Neither a host nor a part of one."""
    return not device.startswith(_HOST)


def is_host(device: str) -> bool:
    """A whole host."""
    return device.startswith(_HOST) and "/" not in device


def domain(device: str) -> str:
    """What a device of the host is called on metrics: `host`, or the part's name."""
    return device.partition("/")[2] or "host"


def boundary(devices: Iterable[str]) -> Boundary:
    """The boundary of a node's ledger that holds these devices."""
    beyond = [device for device in devices if not is_gpu(device)]
    return Boundary.NODE if any(map(is_host, beyond)) else Boundary.GPU_CPU if beyond else Boundary.GPU
