"""Samples of inference servers: requests, engine steps and latencies under common names, and the energy of serving. Pure."""

from energy_agent.core.catalogue.node import values_of
from energy_agent.core.interval import ConfidenceInterval
from energy_agent.core.snapshot import Snapshot
from energy_agent.core.units import NS_PER_S, UJ_PER_J, decimal
from energy_agent.core.workloads.request_quantiles import MEDIAN, P95, request_quantile
from energy_agent.core.workloads.tokens import Latencies
from energy_agent.exposition.gpu import FamilySamples, Sample

_COUNTS = values_of("server")


def put_servers(snapshot: Snapshot, families: FamilySamples) -> None:
    """Add the samples of every workload and model with an inference server."""
    for served in snapshot.served:
        of = (served.workload, served.model)
        for name, value in _COUNTS:
            if value.field in served.counts:
                families[name].append((of, value.write(served.counts[value.field])))
        for name, requests in (("requests_running", served.running), ("requests_waiting", served.waiting)):
            if requests is not None:
                families[name].append((of, str(requests)))
        for name, latencies in (("time_to_first_token_seconds", served.ttft), ("inter_token_latency_seconds", served.itl)):
            if latencies is not None:
                families[name] += _histogram(of, latencies)


def put_energy(snapshot: Snapshot, families: FamilySamples) -> None:
    """Add the energy of every workload that serves one model: by batch size, steady or not, prefill and decode."""
    for serving in snapshot.serving:
        name = (serving.workload, serving.model)
        for batch, use in serving.batches.items():
            families["serving_energy_joules_total"].append(((*name, batch), decimal(use.energy_uj, UJ_PER_J)))
            families["serving_tokens_total"].append(((*name, batch, "prompt"), str(use.computed)))
            families["serving_tokens_total"].append(((*name, batch, "generation"), str(use.generated)))
        if serving.steady is not None:
            families["serving_steady"].append((name, "1" if serving.steady else "0"))
        _band("prefill_joules_per_token", name, serving.split.prefill, families)
        _band("decode_joules_per_token", name, serving.split.decode, families)
        if serving.split.reason:
            families["serving_split_absent_info"].append(((*name, serving.split.reason), "1"))


def put_prices(snapshot: Snapshot, families: FamilySamples) -> None:
    """Add prices of a token and energy of a request: of each engine in the open hour, and in the last final one."""
    latest = {(hour.engine, hour.final): hour for hour in snapshot.engine_hours}  # the newest of each comes last
    for hour in latest.values():
        of = (hour.engine, hour.model, "last" if hour.final else "open")
        for part in ("prompt", "generation"):
            price = hour.price(part)
            if price is not None:
                for ending, value in zip(("", "_lower", "_upper"), price, strict=True):
                    families[f"{part}_price_joules_per_token{ending}"].append((of, repr(value)))
        if hour.requests is not None:
            families["engine_hour_requests"].append((of, str(hour.requests)))
        for name, quantile in (("median", MEDIAN), ("p95", P95)):
            figure = request_quantile(hour, quantile)
            if not isinstance(figure, str):
                for ending, value in zip(("", "_lower", "_upper"), figure, strict=True):
                    families[f"request_energy_{name}_joules{ending}"].append((of, repr(value)))
            elif quantile == P95:  # one reason is enough
                families["request_energy_absent_info"].append(((*of, figure), "1"))
        for state, energy_uj in (("active", hour.active_uj), ("idle", hour.idle_uj)):
            families["engine_hour_energy_joules"].append(((*of, state), decimal(energy_uj, UJ_PER_J)))
        families["engine_hour_end_timestamp_seconds"].append((of, decimal(hour.end_ns, NS_PER_S)))


def _histogram(of: tuple[str, ...], latencies: Latencies) -> list[Sample]:
    """Its series: the last two labels of a histogram's sample are the suffix of its name and `le`."""
    samples: list[Sample] = []
    total = 0
    for edge, count in zip((*map(repr, latencies.edges), "+Inf"), latencies.counts, strict=True):
        total += count
        samples.append(((*of, "_bucket", edge), str(total)))
    return [*samples, ((*of, "_sum", ""), repr(latencies.sum_s)), ((*of, "_count", ""), str(total))]


def _band(family: str, name: tuple[str, str], band: ConfidenceInterval | None, families: FamilySamples) -> None:
    if band is not None:
        for ending, value in (("", band.value), ("_lower", band.low), ("_upper", band.high)):
            families[family + ending].append((name, repr(value)))
