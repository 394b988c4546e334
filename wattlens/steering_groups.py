"""Which GPUs are steered as one, for whom, and why some are not. Pure.

A group is steered whole or not at all, since one slow rank slows all. The configuration names groups by devices; with
`auto_groups` every workload that holds GPUs of its own is one, and workloads of one training job on this node are one together.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from energy_agent.config_dvfs import DvfsGroup
from energy_agent.core.snapshot import DeviceView, Snapshot


@dataclass(frozen=True, slots=True)
class Ranks:
    """A training job's ranks as one workload's processes tell them: how many there are in all, which are here, and its name."""

    group: str
    world: int
    here: frozenset[int]


@dataclass(frozen=True, slots=True)
class Steered:
    """A group as this node has it.

    Args:
        name: what it is called in metrics and savings.
        devices: all of them.
        reason: why it is not steered, "" where nothing stands against it.
        workloads: those whose progress it is, the first one's is measured.
        configured: the entry of the file, where there is one.
        shared_with: others that hold a device of it; they have to agree.
    """

    name: str
    devices: tuple[DeviceView, ...]
    reason: str = ""
    workloads: tuple[str, ...] = ()
    configured: DvfsGroup | None = None
    shared_with: tuple[str, ...] = ()


def named(groups: Sequence[DvfsGroup], snapshot: Snapshot) -> list[Steered]:
    """The groups of the configuration. While no GPU is known, as at start, no group has one, and no reason either."""
    if not snapshot.devices:
        return [Steered(group.name, (), configured=group) for group in groups]
    silent = {h.device.removeprefix("index ") for h in snapshot.health if h.device.startswith("index ")}
    owner: dict[str, str] = {}
    found = []
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
        own = (group.workload,) if group.workload else ()
        holders = _holders(views, snapshot)
        others = tuple(w for w in holders if w not in own) if len(holders) > 1 else ()
        found.append(Steered(group.name, tuple(views), reason or _unfit(views), own, group, others))
    return found


def automatic(snapshot: Snapshot, taken: frozenset[str], ranks: Mapping[str, Ranks]) -> list[Steered]:
    """A group of every workload that holds GPUs which no named group has.

    Args:
        snapshot: of the node.
        taken: devices of named groups.
        ranks: of training jobs, by workload.
    """
    views = {v.info.uuid: v for v in snapshot.devices if v.info.uuid not in taken}
    held = {uuid: set(snapshot.holders[uuid]) for uuid in views if snapshot.holders.get(uuid)}
    jobs: dict[str, set[str]] = {}
    for workload, job in ranks.items():
        if job.group:
            jobs.setdefault(job.group, set()).add(workload)
    found = []
    for workloads in _together([*held.values(), *jobs.values()]):
        devices = tuple(views[uuid] for uuid, holders in held.items() if holders & workloads)
        if not devices:
            continue
        here = tuple(sorted(w for w in workloads if any(w in held[v.info.uuid] for v in devices)))
        groups = {ranks[w].group for w in here if w in ranks and ranks[w].group}
        one_job = len(here) == 1 or (len(groups) == 1 and all(w in ranks for w in here))
        name = f"job:{min(groups)}" if one_job and groups else "+".join(here)
        reason = _unfit(devices) or _far([ranks[w] for w in here if w in ranks])
        found.append(Steered(name[:120], devices, reason, here, None, () if one_job else here))
    return found


def _together(bundles: Iterable[set[str]]) -> list[frozenset[str]]:
    """Bundles that have a member in common, as one."""
    found: list[set[str]] = []
    for bundle in bundles:
        joined = set(bundle)
        apart = []
        for one in found:
            if one & joined:
                joined |= one
            else:
                apart.append(one)
        found = [*apart, joined]
    return sorted(map(frozenset, found), key=sorted)


def _holders(views: Iterable[DeviceView], snapshot: Snapshot) -> tuple[str, ...]:
    return tuple(sorted({w for view in views for w in snapshot.holders.get(view.info.uuid, ())}))


def _unfit(views: Iterable[DeviceView]) -> str:
    mig = [str(v.info.index) for v in views if v.info.mig_enabled]
    return f"not steered: GPU {', '.join(mig)} is in MIG mode: its instances may serve others" if mig else ""


def _far(jobs: Sequence[Ranks]) -> str:
    """A job whose other ranks are on other nodes: steering these alone would slow all."""
    world = max((job.world for job in jobs), default=1)
    here = frozenset().union(*(job.here for job in jobs)) if jobs else frozenset()
    if world <= max(1, len(here)):
        return ""
    return f"not steered: {world} ranks, {len(here)} of them here: a job over several nodes needs wattlens.steered in its loop"


def _missing(name: str, silent: bool, devices: Iterable[DeviceView]) -> str:
    if silent:
        return f"not steered: GPU {name} has not answered yet"
    there = ", ".join(str(view.info.index) for view in devices)
    return f"not steered: this node has no GPU {name!r}; there are {there}, or their UUIDs"
