"""Which GPUs each configured group has, or why it cannot be steered. Pure.

A group is steered whole or not at all, so one name in it that this node does not have is a fault of the configuration. The file
alone does not show it; it is found as soon as the node's GPUs are known.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from energy_agent.config import DvfsGroup
from energy_agent.core.snapshot import DeviceView, Snapshot


@dataclass(frozen=True, slots=True)
class Members:
    """A group as this node has it; `reason` says why it is not steered, "" where it is."""

    devices: tuple[DeviceView, ...]
    reason: str


def members(groups: Sequence[DvfsGroup], snapshot: Snapshot) -> dict[str, Members]:
    """The members of each group by its name. While no GPU is known, as at start, no group has one, and no reason either."""
    if not snapshot.devices:
        return {group.name: Members((), "") for group in groups}
    silent = {h.device.removeprefix("index ") for h in snapshot.health if h.device.startswith("index ")}
    owner: dict[str, str] = {}
    found = {}
    for group in groups:
        views: list[DeviceView] = []
        reason = ""
        for name in group.devices:
            view = next((v for v in snapshot.devices if name in (v.info.uuid, str(v.info.index))), None)
            if view is None:
                reason = reason or _missing(name, name in silent, snapshot.devices)
            elif (other := owner.setdefault(view.info.uuid, group.name)) != group.name:
                reason = reason or f"not steered: GPU {view.info.index} is in group {other!r} already"
            elif view in views:
                reason = reason or f"not steered: GPU {view.info.index} is in it twice, by index and by UUID"
            else:
                views.append(view)
        found[group.name] = Members(tuple(views), reason)
    return found


def _missing(name: str, silent: bool, devices: Iterable[DeviceView]) -> str:
    if silent:
        return f"not steered: GPU {name} has not answered yet"
    there = ", ".join(str(view.info.index) for view in devices)
    return f"not steered: this node has no GPU {name!r}; there are {there}, or their UUIDs"
