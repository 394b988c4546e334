"""The agent's live estimate of the energy of serving a model: by batch size, and split into prefill and decode."""

from collections.abc import Mapping
from dataclasses import dataclass

from energy_agent.core.interval import ConfidenceInterval


@dataclass(frozen=True, slots=True)
class Split:
    """J per computed prompt token and per generated token, each None with its reason; `idle_j` is neither's."""

    prefill: ConfidenceInterval | None
    decode: ConfidenceInterval | None
    reason: str = ""
    idle_j: float = 0.0


@dataclass(frozen=True, slots=True)
class BatchUse:
    """Energy in uJ and tokens of the intervals in which about so many requests ran."""

    energy_uj: int
    computed: int
    generated: int


@dataclass(frozen=True, slots=True)
class Serving:
    """What is known of one workload's serving of one model.

    Args:
        batches: by how many requests ran, in powers of two.
        steady: whether the load was alike over the last minute; None while too little has been seen.
    """

    workload: str
    model: str
    batches: Mapping[str, BatchUse]
    steady: bool | None
    split: Split
