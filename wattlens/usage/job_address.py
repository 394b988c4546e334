"""Address of a job as people type it, and the workloads that it selects. Pure.

The job is the owner that the scheduler names: Kind/name in a namespace, or a Slurm job. Pods, nodes and attempts come and go.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from energy_agent.core.errors import UsageError, WattlensError
from energy_agent.core.workloads.job_identity import job_address

EXAMPLES: Final = "k8s/NAMESPACE/NAME, k8s/NAMESPACE/KIND/NAME or slurm/JOB"
_NAME: Final = r"[A-Za-z0-9](?:[-_.A-Za-z0-9]{0,251}[A-Za-z0-9])?"
_KUBERNETES: Final = re.compile(rf"k8s/({_NAME})/(?:([A-Z][A-Za-z0-9]{{0,62}})/)?({_NAME})")
_SLURM: Final = re.compile(r"slurm/(\d{1,10})(?:_(\d{1,10}))?")
_SAME: Final = {"TrainJob": "JobSet"}
"""Kinds whose controller gives its own name to the owner below it, by that owner's kind: the name means one job."""


@dataclass(frozen=True, slots=True)
class JobAddress:
    """A job of Kubernetes (`namespace`, `name`, and `kind` where it was given), or of Slurm (`name`, `task` of an array).

    `exact`: the Slurm job with this number alone, although an array has the number of one of its tasks.
    """

    text: str
    scheduler: str
    name: str
    namespace: str = ""
    kind: str = ""
    task: str = ""
    exact: bool = False

    def matches(self, workload: str, kind: str, labels: Mapping[str, str]) -> bool:
        """Whether a workload is part of the job.

        Args:
            workload: its identity.
            kind: of the workload: pod, slurm, ...
            labels: its metadata.
        """
        if self.scheduler == "slurm":
            if kind not in ("slurm", "") or self.exact:
                return kind in ("slurm", "") and workload == f"slurm-{self.name}"
            is_job = f"slurm/{self.name}" == job_address(kind, labels)
            if self.task:
                return is_job and labels.get("array_task") == self.task
            return is_job or workload == f"slurm-{self.name}"
        _, _, rest = job_address(kind, labels).partition("k8s/")
        namespace, _, owner = rest.partition("/")
        of_kind, _, name = owner.partition("/")
        return (namespace, name) == (self.namespace, self.name) and self.kind in ("", of_kind)


def parse_address(text: str) -> JobAddress:
    """The address of a job.

    Raises:
        UsageError: not an address.
    """
    if match := _KUBERNETES.fullmatch(text):
        return JobAddress(text, "k8s", match[3], match[1], match[2] or "")
    if match := _SLURM.fullmatch(text):
        return JobAddress(text, "slurm", match[1], task=match[2] or "")
    raise UsageError(f"expected a job as {EXAMPLES}, got {text[:80]!r}")


def exact_address(number: str) -> JobAddress:
    """The address of the Slurm job with this number (JobIDRaw of sacct)."""
    return JobAddress(f"slurm/{number}", "slurm", number, exact=True)


def single_address(address: JobAddress, addresses: Iterable[str]) -> str:
    """The full address of the one job that workloads belong to, by their own addresses.

    Raises:
        WattlensError: they belong to several, as owners of two kinds may have one name.
    """
    if address.scheduler == "slurm":
        return address.text  # a task of an array has the address of the array
    unique = sorted(set(addresses) - {""})
    kinds = {each.split("/")[2] for each in unique if each.startswith("k8s/")}
    if len(kinds) > 1 and len({_SAME.get(kind, kind) for kind in kinds}) > 1:
        raise WattlensError(f"{address.text}: several owners have this name; choose one: {', '.join(unique)}")
    return unique[-1] if unique else address.text
