"""Metrics of workloads: their labels, energy, tokens and steps. Pure."""

from collections.abc import Mapping
from typing import Final

from energy_agent.core.boundary import domain
from energy_agent.core.catalogue.gpu import present_ids
from energy_agent.core.catalogue.metric import NODE, Labels, Row, Scrape, Signal, Source, each, listed
from energy_agent.core.energy import WorkloadFacts
from energy_agent.core.snapshot import Snapshot
from energy_agent.core.workloads.job_identity import run_of

_POD: Final = ("namespace", "pod")
"""Of a workload that is a pod, in its energy itself, so that it sums by them without a join (docs/decisions/0018)."""
_NO_POD: Final = ("", "")
_NAMED: Final = ("namespace", "pod", "owner", "team", "project", "model", "precision", "group", "class")


def _latest(scrape: Scrape[Snapshot]) -> Mapping[str, WorkloadFacts]:
    return {facts.workload: facts for facts in sorted(scrape.snapshot.facts, key=lambda facts: facts.since_ns)}


def _pods(scrape: Scrape[Snapshot]) -> Mapping[str, Labels]:
    return {name: tuple(facts.labels.get(label, "") for label in _POD) for name, facts in scrape.of(_latest).items()}


def _facts(scrape: Scrape[Snapshot]) -> list[Row]:
    """With `kind`, the metadata of the workload, and last the identity of its job."""
    return [
        ((name, facts.kind, *(facts.labels.get(label, "") for label in _NAMED), run_of(facts.kind, facts.labels)), facts)
        for name, facts in scrape.of(_latest).items()
    ]


def _energy(scrape: Scrape[Snapshot]) -> list[Row]:
    present, pods = scrape.of(present_ids), scrape.of(_pods)
    return [
        ((entry.workload, *pods.get(entry.workload, _NO_POD), entry.device, entry.state, entry.method), entry)
        for entry in scrape.snapshot.workloads
        if entry.device in present
    ]


def _seconds(scrape: Scrape[Snapshot]) -> list[Row]:
    pods = scrape.of(_pods)
    return [
        ((name, *pods.get(name, _NO_POD), state), gpu_ns) for (name, state), gpu_ns in scrape.snapshot.workload_gpu_ns.items()
    ]


def _host_energy(scrape: Scrape[Snapshot]) -> list[Row]:
    pods = scrape.of(_pods)
    return [
        ((share.workload, *pods.get(share.workload, _NO_POD), domain(share.device), share.state), share)
        for share in scrape.snapshot.host_workloads
    ]


WORKLOADS: Final = (
    Signal("workload_info", "Labels of a workload.", "Always 1; stays holders.retention_s (15 minutes) after its end.",
           Source(("workload", "kind", *_NAMED, "run"), _facts)),
    Signal("workload_energy_joules_total",
           "Energy of a workload on a GPU: active while a kernel ran, idle while the GPU was only allocated to it.",
           "From the journal; appears at 0 when the workload is first seen, stays holders.retention_s (15 minutes) after its "
           "end; absent while the GPU does not respond, then resumes at a higher value; absent without a sensor.",
           Source(("workload", *_POD, "uuid", "state", "method"), _energy), "energy_uj"),
    Signal("workload_gpu_seconds_total", "GPU time allocated to a workload, over all its GPUs.",
           "As workload_energy_joules_total, but present also while one of its GPUs does not respond or has no sensor.",
           Source(("workload", *_POD, "state"), _seconds)),
    Signal("workload_nongpu_energy_joules_total",
           "A workload's share of the node's energy without GPUs, by allocated GPU time; never part of "
           "workload_energy_joules_total.", "As workload_energy_joules_total; present while the node has a meter.",
           Source(("workload", *_POD, "domain", "state"), _host_energy), "energy_uj"),
    Signal("namespace_energy_joules_total", "Energy of all workloads of a namespace, including ended ones.",
           "From the journal; appears with the first workload on a GPU that has a sensor, stays when a workload ends, so "
           "short workloads count too. After the first 1000 namespaces, further ones are counted together in "
           'namespace="(other)".', each(NODE, "namespace_uj", "namespace")),
    Signal("owner_energy_joules_total",
           "Energy of all workloads of an owner (the job, service or cluster that created a pod), including ended ones.",
           "From the journal; appears with the first workload on a GPU that has a sensor, stays when a workload ends. With "
           'more than 1000 owners, those of the namespace or Slurm user with the most owners are merged into owner="(other)" '
           "of their namespace, which rises by their energy at once.", each(NODE, "owner_uj", "namespace", "owner")),
    Signal("tokens_total", "Tokens that a workload processed: prompt (computed), cached (reused), generation or training.",
           "Starts at 0 when first seen; stays holders.retention_s (15 minutes) after its end.",
           listed("tokens", "workload", "model", "phase"), "tokens"),
    Signal("training_steps_total",
           "Steps of a training workload, by phase: training, evaluation, ...; a step of all its ranks counts once.",
           "Starts at 0 when first seen; stays holders.retention_s (15 minutes) after its end.",
           listed("steps", "workload", "phase"), "steps"),
)  # fmt: skip
