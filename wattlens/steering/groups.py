"""Groups of GPUs that are steered together, their workloads, and why some are not steered. Pure.

A group is steered whole or not at all, since one slow rank slows all. The configuration names groups by devices; with
`auto_groups` the GPUs that one workload uses alone are a group, and so are those of one training job on this node. Workloads
report the name of their job themselves, so it joins workloads of one owner only (core/workloads/job_identity.py). GPUs that
several jobs share are a group of their own, which needs the consent of all: nobody's other GPUs depend on it.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from energy_agent.config.dvfs import DvfsGroup
from energy_agent.core.snapshot import DeviceView, Snapshot
from energy_agent.core.workloads.job_identity import job_identity, owner_of, shorten
from energy_agent.owners.lone_processes import is_shared
from wattlens.steering.change_limit import CHANGES_MAX

OTHERS = "(others)"
"""The group of all devices that nobody steers: a budget of the node has to know what they may draw."""
FREE = "(free)"
"""Prefix of the group of a device without a process, which a budget of the node limits."""

_UNSETTLED = f"not steered: its training job changes name or size more than once a minute or {CHANGES_MAX} times an hour"

_Key = str | tuple[str, str] | frozenset[str]
"""Identity of an automatic group: a workload, a job (owner and name), or the workloads that share devices."""


@dataclass(frozen=True, slots=True)
class JobRanks:
    """The ranks of a training job, as reported by one workload's processes.

    Args:
        group: name of the job.
        world: how many ranks there are in all.
        here: those of this workload.
        led: whether its other nodes follow what is decided here.
        settled: whether name and size change seldom enough to steer by them.
    """

    group: str
    world: int
    here: frozenset[int]
    led: bool = False
    settled: bool = True


@dataclass(frozen=True, slots=True)
class SteeringGroup:
    """A group on this node.

    Args:
        name: what it is called in metrics and savings; no two groups have the same.
        devices: all of them.
        fault: what is wrong with the group, so that it cannot be steered; "" where nothing is.
        exempt: why it is not steered by design, though nothing is wrong; "" where nothing stands against it.
        workloads: those whose terms count.
        measured: the one of them whose progress counts; "" where none can speak for all.
        configured: the entry of the file, where there is one.
        sharers: workloads that all have to agree, since they share its devices.
        askers: workloads that all have to request a setting before one is applied.
        same_owner: whether all workloads are one owner's.
        owner: who shares the limit of groups that are kept when they are gone.
    """

    name: str
    devices: tuple[DeviceView, ...]
    fault: str = ""
    exempt: str = ""
    workloads: tuple[str, ...] = ()
    measured: str = ""
    configured: DvfsGroup | None = None
    sharers: tuple[str, ...] = ()
    askers: tuple[str, ...] = ()
    same_owner: bool = True
    owner: str = ""

    @property
    def reason(self) -> str:
        """Why it is not steered, "" where nothing stands against it."""
        return self.fault or self.exempt


def named(groups: Sequence[DvfsGroup], snapshot: Snapshot) -> list[SteeringGroup]:
    """The groups of the configuration. While no GPU is known, as at start, no group has one, and no reason either."""
    if not snapshot.devices:
        return [SteeringGroup(group.name, (), configured=group) for group in groups]
    silent = {h.device.removeprefix("index ") for h in snapshot.health if h.device.startswith("index ")}
    owners = owners_of(snapshot)
    owner: dict[str, str] = {}
    steered = []
    for group in groups:
        views: list[DeviceView] = []
        fault = ""
        for name in group.devices:
            view = next((v for v in snapshot.devices if name in (v.info.uuid, str(v.info.index))), None)
            if view is None:
                fault = fault or _missing(name, name in silent, snapshot.devices)
            elif (other := owner.setdefault(view.info.uuid, group.name)) != group.name:
                fault = fault or f"not steered: GPU {view.info.index} is in group {other!r} already"
            elif view in views:
                fault = fault or f"not steered: GPU {view.info.index} is in it twice, by index and by UUID"
            else:
                views.append(view)
        users = tuple(sorted({w for view in views for w in snapshot.owners.get(view.info.uuid, ())}))
        workload_names = (group.workload,) if group.workload else ()
        sharers = users if len(users) > 1 or (workload_names and users and users != workload_names) else ()
        same = _of_one_owner(users, owners)
        steered.append(
            SteeringGroup(
                group.name,
                tuple(views),
                fault,
                _in_mig_mode(views) or _of_unknown_users(users),
                sharers or workload_names,
                group.workload if not users or (same and group.workload in users) else "",
                group,
                sharers,
                users if workload_names else (),
                same,
            )
        )
    return steered


def automatic(
    snapshot: Snapshot, taken: frozenset[str], ranks: Mapping[str, JobRanks], reserved: Iterable[str] = ()
) -> list[SteeringGroup]:
    """The groups of all GPUs in use that no named group has.

    Args:
        snapshot: of the node.
        taken: devices of named groups.
        ranks: of training jobs, by workload, of all workloads that use a GPU.
        reserved: names of named groups.
    """
    owners = owners_of(snapshot)
    jobs = {w: (owner, job.group) for w, job in ranks.items() if job.group and (owner := owners.get(w, ""))}
    views_of: dict[_Key, list[DeviceView]] = {}
    for view in snapshot.devices:
        users = frozenset(snapshot.owners.get(view.info.uuid, ()))
        keys = {jobs.get(w, w) for w in users}
        if users and view.info.uuid not in taken:
            views_of.setdefault(users if len(keys) > 1 else keys.pop(), []).append(view)
    reserved, steered = {*reserved, OTHERS}, []
    workloads: tuple[str, ...]
    for key, views in views_of.items():
        match key:
            case str():
                workloads, name = (key,), _name(key, reserved)
            case frozenset():
                workloads = tuple(sorted(key))
                name = shorten("+".join(_name(w, reserved) for w in workloads))
            case _:
                workloads, name = tuple(sorted(w for w, job in jobs.items() if job == key)), job_identity(*key)
        far = [_far([ranks[w] for w in ranks if jobs.get(w, w) == jobs.get(user, user)]) for user in workloads]
        same = _of_one_owner(workloads, owners)
        steered.append(
            SteeringGroup(
                name,
                tuple(views),
                exempt=_in_mig_mode(views) or _of_unknown_users(workloads) or next(filter(None, far), ""),
                workloads=workloads,
                measured=workloads[0] if same else "",
                sharers=workloads if isinstance(key, frozenset) else (),
                askers=workloads,
                same_owner=same,
                owner="+".join(sorted({owners.get(w, w) for w in workloads})),
            )
        )
    return sorted(steered, key=lambda group: group.name)


def owners_of(snapshot: Snapshot) -> dict[str, str]:
    """The owner of each workload that has one."""
    owners = {fact.workload: owner_of(fact.kind, fact.labels) for fact in snapshot.facts}
    return {workload: owner for workload, owner in owners.items() if owner}


def _name(workload: str, reserved: Collection[str]) -> str:
    """Name of a workload's group, which differs from those of the file, of jobs and of workloads that share devices."""
    if workload in reserved or "+" in workload or workload.startswith(("job:", "~", FREE)):
        return shorten(f"~{workload}")
    return shorten(workload)


