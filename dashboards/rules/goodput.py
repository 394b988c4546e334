"""Recording rules for Prometheus: energy per token of requests within their latency limits, and energy of work that was lost.

The limits are those of the steering policy settings. The share of misses of a latency has bounds, which differ where the limit
is not an edge of the histogram. At most the misses of both latencies add up; at least the larger one counts. Requests within
their limits are taken to have as many tokens as others.

A step of speculative decoding computes every draft token and one more token per sequence, of which generated tokens are those
accepted and the one more. So drafts + generated - accepted are computed, and the share of rejected ones is

    (drafts - accepted) / (drafts + generated - accepted)

Their energy is at most this share of all energy of the workload, which includes prefill and idle time: a rejected token costs
no more than a generated one. A draft model of its own is not accounted separately. Aborted requests have at most their share of
the requests, if they are not longer than others.
"""

from collections.abc import Iterator
from typing import Final

from dashboards.rules.joules_per_token import TOKEN_POWER
from dashboards.rules.latency import BY
from dashboards.rules.model import STEP, WINDOW, RecordingRule, RuleGroup, end_of, joules_per_token
from energy_agent.core.catalogue.node import metric

ATTAINED: Final = f"instance_workload:wattlens_slo_attained:ratio_rate{WINDOW}"
"""Share of requests within both limits; with the ends `_lower` and `_upper` alone."""
GOODPUT: Final = f"instance_workload_model:wattlens_joules_per_good_token:ratio_rate{WINDOW}"
REJECTED: Final = end_of(f"instance_workload_model:wattlens_rejected_draft_joules:rate{WINDOW}", "_upper")
ABORTED: Final = end_of(f"instance_workload_model:wattlens_aborted_request_joules:rate{WINDOW}", "_upper")
_ON: Final = "on (cluster, job, instance, workload) group_left ()"
_WHOLE: Final = '{boundary="gpu",energy="active_idle"}'


def goodput_groups() -> tuple[RuleGroup, ...]:
    """The group; it reads what joules-per-token records."""
    return (RuleGroup("wattlens-goodput", STEP, (*_goodput(), *_lost())),)


def _goodput() -> Iterator[RecordingRule]:
    observed = f"(rate({metric('dvfs_slo_observations_total')}[{WINDOW}]) > 0)"
    most, least = (f"rate({metric(f'dvfs_slo_{name}_total')}[{WINDOW}]) / {observed}" for name in ("missed", "surely_missed"))
    low, high = (end_of(ATTAINED, band) for band in ("_lower", "_upper"))
    yield RecordingRule(low, f"clamp_min(1 - sum without (group, latency) ({most}), 0)")
    yield RecordingRule(high, f"1 - max without (group, latency) ({least})")
    for band, share in (("", f"({low} + {high}) / 2"), ("_lower", high), ("_upper", low)):
        ratio = f'{joules_per_token("instance_workload_model", band)}{{tokens="generation",energy="active_idle"}}'
        yield RecordingRule(end_of(GOODPUT, band), f"{ratio} / {_ON} ({share} > 0)")


def _lost() -> Iterator[RecordingRule]:
    def rate(signal: str, matcher: str = "") -> str:
        return f"sum by ({BY}) (rate({metric(signal)}{matcher}[{WINDOW}]))"

    drafts, accepted = rate("draft_tokens_total"), rate("accepted_draft_tokens_total")
    generated = rate("tokens_total", '{phase="generation"}')
    rejected = f"({drafts} - {accepted}) / ({drafts} + {generated} - {accepted} > 0)"
    aborted = f"{rate('requests_aborted_total')} / ({rate('requests_total')} > 0)"
    for name, share in ((REJECTED, rejected), (ABORTED, aborted)):
        yield RecordingRule(name, f"{end_of(TOKEN_POWER, '_upper')}{_WHOLE} * on ({BY}) group_left () clamp({share}, 0, 1)")
