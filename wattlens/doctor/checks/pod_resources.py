"""The kubelet's PodResources socket, which says which pod holds which device."""

import errno
import os
import socket
import stat
from pathlib import Path

from energy_agent.core.extras import install_hint
from energy_agent.owners.kubernetes.grants import Naming, PodResourcesError, grants
from energy_agent.owners.kubernetes.pod_logs import DEFAULT_FOLDER, PodLogs
from energy_agent.owners.kubernetes.pod_resources import SocketLister
from wattlens.doctor.finding import CheckContext, DoctorCheck, DoctorFinding, Findings, absent, ok, warn

_SOCKET = "var/lib/kubelet/pod-resources/kubelet.sock"


def _look(facts: CheckContext) -> Findings:
    if facts.simulate is not None:
        yield absent("kubelet", "not checked on a simulated node")
        return
    path = facts.root / _SOCKET
    in_pod = bool(facts.environ.get("KUBERNETES_SERVICE_HOST"))
    without = "pods are identified by their cgroup only, without name and namespace"
    try:
        is_socket = stat.S_ISSOCK(path.stat().st_mode)
    except OSError as error:
        if error.errno in (errno.EACCES, errno.EPERM):
            yield warn(
                "kubelet",
                f"uid {os.geteuid()} has no access to {path}: {without}",
                "run the agent as uid 0 (it needs no capability)",
            )
        elif in_pod:
            yield warn(
                "kubelet",
                f"{path} is not mounted in this pod: {without}",
                "mount /var/lib/kubelet/pod-resources read-only, as in deploy/kubernetes/base",
            )
        else:
            yield absent("kubelet", "no PodResources socket: this is not a Kubernetes node")
        return
    if not is_socket:
        yield warn("kubelet", f"{path} is not a socket: {without}", "mount its folder, not the file")
        return
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(1.0)
        try:
            client.connect(str(path))
        except OSError as error:
            yield warn(
                "kubelet",
                f"{path}: {error.strerror or error}: {without}",
                "run the agent as uid 0" if isinstance(error, PermissionError) else "check that the kubelet is running",
            )
            return
    yield _query_kubelet(path, without)
    logs = facts.root / DEFAULT_FOLDER.relative_to("/")
    if facts.config.holders.kubernetes.informer == "off" and (reason := PodLogs(logs).read()):
        yield warn(
            "uids of pods",
            f"{logs}: {reason}: processes of a pod are recorded as pod-UID, separately from its GPU claims",
            f"mount {DEFAULT_FOLDER} read-only, as in deploy/kubernetes/base, or enable the informer",
        )


def _query_kubelet(path: Path, without: str) -> DoctorFinding:
    """Query the kubelet in the same way as the agent."""
    lister = SocketLister(path, deadline_s=3.0)
    try:
        listed = list(grants(lister(), Naming()))
    except (OSError, PodResourcesError) as error:
        return warn(
            "kubelet",
            f"{path}: {error}: {without}",
            install_hint("kubernetes") if "grpcio" in str(error) else "check that the kubelet listens on this socket",
        )
    finally:
        lister.close()
    devices = sum(len(grant.devices) + len(grant.unknown) for grant in listed)
    unknown = [device for grant in listed for device in grant.unknown]
    text = f"{path} responds: {len(listed)} pods have {devices} devices"
    if unknown:
        return warn(
            "kubelet",
            f"{text}, {len(unknown)} of them unknown to the agent: {unknown[0][:80]!r}",
            "with DRA, allow the agent to read ResourceSlices (overlay informer)",
        )
    return ok("kubelet", text)


SPEC = DoctorCheck("the kubelet's PodResources socket", "holders", _look)