def _of_one_owner(workloads: Sequence[str], owners: Mapping[str, str]) -> bool:
    return len(workloads) <= 1 or (all(w in owners for w in workloads) and len({owners[w] for w in workloads}) == 1)


def _in_mig_mode(views: Iterable[DeviceView]) -> str:
    mig = [str(v.info.index) for v in views if v.info.mig_enabled]
    return f"not steered: GPU {', '.join(mig)} is in MIG mode: its instances may serve others" if mig else ""


def _of_unknown_users(workloads: Iterable[str]) -> str:
    return "not steered: processes use it that are too many to distinguish" if any(map(is_shared, workloads)) else ""


def _far(jobs: Sequence[JobRanks]) -> str:
    """A job whose other ranks are on other nodes: steering these alone would slow all."""
    if not all(job.settled for job in jobs):
        return _UNSETTLED
    world = max((job.world for job in jobs if not job.led), default=1)
    here = frozenset().union(*(job.here for job in jobs)) if jobs else frozenset()
    if world <= max(1, len(here)):
        return ""
    return f"not steered: {world} ranks, {len(here)} of them here: a job over several nodes needs wattlens.steered in its loop"


def _missing(name: str, silent: bool, devices: Iterable[DeviceView]) -> str:
    if silent:
        return f"not steered: GPU {name} has not answered yet"
    indices = ", ".join(str(view.info.index) for view in devices)
    return f"not steered: this node has no GPU {name!r}; there are {indices}, or their UUIDs"
