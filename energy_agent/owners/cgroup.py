"""The workload of a process, by its cgroup. Pure: the text of /proc/PID/cgroup in, a workload out.

Both hierarchies are read: v2 has one line `0::PATH`, v1 has a line per controller. The most specific workload wins: a pod over
its container, a Slurm job over a container in it (the job was given the devices), a container over a systemd unit.

A path is matched from its beginning, and each pattern covers directories that root made and no others: slices and units of
systemd, the parents of the known container managers, kubelet and Slurm. Below such a workload anybody may make directories
with any name: a container's systemd, a user's own manager, a unit with `Delegate=`. So the outermost workload of a path counts.
Where the owners of the directories could be checked (`owners/cgroup_tree.py`), other parents and nested nodes count as well,
and the path ends at the first directory that somebody other than root may change.

A path seen from another cgroup namespace starts with `/..`: it is relative to an ancestor of the agent's own cgroup. Only root
makes directories there too, so the same patterns hold without their first parts.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, field

_POD_ID = r"([0-9a-f]{8}[-_][0-9a-f]{4}[-_][0-9a-f]{4}[-_][0-9a-f]{4}[-_][0-9a-f]{12}|[0-9a-f]{32})"  # a static pod has a hash
_SLICES = r"/(?:[^/]+\.slice/)*"
_ANY_FOLDERS = r"/(?:[^/]+/)*?"
_POD_SLICE = rf"(?:[^/]*-)?kubepods(?:-burstable|-besteffort)?-pod{_POD_ID}\.slice(?=[/:]|$)"
_POD_FOLDER = rf"(?:(?:burstable|besteffort)/)?pod{_POD_ID}(?=/|$)"
_RUNTIME_UNIT = r"(?:(?:containerd|crio|docker|kubelet|k3s|k3s-agent|rke2-server|rke2-agent|snap\.[^/]+)\.service/)?"
_SLURM_PARENT = r"(?:[^/]*slurmstepd\.scope/|slurm[^/]*/(?:uid_\d+/)?)"
_JOB = r"job_(\d{1,10})(?=/|$)(?:/step_([\w.]{1,40}))?"
_CONTAINER_NAME = r"(?:docker-|cri-containerd[-:]|crio-|libpod-|nerdctl-)?([0-9a-f]{64})"
_CONTAINER_PARENT = r"(?:(?:docker(?:/buildkit)?|ecs/[^/]+|default|moby|k8s\.io|libpod_parent|libpod|actions_job)/)?"
_END = r"(?=/|$)"

# By kind: patterns that are safe whatever the owners are, and those that need owners that were checked.
_PODS = (
    [re.compile(p) for p in (_SLICES + _RUNTIME_UNIT + _POD_SLICE, rf"/(?:kubelet/)?(?:kubepods/)?{_POD_FOLDER}")],
    [re.compile(p) for p in (_ANY_FOLDERS + _POD_SLICE, rf"{_ANY_FOLDERS}kubepods/{_POD_FOLDER}")],
)
_JOBS = (
    [re.compile(p) for p in (_SLICES + _SLURM_PARENT + _JOB, rf"/(?:uid_\d+/)?(?=job_\d+/step_){_JOB}")],
    [re.compile(p) for p in (_ANY_FOLDERS + _SLURM_PARENT + _JOB,)],
)
_CONTAINERS = (
    [re.compile(p) for p in (rf"{_SLICES}{_CONTAINER_NAME}\.scope{_END}", f"/{_CONTAINER_PARENT}{_CONTAINER_NAME}{_END}")],
    [re.compile(p) for p in (rf"{_ANY_FOLDERS}{_CONTAINER_NAME}(?:\.scope)?{_END}",)],
)
_LXC = re.compile(r"/lxc(?:\.payload[./]|/)([^/]+)")
_POD_CONTAINER = re.compile(rf"[/:]{_CONTAINER_NAME}(?:\.scope)?{_END}")
_UNIT = re.compile(rf"{_SLICES}([^/]+)\.(service|scope){_END}")
_UID = "(0|[1-9][0-9]{0,9})"
_MANAGER = re.compile(rf"{_SLICES}user@{_UID}\.service{_END}")
_SYSTEMD_MANAGER = re.compile(rf"/user\.slice/user-{_UID}\.slice/user@\1\.service{_END}")
_USER_UNIT = re.compile(rf"/([^/]+)\.(service|scope){_END}")
_USER_CONTAINER = re.compile(rf"/{_CONTAINER_NAME}(?:\.scope)?{_END}")
_SESSION = re.compile(r"^(session-.*|user@\d+|init|app-.*|vte-spawn-.*|run-.*)$")
_UPWARDS = re.compile(r"^(?:/\.\.)+(?=/|$)")
_LIKE_A_USERS = re.compile(r"@\d+$")
MAX_NAME = 120


@dataclass(frozen=True, slots=True)
class Membership:
    """A workload by its cgroup. `kind` is pod, container, slurm or unit."""

    kind: str
    name: str
    labels: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class TrustedPath:
    """The part of a cgroup's path that root named.

    Attributes:
        path: ends with the first directory that somebody other than root may change, where that is known.
        checked: the owners of all its directories but the last are root. False: they could not be checked.
        below_ours: the path below the last directory shared with the agent's own path; "" if they share no directory.
        owner: uid that alone may change the last directory, besides root; None where others may too, or it is unknown.
    """

    path: str
    checked: bool = False
    below_ours: str = ""
    owner: int | None = None


def unchecked(_controllers: str, path: str) -> TrustedPath:
    """The path where no directory can be checked."""
    return TrustedPath(path)


def membership(text: str, trust: Callable[[str, str], TrustedPath] = unchecked) -> Membership | None:
    """The workload of a process, or None where the cgroup names none (a login session, a plain process).

    Args:
        text: of /proc/PID/cgroup.
        trust: cuts the path of a hierarchy, given its controllers, to what root named.
    """
    lines = [line.split(":", 2) for line in text.split("\n")]  # a name may hold any other character that ends a line
    places: list[tuple[str, bool]] = []
    users: list[Membership] = []
    for _, controllers, path in (line for line in lines if len(line) == 3):
        trusted = trust(controllers, path)
        manager = _users_manager(path, trusted)
        if manager is not None:
            users += _of_user(*manager)
            continue
        places.append((_UPWARDS.sub("", trusted.path), trusted.checked))
        if trusted.below_ours:
            places.append((trusted.below_ours, False))
    for find in (_pod, _slurm, _container, _unit):
        for path, checked in places:
            workload = find(path, checked)
            if workload is not None:
                return workload
    return min(users, key=lambda workload: workload.kind, default=None)  # a container over a unit


def _first_match(
    patterns: tuple[list[re.Pattern[str]], list[re.Pattern[str]]], path: str, checked: bool
) -> re.Match[str] | None:
    anchored, by_owner = patterns
    return next((m for pattern in anchored + (by_owner if checked else []) if (m := pattern.match(path))), None)


def _pod(path: str, checked: bool) -> Membership | None:
    match = _first_match(_PODS, path, checked)
    if match is None:
        return None
    uid = match[1].replace("_", "-")
    container = _POD_CONTAINER.match(path, match.end())  # not the one that the node itself is
    return Membership("pod", f"pod-{uid}", {"pod_uid": uid} | ({"container_id": container[1][:12]} if container else {}))


def _slurm(path: str, checked: bool) -> Membership | None:
    match = _first_match(_JOBS, path, checked)
    if match is None:
        return None
    return Membership("slurm", f"slurm-{match[1]}", {"job": match[1]} | ({"step": match[2]} if match[2] else {}))


def _container(path: str, checked: bool) -> Membership | None:
    match = _first_match(_CONTAINERS, path, checked)
    if match is not None:
        return Membership("container", f"container-{match[1][:12]}", {"container_id": match[1][:12]})
    match = _LXC.match(path)
    if match is None:
        return None
    return Membership("container", f"lxc-{match[1][:MAX_NAME]}", {"container_id": match[1][:MAX_NAME]})


def _unit(path: str, _checked: bool) -> Membership | None:
    match = _UNIT.match(path)
    if match is None or _SESSION.match(match[1]):
        return None
    name, unit_type = match[1][:MAX_NAME], match[2]
    # A user's own unit is NAME@UID: an instance of the system's template that ends so keeps its type in its name.
    workload = f"{name}.{unit_type}" if _LIKE_A_USERS.search(name) else name
    return Membership("unit", workload, {"unit": f"{match[1]}.{unit_type}"})


def _users_manager(path: str, trusted: TrustedPath) -> tuple[str, str] | None:
    """The uid of a user's own manager, and the path below it; None where the path has none that can be trusted.

    Its directory is one that root made and gave to that user alone, or, where owners are unknown, the one that systemd makes.
    """
    if trusted.checked:
        manager = _MANAGER.match(trusted.path)
        owner = trusted.owner if manager and manager.end() == len(trusted.path) else 0  # only the last may be another's
    else:
        path = _UPWARDS.sub("", path)
        manager = _SYSTEMD_MANAGER.match(path)
        owner = int(manager[1]) if manager else None
    return (manager[1], path[manager.end() :]) if manager is not None and owner == int(manager[1]) else None


def _of_user(uid: str, below: str) -> list[Membership]:
    """The container or unit of a user's own manager. The user names all below it, so that names have the user's id in them."""
    container = _USER_CONTAINER.search(below)
    if container is not None:
        short = container[1][:12]
        return [Membership("container", f"container-{short}@{uid}", {"container_id": short, "uid": uid})]
    units = [m for m in _USER_UNIT.finditer(below) if not _SESSION.match(m[1])]
    if not units:
        return []
    unit = units[-1]
    return [Membership("unit", f"{unit[1][:MAX_NAME]}@{uid}", {"unit": f"{unit[1]}.{unit[2]}", "uid": uid})]
