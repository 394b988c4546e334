"""Samples of inference servers: requests, engine steps, and latencies under common names. Pure."""

from energy_agent.core.snapshot import Snapshot
from energy_agent.core.workloads.tokens import Latencies
from energy_agent.exposition.gpu import Sample

_COUNTERS = {"requests_total": "requests", "engine_steps_total": "steps"}


def put(snapshot: Snapshot, found: dict[str, list[Sample]]) -> None:
    """Add the samples of every workload and model with an inference server."""
    for served in snapshot.served:
        of = (served.workload, served.model)
        for name, count in _COUNTERS.items():
            if count in served.counts:
                found[name].append((of, str(served.counts[count])))
        for name, value in (("requests_running", served.running), ("requests_waiting", served.waiting)):
            if value is not None:
                found[name].append((of, str(value)))
        for name, latencies in (("time_to_first_token_seconds", served.ttft), ("inter_token_latency_seconds", served.itl)):
            if latencies is not None:
                found[name] += _histogram(of, latencies)


def _histogram(of: tuple[str, ...], latencies: Latencies) -> list[Sample]:
    """Its series: the last two labels of a histogram's sample are the suffix of its name and `le`."""
    samples: list[Sample] = []
    total = 0
    for edge, count in zip((*map(repr, latencies.edges), "+Inf"), latencies.counts, strict=True):
        total += count
        samples.append(((*of, "_bucket", edge), str(total)))
    return [*samples, ((*of, "_sum", ""), repr(latencies.sum_s)), ((*of, "_count", ""), str(total))]
