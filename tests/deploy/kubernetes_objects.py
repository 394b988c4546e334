"""The manifests as objects, as they are committed; what a pod takes beyond the restricted profile, and what the docs list."""

from copy import deepcopy
from functools import cache
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
KUBERNETES = ROOT / "deploy/kubernetes"
CHART = ROOT / "deploy/helm/wattlens"
FOLDERS = sorted(p.parent.relative_to(KUBERNETES).as_posix() for p in KUBERNETES.rglob("values.yaml"))
OVERLAYS = [f for f in FOLDERS if f.startswith(("base", "overlays/")) and f != "overlays/report-signed"]
JOBS = ["report", "overlays/report-signed"]
Object = dict[str, Any]
Exceptions = set[tuple[str, str]]
"""(what, container); the container is "" where the pod as a whole takes it."""

_RESTRICTED_VOLUMES = {
    "configMap",
    "csi",
    "downwardAPI",
    "emptyDir",
    "ephemeral",
    "persistentVolumeClaim",
    "projected",
    "secret",
}


def committed(folder: str) -> list[Object]:
    """Every object of a folder but the recording rules, which are somebody else's and long."""
    return deepcopy(_read(folder))


@cache
def _read(folder: str) -> list[Object]:
    directory = KUBERNETES / folder
    kustomization = yaml.load((directory / "kustomization.yaml").read_text(), yaml.CSafeLoader)
    patched = [patch["path"] for patch in kustomization.get("patches", ())]
    objects: dict[tuple[str, str], Object] = {}
    for name in (*kustomization["resources"], *patched):
        path = (directory / name).resolve()
        if path.is_dir():
            documents = _read(path.relative_to(KUBERNETES).as_posix())
        else:
            documents = [d for d in yaml.load_all(path.read_text(), yaml.CSafeLoader) if d and d["kind"] != "PrometheusRule"]
        for document in documents:
            # A patch is the whole object, and its spec says that it takes the place of the other one.
            if "spec" in document:
                assert document["spec"].pop("$patch", None) == ("replace" if name in patched else None)
            objects[document["kind"], document["metadata"]["name"]] = document
    return list(objects.values())


def of_kind(objects: list[Object], kind: str, name: str | None = None) -> list[Object]:
    return [o for o in objects if o["kind"] == kind and name in (None, o["metadata"]["name"])]


def pod_spec(workload: Object) -> Object:
    """The pod of a DaemonSet, Deployment or CronJob."""
    spec = workload["spec"]
    spec = spec["jobTemplate"]["spec"] if workload["kind"] == "CronJob" else spec
    pod: Object = spec["template"]["spec"]
    return pod


def pods(objects: list[Object]) -> dict[str, Object]:
    """Pod specs by the name of their workload."""
    return {o["metadata"]["name"]: pod_spec(o) for o in objects if o["kind"] in ("DaemonSet", "Deployment", "CronJob")}


def containers(pod: Object) -> dict[str, Object]:
    return {c["name"]: c for c in [*pod["containers"], *pod.get("initContainers", [])]}


def exceptions(pod: Object) -> Exceptions:
    """What a pod takes beyond the restricted profile of the Pod Security Standards, and a root file system that is written."""
    deviations = {(flag, "") for flag in ("hostPID", "hostNetwork", "hostIPC") if pod.get(flag)}
    for volume in pod["volumes"]:
        (kind,) = set(volume) - {"name"}
        if kind not in _RESTRICTED_VOLUMES:
            mounts = [m for c in containers(pod).values() for m in c["volumeMounts"] if m["name"] == volume["name"]]
            mode = ", read-only" if all(m.get("readOnly") for m in mounts) else ""
            deviations.add((f"{kind} {volume[kind].get('path')}{mode}", ""))
    for name, container in containers(pod).items():
        context = {**pod["securityContext"], **container["securityContext"]}
        capabilities = context.get("capabilities", {})
        deviations |= {(capability, name) for capability in capabilities.get("add", [])}
        wrong = {
            "privileged": context.get("privileged"),
            "may escalate": context.get("allowPrivilegeEscalation") is not False,
            "keeps capabilities": capabilities.get("drop") != ["ALL"],
            "uid 0": not context.get("runAsNonRoot") or not context.get("runAsUser"),
            "no seccomp profile": context.get("seccompProfile") != {"type": "RuntimeDefault"},
            "host port": any("hostPort" in port for port in container.get("ports", [])),
            "writes its root": not context.get("readOnlyRootFilesystem"),
        }
        deviations |= {(what, name) for what, is_so in wrong.items() if is_so}
    return deviations


def listed() -> set[tuple[str, str, str]]:
    """(what, container, overlay) of every exception that docs/security.md lists."""
    text = (ROOT / "docs/security.md").read_text()
    table = text.split("| Exception | Container | Where | Why |\n| --- | --- | --- | --- |\n")[1].split("\n\n")[0]
    rows = set()
    for row in table.splitlines():
        what, container, where, why = (cell.strip() for cell in row.strip("|").split("|"))
        assert why
        for place in where.split(", "):
            rows.add((what.replace("`", ""), container.replace("`", ""), place.strip("`")))
    return rows
