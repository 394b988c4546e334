"""Metrics of inference servers under common names, and the energy of serving. Pure."""

from collections.abc import Mapping
from functools import lru_cache, partial
from itertools import accumulate
from operator import attrgetter, methodcaller
from typing import Final

from energy_agent.core.catalogue.metric import Row, Scrape, Signal, Source, band, derive, each, flag, listed
from energy_agent.core.interval import ConfidenceInterval
from energy_agent.core.snapshot import Snapshot
from energy_agent.core.workloads.request_quantiles import MEDIAN, P95, request_quantile
from energy_agent.core.workloads.serving import BatchUse
from energy_agent.core.workloads.tokens import Latencies

_MODEL: Final = ("workload", "model")


def _buckets(field: str) -> Source:
    """A histogram of each server."""
    get = attrgetter(field)

    def rows(scrape: Scrape[Snapshot]) -> list[Row]:
        return [row for of, served in scrape.of(SERVERS.rows) if (latencies := get(served)) for row in _series(of, latencies)]

    return Source(_MODEL, rows)


def _series(of: tuple[str, ...], latencies: Latencies) -> list[Row]:
    edges, totals = (*map(repr, latencies.edges), "+Inf"), list(accumulate(latencies.counts))
    buckets = [((*of, "_bucket", edge), total) for edge, total in zip(edges, totals, strict=True)]
    return [*buckets, ((*of, "_sum", ""), latencies.sum_s), ((*of, "_count", ""), totals[-1])]


def _tokens(use: BatchUse) -> Mapping[str, int]:
    return {"prompt": use.computed, "generation": use.generated}


def _engines(scrape: Scrape[Snapshot]) -> list[Row]:
    latest = {(hour.engine, hour.final): hour for hour in scrape.snapshot.engine_hours}  # the newest of each comes last
    return [((hour.engine, hour.model, "last" if hour.final else "open"), hour) for hour in latest.values()]


def _interval(figure: tuple[float, float, float] | str) -> ConfidenceInterval | None:
    return None if isinstance(figure, str) else ConfidenceInterval(*figure)


def _reason(figure: tuple[float, float, float] | str) -> str | None:
    return figure if isinstance(figure, str) else None


SERVERS: Final = listed("served", *_MODEL)
COUNTS: Final = derive(SERVERS, "counts")
SERVING: Final = listed("serving", *_MODEL)
BATCHES: Final = each(SERVING, "batches", "running")
ENGINES: Final = Source(("engine", "model", "hour"), _engines)
REQUEST_P95: Final = derive(ENGINES, lru_cache(partial(request_quantile, quantile=P95)))

_SERVED: Final = (
    "If the inference server reports it. Starts at 0 at the first reading, survives restarts; disappears with tokens_total."
)
_SERVED_NOW: Final = "Last reading, if the inference server reports it. Absent while the server does not respond."
_SERVING: Final = (
    "Counts since the agent started, for inference servers that count with every engine step and report running requests."
)
_ESTIMATE: Final = (
    "Absent without a count of steps, or while the load varies too little; serving_split_absent_info has the reason."
)
_PRICE: Final = (
    "Appears with the engine's first energy and tokens; counts since the agent started. A price is absent while the engine has "
    "had no such tokens in the hour."
)
_REQUEST: Final = (
    "As the prices. Absent if the server has no histograms of tokens per request; request_energy_absent_info has the reason."
)


def _count(name: str, text: str, field: str) -> Signal:
    return Signal(name, text, _SERVED, COUNTS, methodcaller("get", field))


INFERENCE: Final = (
    _count("requests_total", "Requests that the workload's inference servers finished.", "requests"),
    _count("requests_aborted_total", "Requests that the workload's inference servers ended before they were finished.",
           "aborted"),
    Signal("requests_running", "Requests that run on the workload's inference servers.", _SERVED_NOW, SERVERS, "running"),
    Signal("requests_waiting", "Requests that wait in the queues of the workload's inference servers.", _SERVED_NOW, SERVERS,
           "waiting"),
    _count("engine_steps_total", "Steps of the workload's engines; each step processes one batch.", "steps"),
    _count("draft_tokens_total", "Draft tokens of speculative decoding.", "drafts"),
    _count("accepted_draft_tokens_total", "Draft tokens that the model accepted, as generated tokens.", "accepted"),
    Signal("time_to_first_token_seconds",
           "Time to first token in seconds, with the same definition for every inference server and the buckets that all its "
           "engines have.", _SERVED, _buckets("ttft"), text=str, is_histogram=True),
    Signal("inter_token_latency_seconds",
           "Inter-token latency in seconds, with the same definition for every inference server and the buckets that all its "
           "engines have.", _SERVED, _buckets("itl"), text=str, is_histogram=True),
    # Live, of workloads that serve one model
    Signal("serving_energy_joules_total",
           "Energy of a serving workload on its GPUs, including idle energy, by number of running requests: 0, 1, 2-3, 4-7, "
           "... 512+.", _SERVING, BATCHES, "energy_uj"),
    Signal("serving_tokens_total", "Tokens in the same intervals: prompt (computed) or generation.", _SERVING,
           each(BATCHES, _tokens, "phase")),
    Signal("serving_steady",
           "1 if power, throughput and running requests varied by less than a tenth over the last minute, else 0.",
           "Absent for the first minute.", SERVING, "steady", text=flag),
    *band("prefill_joules_per_token", "Energy per computed prompt token{}: an estimate over the last hour.", _ESTIMATE,
          SERVING, "split.prefill"),
    *band("decode_joules_per_token", "Energy per generated token{}: an estimate over the last hour.", _ESTIMATE, SERVING,
          "split.decode"),
    Signal("serving_split_absent_info", "Why prefill and decode cannot be distinguished.",
           "Present only while prefill or decode is absent.", SERVING, "split.reason", ("reason",)),
    # The price of a token, by engine: a workload, or the pools of a group
    *(
        signal
        for part, words in (("prompt", "computed prompt token"), ("generation", "generated token"))
        for signal in band(
            f"{part}_price_joules_per_token",
            f"Active GPU energy per {words} of an engine{{}}; hour: open (provisional) or last (final).",
            _PRICE, derive(ENGINES, lru_cache(methodcaller("price", part))), _interval, confidence="",
        )
    ),
    Signal("engine_hour_requests", "Requests of an engine that ended in the hour.",
           "As the prices, if the inference server counts requests.", ENGINES, "requests"),
    *band("request_energy_median_joules", "Median of the active GPU energy of the requests that ended in the hour{}.",
          _REQUEST, derive(ENGINES, lru_cache(partial(request_quantile, quantile=MEDIAN))), _interval, confidence=""),
    *band("request_energy_p95_joules", "95th percentile of the active GPU energy of the requests that ended in the hour{}.",
          _REQUEST, REQUEST_P95, _interval, confidence=""),
    Signal("request_energy_absent_info", "Why the energy of an engine's requests is absent.",
           "Always 1; the labels have the information.", REQUEST_P95, _reason, ("reason",)),
    Signal("engine_hour_end_timestamp_seconds", "Time up to which the hour is known, UTC.", _PRICE, ENGINES, "end_ns"),
)  # fmt: skip
