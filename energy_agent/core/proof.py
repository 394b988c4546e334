"""What is recorded of a proof that steering saves: its pairs of blocks, and each analysis of them. Energy is whole uJ."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from energy_agent.core.energy import Action
from energy_agent.core.record import record


@record(frozen=True, slots=True)
class PairedBlocks:
    """The period of an experiment that ended at `t_ns`: a block with the setting on, one with it off, and what they stand for.

    Args:
        t_ns: UTC.
        group: whose devices were steered.
        workload: that of the group.
        policy: the policies that steered it.
        since_ns: when the experiment began, UTC.
        number: of the period, from 0.
        enforced_uj: energy under the setting in the period: what the pair stands for.
        on_uj: energy of the block with the setting.
        on_work: its steps or tokens.
        on_ns: its time.
        on_waits_us: sum of its times between two tokens.
        on_waits: how many of these; 0: no latency is told.
        off_uj: of the block without it; the same follows.
        off_work: as above.
        off_ns: as above.
        off_waits_us: as above.
        off_waits: as above.
        arrivals: open or closed, as the owner declares.
        excluded: why the pair is not used, and its period not claimed; "": it is used.
    """

    t_ns: int
    group: str
    workload: str
    policy: str
    since_ns: int
    number: int
    enforced_uj: int
    on_uj: int
    on_work: int
    on_ns: int
    on_waits_us: int
    on_waits: int
    off_uj: int
    off_work: int
    off_ns: int
    off_waits_us: int
    off_waits: int
    arrivals: str
    excluded: str


@record(frozen=True, slots=True)
class Analysis:
    """An analysis of all pairs of an experiment so far. `claimed_uj` and `lost_uj` are adjustments: their sum is what holds.

    Args:
        t_ns: UTC.
        group: whose devices were steered.
        workload: that of the group.
        policy: the policies that steered it.
        since_ns: when the experiment began, UTC.
        number: of the analysis, from 1.
        pairs: that are used.
        excluded: periods that are not.
        chance_ppb: chance of a claim on nothing that this analysis has.
        covered_uj: energy under the setting in the periods that are used.
        saved_uj: estimate of what was saved in them, signed.
        low_uj: its lower end.
        high_uj: its upper end.
        claimed_uj: by how much what may be claimed rose or, below 0, fell.
        lost_uj: likewise the estimate of a loss.
        slowdown_ppm: how much longer the work took, signed.
        slowdown_low_ppm: its lower end.
        slowdown_high_ppm: its upper end.
        slowdown_of: latency or time_per_work.
        reason: why nothing can be told; the estimates are 0 then.
    """

    t_ns: int
    group: str
    workload: str
    policy: str
    since_ns: int
    number: int
    pairs: int
    excluded: int
    chance_ppb: int
    covered_uj: int
    saved_uj: int
    low_uj: int
    high_uj: int
    claimed_uj: int
    lost_uj: int
    slowdown_ppm: int
    slowdown_low_ppm: int
    slowdown_high_ppm: int
    slowdown_of: str
    reason: str


ProofRow = PairedBlocks | Analysis


@dataclass(frozen=True, slots=True)
class SteeringRows:
    """What steering hands to the ledger, all of it in one commit. `states` has those that changed; an empty one is removed."""

    actions: Sequence[Action] = ()
    proof: Sequence[ProofRow] = ()
    states: Mapping[str, str] = field(default_factory=dict)
