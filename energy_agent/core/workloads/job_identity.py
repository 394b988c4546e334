"""Owner of a workload, as the kernel or the scheduler states it, and identity of the job that the workload belongs to. Pure.

A workload names its job itself, by its launcher's rendezvous or an annotation. Anyone can state any name, so equal names join
workloads of one owner only: pods of one controller in one namespace, one Slurm job, or processes of one uid.
"""

import hashlib
import re
from collections.abc import Mapping

NAME_MAX = 160
_NOBODY = "65534"  # shared by services that have nothing in common, and what unmapped uids look like


def owner_of(kind: str, labels: Mapping[str, str]) -> str:
    """The owner of a workload, without a colon; "" where neither the kernel nor a scheduler names one.

    Args:
        kind: of the workload: pod, slurm, container, unit or process.
        labels: its metadata; only those that the kernel or a scheduler sets are read.
    """
    if kind == "pod":
        namespace, owner = labels.get("namespace", ""), labels.get("owner", "")
        return f"{namespace}/{owner}" if namespace and owner else ""
    if kind == "slurm":
        job = labels.get("owner", "").removeprefix("Job/") or labels.get("job", "")  # of an array or several components
        return f"slurm-{job}" if job else ""
    uid = labels.get("uid", "")
    return f"uid-{uid}" if uid and uid != _NOBODY else ""


def job_address(kind: str, labels: Mapping[str, str]) -> str:
    """Address of what runs a workload: k8s/NAMESPACE/KIND/NAME or slurm/JOB; "" where neither scheduler runs it.

    A pod without an owner is its own. Every node, attempt and replacement of a job has the same address.
    """
    if kind == "pod":
        namespace, pod = labels.get("namespace", ""), labels.get("pod", "")
        owner = labels.get("owner", "") or (f"Pod/{pod}" if pod else "")
        return f"k8s/{namespace}/{owner}" if namespace and owner else ""
    return owner_of(kind, labels).replace("slurm-", "slurm/", 1) if kind == "slurm" else ""


def tenant_of(kind: str, labels: Mapping[str, str]) -> str:
    """The tenant that can choose the names of such workloads and owners: a uid, a namespace or a scheduler's user."""
    uid = labels.get("uid", "")
    return f"uid {uid}" if uid else f"{kind} {labels.get('namespace') or labels.get('user', '')}"


def job_identity(owner: str, name: str) -> str:
    """Identity of the job that workloads of `owner` call `name`.

    No other owner's job has it, and no workload: names of workloads that users choose contain an @, which is escaped here.
    """
    return shorten("job:" + f"{owner}:{name}".replace("%", "%25").replace("@", "%40"))


def run_of(kind: str, labels: Mapping[str, str]) -> str:
    """Identity, over all nodes, of the job that a workload is part of; "" where it is a job of its own."""
    group, owner = labels.get("group", ""), owner_of(kind, labels)
    return job_identity(owner, group) if group and owner else ""


def shorten(text: str, most: int = NAME_MAX) -> str:
    """The text where it has at most `most` characters, else its beginning and a digest of the whole: two texts stay different.

    A text that contains a tilde, as shortened ones do, is shortened whatever its length.
    """
    if len(text) <= most and "~" not in text:
        return text
    digest = hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()[:32]
    return f"{re.sub('[~+]', '_', text[: most - 33])}~{digest}"
