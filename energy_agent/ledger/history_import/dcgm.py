"""Parse the series of dcgm-exporter: the GPU, its node, the pod that uses it, and the scraper. Pure.

Its labels: `UUID`, `gpu`, `device`, `modelName`, `Hostname` (`hostname` in later versions), of a MIG device `GPU_I_ID` and
`GPU_I_PROFILE`, and of a pod that was granted the GPU `pod`, `namespace`, `container`, in later versions `pod_uid`. A GPU in
MIG mode, or shared by copies, has several series, and each has the energy of the whole GPU.

Prometheus adds the target's own labels to every series. If the exporter has labels with the same names, these become
`exported_pod` and so on (`honor_labels: false`), or are kept (`true`). If the exporter names no pod, the label is the target's:
the exporter's own pod, which uses no GPU. `up` has only the target's labels, so a pod that `up` names is not a consumer.
Sources: dcgm-exporter (transformation/kubernetes.go), Prometheus documentation (scrape_config).
"""

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Final

from energy_agent.core.energy import WorkloadFacts
from energy_agent.ledger.history_import.samples import LIFE, ExporterReading

ENERGY: Final = "DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION"
"""mJ since the driver was loaded."""
POWER: Final = "DCGM_FI_DEV_POWER_USAGE"
"""W."""
LIMITS: Final = ("DCGM_FI_DEV_POWER_MGMT_LIMIT_MAX", "DCGM_FI_DEV_POWER_MGMT_LIMIT", "DCGM_FI_DEV_ENFORCED_POWER_LIMIT")
"""W: what the board may be set to at most, and what it was set to; few export them."""
NODE_LABELS: Final = ("Hostname", "hostname", "node", "instance")
"""Labels that name the node, the first that is there."""
SCALES: Final = {ENERGY: 1_000, POWER: 1_000}
"""From the exporter's units to uJ and mW."""
PREFIX: Final = "import:"
"""Prefix of the name of a workload that comes from labels; the agent's own names contain no `:`."""
_UUID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,95}")
_EXPORTER: Final = "dcgm-exporter"

Labels = Mapping[str, str]
Pod = tuple[str, str]
"""Namespace and name."""


def exporter_label(labels: Labels, name: str) -> str:
    """What the exporter called `name`, whatever Prometheus made of it."""
    return labels.get(f"exported_{name}") or labels.get(name, "")


def board_of(labels: Labels) -> str:
    """The board's UUID; "" where the series has none that can be one."""
    return uuid(labels.get("UUID", ""))


def uuid(text: str) -> str:
    """The text, if it can name a GPU; else "". No name of a host or of a building's meter can."""
    return text if _UUID.fullmatch(text) else ""


def source_of(labels: Labels, dedup_label: str) -> str:
    """Identify the scraper and its target. Series of one GPU from different sources are duplicates."""
    return " ".join(labels.get(name, "") for name in (dedup_label, "job", "instance") if labels.get(name))


def own_pods(up: Iterable[Labels]) -> set[Pod]:
    """The exporter's own pods, by the labels of its target's `up`."""
    return {(labels.get("namespace", ""), labels["pod"]) for labels in up if labels.get("pod")}


def owner_of(labels: Labels, exporter_pods: Collection[Pod]) -> str:
    """The workload of the pod that a series names; "" where it names none."""
    if labels.get("exported_pod"):
        pod = (labels.get("exported_namespace", ""), labels["exported_pod"])
    else:
        pod = (labels.get("namespace", ""), labels.get("pod", ""))
        if not pod[1] or pod in exporter_pods or _EXPORTER in labels.get("container", ""):
            return ""
    uid = exporter_label(labels, "pod_uid")[:8]
    return f"{PREFIX}{pod[0]}/{pod[1]}" + (f"{LIFE}{uid}" if uid else "")


def facts_of(workload: str, since_ns: int) -> WorkloadFacts:
    """The metadata that a workload's name contains; an import has no other."""
    namespace, _, pod = workload.removeprefix(PREFIX).partition("/")
    return WorkloadFacts(workload, since_ns, "pod", {"namespace": namespace, "pod": pod.partition(LIFE)[0], "imported": "dcgm"})


def readings(
    series: Iterable[tuple[Labels, Sequence[tuple[int, Decimal]]]], scale: int, exporter_pods: Collection[Pod], dedup_label: str
) -> dict[str, dict[str, list[ExporterReading]]]:
    """Readings by GPU and source.

    The series of one GPU in one scrape (its MIG devices, or copies of a shared GPU) become one reading. Each has the energy of
    the whole GPU, and the exporter reads them one after the other, so the largest is the newest.
    """
    by_gpu: dict[str, dict[str, dict[int, list[tuple[Decimal, str]]]]] = {}
    for labels, samples in series:
        board, owner = board_of(labels), owner_of(labels, exporter_pods)
        if not board:
            continue
        at = by_gpu.setdefault(board, {}).setdefault(source_of(labels, dedup_label), {})
        for t_ns, value in samples:
            at.setdefault(t_ns, []).append((value, owner))
    return {
        board: {source: [_reading(source, scale, *each) for each in sorted(at.items())] for source, at in of_board.items()}
        for board, of_board in by_gpu.items()
    }


def _reading(source: str, scale: int, t_ns: int, samples: Sequence[tuple[Decimal, str]]) -> ExporterReading:
    value = round(max(value for value, _ in samples) * scale)
    owners = frozenset(owner for _, owner in samples)
    return ExporterReading(t_ns, value, owners if any(owners) else frozenset(), source)
