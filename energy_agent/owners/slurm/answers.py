"""Parse the output of scontrol and squeue about this node and its jobs. Pure; users choose job names, so all text is untrusted.

scontrol's JSON (Slurm 22.05 and later) is parsed by key. Its plain text is not used: a name with line breaks can imitate any
field.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from energy_agent.core.errors import WattlensError
from energy_agent.core.text import printable
from energy_agent.owners.slurm.gres import Amounts, amounts, hosts

MAX_JOBS = 1_024
MAX_TEXT = 120
ENDED = {
    "BOOT_FAIL", "CANCELLED", "COMPLETED", "DEADLINE", "FAILED", "LAUNCH_FAILED", "NODE_FAIL", "OUT_OF_MEMORY", "PENDING",
    "PREEMPTED", "REVOKED", "TIMEOUT",
}  # fmt: skip
"""States in which a job has no devices, unless it is still COMPLETING."""
_ROW = re.compile(r"(\d{1,10})\|(\d{1,10}(?:[_+]\d{1,10})?)\|[A-Z_]{1,30}")


class SlurmOutputError(WattlensError, ValueError):
    """Output that does not have the expected form; one line."""


class TooOldError(SlurmOutputError):
    """A Slurm whose scontrol has no JSON."""


@dataclass(frozen=True, slots=True)
class SlurmNode:
    """This node: its `gres` and how much of it is given away."""

    gres: str
    used: Amounts


@dataclass(frozen=True, slots=True)
class SlurmJob:
    """A job on this node: what it `holds` here, the `labels` of its workload, and `words` that more may be made of."""

    holds: Amounts
    labels: Mapping[str, str]
    words: Mapping[str, str] = field(default_factory=dict)


def parse_node(answer: bytes, name: str) -> SlurmNode:
    """The node, of `scontrol show node NAME -d --json`.

    Raises:
        SlurmOutputError: the output does not contain it.
    """
    for node in _list(_parsed(answer), "nodes"):
        if node.get("name") == name:
            try:
                return SlurmNode(_text(node.get("gres")), amounts(_text(node.get("gres_used")), of_node=True))
            except ValueError as error:
                raise SlurmOutputError(str(error)) from None
    raise SlurmOutputError(f"no node {name!r} in the response")


def parse_jobs(answer: bytes) -> dict[str, str]:
    """Number and name (`12`, `12_3`, `12+1`) of each job, of `squeue --format %A|%i|%t`.

    Raises:
        SlurmOutputError: it is not such a list.
    """
    names: dict[str, str] = {}
    for line in answer.decode(errors="replace").splitlines():
        row = _ROW.fullmatch(line.strip())
        if row is None:
            raise SlurmOutputError("expected a list of jobs")
        names[row[1]] = row[2]
        if len(names) > MAX_JOBS:
            raise SlurmOutputError(f"more than {MAX_JOBS} jobs on this node")
    return names


def parse_job(answer: bytes, number: str, node: str) -> SlurmJob | None:
    """The job of that number, from `scontrol show job NUMBER -d --json`; None: it has no GPU on this node.

    Raises:
        SlurmOutputError: the output does not contain it.
    """
    for job in _list(_parsed(answer), "jobs"):
        if str(job.get("job_id")) == number:
            return _job(job, number, node)
    return None


def _job(job: Mapping[str, Any], number: str, node: str) -> SlurmJob | None:
    job_state = job.get("job_state")
    states = {str(state) for state in job_state} if isinstance(job_state, list) else {str(job_state)}
    if states & ENDED and "COMPLETING" not in states:
        return None
    gres = job.get("gres_detail")
    if not isinstance(gres, list):
        raise SlurmOutputError("key gres_detail is missing in the JSON of a job")
    holds = _at([_text(each) for each in gres], _text(job.get("nodes")), node)
    array, task, het = (_number(job.get(key)) for key in ("array_job_id", "array_task_id", "het_job_id"))
    labels = {
        "job": number,
        "user": _text(job.get("user_name")) or str(job.get("user_id", "")),
        "account": _text(job.get("account")),
        "partition": _text(job.get("partition")),
        "job_name": _text(job.get("name")),
        **({"array_task": str(task)} if array and task is not None else {}),
    }
    words = {key: _text(job.get(key), 1_000) for key in ("comment", "qos", "wckey")}
    return SlurmJob(holds, _owned(labels, str(array or ""), str(het or "")), words)


def _at(gres: list[str], nodes: str, node: str) -> dict[tuple[str, int], int]:
    try:
        names = hosts(nodes)
        if node not in names or not any(gres):
            return {}
        if len(gres) != len(names):
            raise ValueError(f"gres_detail: expected {len(names)} nodes, got {len(gres)}")
        return amounts(gres[names.index(node)])
    except ValueError as error:
        raise SlurmOutputError(str(error)) from None


def _owned(labels: Mapping[str, str], array: str, het: str) -> dict[str, str]:
    """A job with its owner: the array or the heterogeneous job that it is part of, else itself."""
    group = {"group": f"slurm-{het}"} if het else {}
    return {key: value for key, value in labels.items() if value} | {"owner": f"Job/{het or array or labels['job']}", **group}


def _parsed(answer: bytes) -> Any:
    try:
        return json.loads(answer.decode(errors="replace"))
    except (ValueError, RecursionError):
        raise SlurmOutputError("no JSON") from None


def _list(parsed: Any, key: str) -> list[dict[str, Any]]:
    entries = parsed.get(key) if isinstance(parsed, dict) else None
    if not isinstance(entries, list):
        raise SlurmOutputError(f"key {key} is missing in the JSON")
    return [each for each in entries if isinstance(each, dict)]


def _number(value: Any) -> int | None:
    """A number that may be missing: plain, or as {"set", "infinite", "number"} of newer versions."""
    if isinstance(value, dict):
        value = value.get("number") if value.get("set") else None
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


def _text(value: Any, most: int = MAX_TEXT) -> str:
    """What goes into labels, tables and terminals: printable, and short."""
    return printable(value[:most]).strip() if isinstance(value, str) else ""
