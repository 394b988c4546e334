"""Combine two kinds of evidence for a device's owners: claims of schedulers and processes. Pure.

The four laws are those of docs/decisions/0006-who-used-the-joules.md. `metering/attribution.py` defines the weights.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from enum import Enum

from energy_agent.core.energy import State
from energy_agent.core.units import NS_PER_S
from energy_agent.metering.attribution import Holding

PATIENCE_NS = 30 * NS_PER_S
"""How long the last answer of a scheduler counts once it does not answer any more: a kubelet that restarts is back by then."""


class SchedulerCoverage(Enum):
    """How complete the answers of this node's schedulers are, the best first."""

    NONE = "no scheduler is configured"
    FRESH = "all assigned devices are known"
    PARTIAL = "some of the assigned devices are unknown"
    STARTING = "no response yet"
    LOST = "no response for longer than the timeout"


@dataclass(frozen=True, slots=True)
class OwnerEvidence:
    """What is known of who holds a device, or a MIG device of it.

    Args:
        claimed: workloads that were given it; of no answer, or one that counts no more: nobody.
        process_weights: SM time of the workloads whose processes are on it, in any unit.
        unseen: it has processes that cannot be resolved, or the list of its processes is not available.
        measured: whether the SM time was measured; else it says nothing.
    """

    claimed: Collection[str]
    process_weights: Mapping[str, int]
    unseen: bool = False
    measured: bool = False


def weights(evidence: OwnerEvidence, answer: SchedulerCoverage) -> Mapping[str, int] | None:
    """Who holds it, with what each counts next to the others; None: not known."""
    claimed, process_weights, unseen = evidence.claimed, evidence.process_weights, evidence.unseen
    if answer is SchedulerCoverage.STARTING:
        return None
    if answer is SchedulerCoverage.LOST or not claimed:
        if unseen or (not process_weights and answer not in (SchedulerCoverage.NONE, SchedulerCoverage.FRESH)):
            return None  # somebody may hold it
        return dict(process_weights)
    if unseen:  # perhaps of a claimant: their work does not distinguish the workloads
        return dict.fromkeys((*claimed, *process_weights), 1)
    return dict.fromkeys(claimed, 0) | {name: sm if evidence.measured else 1 for name, sm in process_weights.items()}


def join(whole: OwnerEvidence, slices: Mapping[str, OwnerEvidence], answer: SchedulerCoverage) -> Holding | None:
    """Who holds a device; None: not known.

    Args:
        whole: evidence for the GPU as such. Of a GPU in MIG mode: its claims and processes whose MIG device is not known.
        slices: evidence for each of its MIG devices, by UUID; empty: MIG is off.
        answer: of the schedulers.
    """
    if not slices:
        shares = weights(whole, answer)
        return None if shares is None else Holding(shares, whole.measured and not whole.unseen)
    if answer is SchedulerCoverage.STARTING or whole.process_weights or whole.unseen:
        return None  # which of them works where, nobody knows
    parts = {uuid: weights(_placed(evidence, whole), answer) for uuid, evidence in slices.items()}
    together: dict[str, int] = {}
    for part in parts.values():
        for name, weight in (part or {}).items():
            together[name] = together.get(name, 0) + weight
    return Holding(together, any(evidence.measured for evidence in slices.values()), parts)


def reason(answer: SchedulerCoverage, listed: bool) -> State:
    """Why the workload that holds a device is unknown. `listed`: its processes were queried, with or without success."""
    return State.STARTING if answer is SchedulerCoverage.STARTING or not listed else State.UNKNOWN_OWNER


def coverage_of(now_boot_ns: int, asked_boot_ns: int | None, started_boot_ns: int, unknown: int) -> SchedulerCoverage:
    """The coverage of one scheduler; `asked_boot_ns` is when its last answer was requested, None if it never answered."""
    if asked_boot_ns is None:
        return SchedulerCoverage.STARTING if now_boot_ns - started_boot_ns <= PATIENCE_NS else SchedulerCoverage.LOST
    if now_boot_ns - asked_boot_ns > PATIENCE_NS:
        return SchedulerCoverage.LOST
    return SchedulerCoverage.PARTIAL if unknown else SchedulerCoverage.FRESH


def _placed(evidence: OwnerEvidence, whole: OwnerEvidence) -> OwnerEvidence:
    """A slice that nobody claims and that no process is on may be the one of a claim whose MIG device is not known."""
    if not whole.claimed or evidence.claimed or evidence.process_weights:
        return evidence
    return OwnerEvidence((), {}, True)
