"""Recording rules for Prometheus of serving: latencies, good and lost work, energy per request, and energy by load band."""

from collections.abc import Iterator
from typing import Final

from dashboards.rules.joules_per_token import TOKEN_POWER
from dashboards.rules.model import BANDS, STEP_S, WINDOW, RecordingRule, end_of, joules_per_token
from energy_agent.core.catalogue.node import metric

TTFT: Final = "time_to_first_token_seconds"
ITL: Final = "inter_token_latency_seconds"
PERCENTILES: Final = ("0.5", "0.9", "0.95", "0.99")
BY: Final = "cluster, job, instance, workload, model"
ATTAINED: Final = f"instance_workload:wattlens_slo_attained:ratio_rate{WINDOW}"
"""Share of requests within both limits; with the ends `_lower` and `_upper` alone."""
GOODPUT: Final = f"instance_workload_model:wattlens_joules_per_good_token:ratio_rate{WINDOW}"
REJECTED: Final = end_of(f"instance_workload_model:wattlens_rejected_draft_joules:rate{WINDOW}", "_upper")
ABORTED: Final = end_of(f"instance_workload_model:wattlens_aborted_request_joules:rate{WINDOW}", "_upper")
_ON: Final = "on (cluster, job, instance, workload) group_left ()"
_WHOLE: Final = '{boundary="gpu",energy="active_idle"}'
REQUEST_MEAN: Final = f"model:wattlens_joules_per_request:ratio_rate{WINDOW}"
"""By boundary, of five minutes; with the ends `_lower` and `_upper`."""
REQUEST_QUANTILES: Final = ("median", "p95")
_FRESH_S: Final = 7200  # an engine that served nothing since then is in no figure of the fleet
_OVER_NODES: Final = "sum without (instance, workload, tokens, energy)"
_OVER_ENGINES: Final = "without (instance, engine)"
BAND_ENERGY: Final = f"model_running:wattlens_serving_energy_joules:rate{WINDOW}"
BAND_TOKENS: Final = f"model_running:wattlens_serving_tokens:rate{WINDOW}"
LEAST_TOKENS: Final = 10_000
"""Fewer generated tokens of a load band are no base for a comparison."""
_OVER_SERVERS: Final = "sum without (instance, workload, phase)"
_JOULES: Final = metric("serving_energy_joules_total")
_COUNT: Final = f'{metric("serving_tokens_total")}{{phase="generation"}}'


def percentile(family: str) -> str:
    """Name of the rule of a percentile, by label `quantile`; engines of different buckets are never mixed."""
    return f"instance_workload_model:{metric(family)}:quantile_rate{WINDOW}"


def mean(family: str) -> str:
    """Name of the rule of the mean."""
    return f"instance_workload_model:{metric(family)}:mean_rate{WINDOW}"


def latency_rules(family: str) -> Iterator[RecordingRule]:
    """The mean and the percentiles of a latency, from the classic histograms.

    An engine has some forty buckets, so a percentile of every engine of a fleet at every step of a graph takes seconds. The
    rules record the percentiles that the dashboard offers. The share within a limit needs one bucket of each engine, which
    dashboards select themselves.
    """
    name = metric(family)
    total, count = (f"sum by ({BY}) (rate({name}_{part}[{WINDOW}]))" for part in ("sum", "count"))
    yield RecordingRule(mean(family), f"{total} / ({count} > 0)")
    for which in PERCENTILES:
        # An engine has one histogram, so nothing is summed: that would copy every bucket of the fleet once more. Of the two
        # that it has for five minutes after its target got another label, the slower one counts.
        quantile_expr = f"histogram_quantile({which}, rate({name}_bucket[{WINDOW}]))"
        # `>= 0` drops the NaN of a histogram without observations.
        yield RecordingRule(percentile(family), f"max by ({BY}) ({quantile_expr} >= 0)", {"quantile": which})


def goodput_rules() -> Iterator[RecordingRule]:
    """Energy per token of requests within their latency limits.

    The limits are those of the steering policy settings. The share of misses of a latency has bounds, which differ where the
    limit is not an edge of the histogram. At most the misses of both latencies add up; at least the larger one counts. Requests
    within their limits are taken to have as many tokens as others.
    """
    observed = f"(rate({metric('dvfs_slo_observations_total')}[{WINDOW}]) > 0)"
    most, least = (f"rate({metric(f'dvfs_slo_{name}_total')}[{WINDOW}]) / {observed}" for name in ("missed", "surely_missed"))
    low, high = (end_of(ATTAINED, band) for band in ("_lower", "_upper"))
    yield RecordingRule(low, f"clamp_min(1 - sum without (group, latency) ({most}), 0)")
    yield RecordingRule(high, f"1 - max without (group, latency) ({least})")
    for band, share in (("", f"({low} + {high}) / 2"), ("_lower", high), ("_upper", low)):
        ratio = f'{joules_per_token("instance_workload_model", band)}{{tokens="generation",energy="active_idle"}}'
        yield RecordingRule(end_of(GOODPUT, band), f"{ratio} / {_ON} ({share} > 0)")


