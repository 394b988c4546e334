"""What a process's cgroup says of the workload it belongs to. Pure: text of /proc/PID/cgroup in, name out.

Both hierarchies are read: v2 is one line `0::PATH`, v1 a line per controller. The most telling path wins: a pod over its
container, a Slurm job over a container in it (the job is what was given the devices), a container over a systemd unit.

Below `user@UID.service` a user names cgroups as he likes, so that nothing there may claim to be a pod or a job, and a container
or unit there carries the user's id in its name. Of jobs the outermost counts: what is below it, its user may have named.
"""

import re
from dataclasses import dataclass, field

_POD = re.compile(r"pod([0-9a-f]{8}[-_][0-9a-f]{4}[-_][0-9a-f]{4}[-_][0-9a-f]{4}[-_][0-9a-f]{12})")
_STATIC_POD = re.compile(r"pod([0-9a-f]{32})(?:\.slice)?/")  # of a kubelet's own manifest: named by its hash
_CONTAINER = re.compile(r"(?:^|/|docker-|cri-containerd[-:]|crio-|libpod-|nerdctl-)([0-9a-f]{64})(?:\.scope)?(?:/|$)")
_SLURM = re.compile(
    r"^.*?/(?:[^/]*slurm[^/]*/(?:uid_\d+/)?job_(\d{1,10})(?=/|$)|job_(\d{1,10})(?=/step_))(?:/step_([\w.]{1,40}))?"
)
_UNIT = re.compile(r"/([^/]+)\.(service|scope)(?=/|$)")
_SESSION = re.compile(r"^(session-.*|user@\d+|init|app-.*|vte-spawn-.*|run-.*)$")
_USER = re.compile(r"/user@(\d{1,10})\.service/")
MAX_NAME = 120


@dataclass(frozen=True, slots=True)
class Membership:
    """A workload by its cgroup. `kind` is pod, container, slurm or unit."""

    kind: str
    name: str
    labels: dict[str, str] = field(default_factory=dict)


def membership(text: str) -> Membership | None:
    """The workload of a process, or None where the cgroup says nothing (a login session, a plain process)."""
    paths = [line.split(":", 2)[2] for line in text.splitlines() if line.count(":") >= 2]
    for find in (_pod, _slurm, _container, _unit):
        for path in paths:
            found = find(path)
            if found is not None:
                return found
    return None


def _pod(path: str) -> Membership | None:
    match = _POD.search(path) or _STATIC_POD.search(path)
    if match is None or _USER.search(path):
        return None
    uid = match[1].replace("_", "-")
    container = _CONTAINER.search(path[match.end() - 1 :])  # not the one that the node itself is
    return Membership("pod", f"pod-{uid}", {"pod_uid": uid} | ({"container_id": container[1][:12]} if container else {}))


def _container(path: str) -> Membership | None:
    match = _CONTAINER.search(path)
    if match is None:
        return None
    container, user = match[1][:12], _USER.search(path)
    name, labels = f"container-{container}", {"container_id": container}
    return (
        Membership("container", f"{name}@{user[1]}", labels | {"uid": user[1]})
        if user
        else Membership("container", name, labels)
    )


def _slurm(path: str) -> Membership | None:
    match = _SLURM.search(path)
    if match is None or _USER.search(path):
        return None
    job = match[1] or match[2]
    return Membership("slurm", f"slurm-{job}", {"job": job} | ({"step": match[3]} if match[3] else {}))


def _unit(path: str) -> Membership | None:
    units = [m for m in _UNIT.finditer(path) if not _SESSION.match(m[1])]
    if not units:
        return None
    name, labels, user = units[-1][1][:MAX_NAME], {"unit": f"{units[-1][1]}.{units[-1][2]}"}, _USER.search(path)
    return Membership("unit", f"{name}@{user[1]}", labels | {"uid": user[1]}) if user else Membership("unit", name, labels)
