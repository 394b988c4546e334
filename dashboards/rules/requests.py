"""Recording rules for Prometheus: energy per request by model, mean at each boundary, median and 95th percentile of the GPUs.

The mean is the energy of the workloads that serve a model, idle time included, over the requests that they finished; a workload
whose server counts no requests is in neither.

Median and 95th percentile of a fleet cannot be computed from those of its engines, but they lie between the smallest and the
largest of them. So the bounds are the smallest lower and the largest upper bound of the engines, and the figure between them is
the mean of the engines, weighted by requests.
"""

from collections.abc import Iterator
from typing import Final

from dashboards.rules.joules_per_token import TOKEN_POWER
from dashboards.rules.model import BANDS, STEP, WINDOW, RecordingRule, RuleGroup, end_of
from energy_agent.core.catalogue.node import metric

MEAN: Final = f"model:wattlens_joules_per_request:ratio_rate{WINDOW}"
"""By boundary, of five minutes; with the ends `_lower` and `_upper`."""
QUANTILES: Final = ("median", "p95")
_FRESH_S: Final = 7200  # an engine that served nothing since then is in no figure of the fleet
_OVER_NODES: Final = "sum without (instance, workload, tokens, energy)"
_OVER_ENGINES: Final = "without (instance, engine)"


def quantile(which: str, band: str = "") -> str:
    """Name of the rule of a quantile, by label `hour`: open or last."""
    return end_of(f"model:wattlens_request_energy_{which}_joules:hour", band)


def request_groups() -> tuple[RuleGroup, ...]:
    """The group; it reads what joules-per-token records."""
    return (RuleGroup("wattlens-requests", STEP, (*_means(), *(rule for which in QUANTILES for rule in _quantiles(which)))),)


def _means() -> Iterator[RecordingRule]:
    rate = f"rate({metric('requests_total')}[{WINDOW}])"
    for band in BANDS:
        power = f'{end_of(TOKEN_POWER, band)}{{energy="active_idle"}}'
        apart = "ignoring (boundary, energy, tokens)"
        joules = f"{_OVER_NODES} ({power} and {apart} {rate})"
        requests = f"{_OVER_NODES} (clamp({power}, 1, 1) * {apart} group_left () {rate})"
        yield RecordingRule(end_of(MEAN, band), f"{joules} / ({requests} > 0)")


def _quantiles(which: str) -> Iterator[RecordingRule]:
    fresh = f"{metric('engine_hour_end_timestamp_seconds')} > time() - {_FRESH_S}"
    figure, low, high = (f"({metric(f'request_energy_{which}_joules{end}')} and {fresh})" for end in BANDS)
    requests = f"({metric('engine_hour_requests')} and {figure})"
    yield RecordingRule(
        quantile(which), f"sum {_OVER_ENGINES} ({figure} * {requests}) / (sum {_OVER_ENGINES} ({requests}) > 0)"
    )
    yield RecordingRule(quantile(which, "_lower"), f"min {_OVER_ENGINES} ({low})")
    yield RecordingRule(quantile(which, "_upper"), f"max {_OVER_ENGINES} ({high})")
