"""Ledger rows that prove a saving: one per pair of blocks and one per interim analysis. Energies are whole uJ."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from energy_agent.core.energy import Action


@dataclass(frozen=True, slots=True)
class PairedBlocks:
    """One period of an experiment: its treatment block, its control block and the energy that they represent.

    Args:
        t_ns: end of the period, UTC.
        group: name of the group of devices.
        workload: the group's workload.
        policy: policies that steered the group.
        since_ns: start of the experiment, UTC.
        number: number of the period, from 0.
        enforced_uj: energy under the setting in the period.
        treatment_uj: energy in the treatment block.
        treatment_work: steps or tokens completed in it.
        treatment_ns: its duration.
        treatment_itl_us: sum of its inter-token latencies.
        treatment_itl_count: number of them; 0: the engine reports no latencies.
        control_uj: energy in the control block.
        control_work: steps or tokens completed in it.
        control_ns: its duration.
        control_itl_us: sum of its inter-token latencies.
        control_itl_count: number of them.
        arrivals: "open" or "closed", as configured.
        excluded: reason why the period is not used; "" if it is used.
    """

    t_ns: int
    group: str
    workload: str
    policy: str
    since_ns: int
    number: int
    enforced_uj: int
    treatment_uj: int
    treatment_work: int
    treatment_ns: int
    treatment_itl_us: int
    treatment_itl_count: int
    control_uj: int
    control_work: int
    control_ns: int
    control_itl_us: int
    control_itl_count: int
    arrivals: str
    excluded: str


@dataclass(frozen=True, slots=True)
class Analysis:
    """One interim analysis of an experiment. Estimates are cumulative; `claimed_uj` and `lost_uj` are signed adjustments.

    Args:
        t_ns: time of the analysis, UTC.
        group: name of the group of devices.
        workload: the group's workload.
        policy: policies that steered the group.
        since_ns: start of the experiment, UTC.
        number: number of the analysis, from 1.
        pairs: number of pairs used.
        excluded: number of periods not used.
        chance_ppb: error probability of this analysis, in 1e-9.
        covered_uj: energy under the setting in the periods used.
        saved_uj: estimated saving in these periods; negative: a loss.
        low_uj: lower bound of the saving.
        high_uj: upper bound of the saving.
        claimed_uj: change of the claim.
        lost_uj: change of the estimated loss.
        slowdown_ppm: estimated slowdown; negative: a speed-up.
        slowdown_low_ppm: lower bound of the slowdown.
        slowdown_high_ppm: upper bound of the slowdown.
        slowdown_of: quantity that the slowdown refers to: "latency" or "time_per_work".
        reason: reason why there is no estimate, in which case all estimates are 0.
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
    """Output of steering for one commit of the ledger. `states` contains changed states only; "" removes a state."""

    actions: Sequence[Action] = ()
    proof: Sequence[ProofRow] = ()
    states: Mapping[str, str] = field(default_factory=dict)