def lost_work_rules() -> Iterator[RecordingRule]:
    """Power of rejected drafts and of aborted requests.

    A step of speculative decoding computes every draft token and one more token per sequence, of which generated tokens are
    those accepted and the one more. So drafts + generated - accepted are computed, and the share of rejected ones is

        (drafts - accepted) / (drafts + generated - accepted)

    Their energy is at most this share of all energy of the workload, which includes prefill and idle time: a rejected token
    costs no more than a generated one. A draft model of its own is not accounted separately. Aborted requests have at most
    their share of the requests, if they are not longer than others.
    """

    def rate(signal: str, matcher: str = "") -> str:
        return f"sum by ({BY}) (rate({metric(signal)}{matcher}[{WINDOW}]))"

    drafts, accepted = rate("draft_tokens_total"), rate("accepted_draft_tokens_total")
    generated = rate("tokens_total", '{phase="generation"}')
    rejected = f"({drafts} - {accepted}) / ({drafts} + {generated} - {accepted} > 0)"
    aborted = f"{rate('requests_aborted_total')} / ({rate('requests_total')} > 0)"
    for name, share in ((REJECTED, rejected), (ABORTED, aborted)):
        yield RecordingRule(name, f"{end_of(TOKEN_POWER, '_upper')}{_WHOLE} * on ({BY}) group_left () clamp({share}, 0, 1)")


def request_quantile(which: str, band: str = "") -> str:
    """Name of the rule of a quantile, by label `hour`: open or last."""
    return end_of(f"model:wattlens_request_energy_{which}_joules:hour", band)


def request_mean_rules() -> Iterator[RecordingRule]:
    """Mean energy per request by model at each boundary.

    It is the energy of the workloads that serve a model, idle time included, over the requests that they finished; a workload
    whose server counts no requests is in neither.
    """
    rate = f"rate({metric('requests_total')}[{WINDOW}])"
    for band in BANDS:
        power = f'{end_of(TOKEN_POWER, band)}{{energy="active_idle"}}'
        apart = "ignoring (boundary, energy, tokens)"
        joules = f"{_OVER_NODES} ({power} and {apart} {rate})"
        requests = f"{_OVER_NODES} (clamp({power}, 1, 1) * {apart} group_left () {rate})"
        yield RecordingRule(end_of(REQUEST_MEAN, band), f"{joules} / ({requests} > 0)")


def request_quantile_rules(which: str) -> Iterator[RecordingRule]:
    """Median or 95th percentile of the GPUs' energy per request by model.

    Those of a fleet cannot be computed from those of its engines, but they lie between the smallest and the largest of them. So
    the bounds are the smallest lower and the largest upper bound of the engines, and the figure between them is the mean of the
    engines, weighted by requests.
    """
    fresh = f"{metric('engine_hour_end_timestamp_seconds')} > time() - {_FRESH_S}"
    figure, low, high = (f"({metric(f'request_energy_{which}_joules{end}')} and {fresh})" for end in BANDS)
    requests = f"({metric('engine_hour_requests')} and {figure})"
    yield RecordingRule(
        request_quantile(which), f"sum {_OVER_ENGINES} ({figure} * {requests}) / (sum {_OVER_ENGINES} ({requests}) > 0)"
    )
    yield RecordingRule(request_quantile(which, "_lower"), f"min {_OVER_ENGINES} ({low})")
    yield RecordingRule(request_quantile(which, "_upper"), f"max {_OVER_ENGINES} ({high})")


def load_band_rules() -> Iterator[RecordingRule]:
    """Energy and generated tokens of serving by model and load band.

    Joules per token depend on how many requests run together more than on anything else, so a comparison over time is made
    within a load band (label `running` of serving_energy_joules_total). Only workloads that serve one model from one endpoint
    have these series.
    """
    for record, counter in ((BAND_ENERGY, _JOULES), (BAND_TOKENS, _COUNT)):
        yield RecordingRule(record, f"{_OVER_SERVERS} (rate({counter}[{WINDOW}]))")


def rose(factor: float) -> str:
    """Joules per token of a load band that rose within a day, errors included: of a model, and of its new servers.

    An hour is compared with the day that ended a day ago. New servers (label `servers`) are workloads that did not serve the
    model a day ago, such as the pods of a deployment since then.
    """
    old_series = f"max by (cluster, workload, model) (present_over_time({_COUNT}[1h] offset 1d))"
    energy, tokens = (
        f"{_OVER_SERVERS} (increase({counter}[1h]) unless on (cluster, workload, model) {old_series})"
        for counter in (_JOULES, _COUNT)
    )
    on_new_servers = _exceeds(f"{energy} / ({tokens} >= {LEAST_TOKENS})", factor)
    of_models = _exceeds(_band_ratio("[1h]"), factor)
    return f'label_replace({on_new_servers}, "servers", "new", "", "") or {of_models}'


def _band_ratio(window: str) -> str:
    """Joules per token by model and load band."""
    return f"sum_over_time({BAND_ENERGY}{window}) / (sum_over_time({BAND_TOKENS}{window}) >= {LEAST_TOKENS // STEP_S})"


def _exceeds(now: str, factor: float) -> str:
    before = _band_ratio("[1d] offset 1d")
    low, high = _relative("_lower", "[1h]"), _relative("_upper", "[1h] offset 1d")
    return f"({now}) * ignoring (running) group_left () {low} > {factor} * ({before}) * ignoring (running) group_left () {high}"


def _relative(band: str, window: str) -> str:
    """An end of the band of a model's joules per token, as a ratio of the figure: the error of the sensors."""
    chosen = '{boundary="gpu",energy="active_idle",tokens="generation"}'
    end, figure = (f"avg_over_time({joules_per_token('model', which)}{chosen}{window})" for which in (band, ""))
    return f"sum without (boundary, energy, tokens) ({end} / {figure})"
