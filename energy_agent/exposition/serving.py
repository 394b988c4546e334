"""Samples of the energy of serving: by batch size, steady or not, prefill and decode. Pure."""

from energy_agent.core.interval import ConfidenceInterval
from energy_agent.core.snapshot import Snapshot
from energy_agent.core.units import UJ_PER_J, decimal
from energy_agent.exposition.gpu import Found


def put(snapshot: Snapshot, found: Found) -> None:
    """Add the samples of every workload that serves one model."""
    for serving in snapshot.serving:
        name = (serving.workload, serving.model)
        for batch, use in serving.batches.items():
            found["serving_energy_joules_total"].append(((*name, batch), decimal(use.energy_uj, UJ_PER_J)))
            found["serving_tokens_total"].append(((*name, batch, "prompt"), str(use.computed)))
            found["serving_tokens_total"].append(((*name, batch, "generation"), str(use.generated)))
        if serving.steady is not None:
            found["serving_steady"].append((name, "1" if serving.steady else "0"))
        _band("prefill_joules_per_token", name, serving.split.prefill, found)
        _band("decode_joules_per_token", name, serving.split.decode, found)
        if serving.split.reason:
            found["serving_split_absent_info"].append(((*name, serving.split.reason), "1"))


def _band(family: str, name: tuple[str, str], band: ConfidenceInterval | None, found: Found) -> None:
    if band is not None:
        for ending, value in (("", band.value), ("_lower", band.low), ("_upper", band.high)):
            found[family + ending].append((name, repr(value)))
