"""The row of energy by its use: requests, tokens of requests within their limits, rejected drafts and aborted requests."""

from typing import Final

from dashboards.boards.inference.serving import NAME, TO_TRACE
from dashboards.panels import GrafanaPanel, GrafanaRow, band, row, third
from dashboards.promql.latency import MODEL
from dashboards.promql.selectors import MOST, recorded
from dashboards.rules.model import end_of
from dashboards.rules.serving import ABORTED, GOODPUT, REJECTED, REQUEST_MEAN, request_quantile

_J_PER_WH: Final = 3600
_FLEET: Final = "Of all nodes and workloads of the selected clusters."


def _quantile(which: str, title: str) -> GrafanaPanel:
    def of(band: str) -> str:
        last, open_ = (
            recorded(request_quantile(which, band), MODEL, f'hour="{hour}"', scope="job") for hour in ("last", "open")
        )
        return f"({last} or ignoring (hour) {open_})"

    return third(
        title,
        "Active GPU energy of a request at the price of its tokens, in the last full hour, or in the open one before the first "
        "full hour. At least and at most: bounds that hold whatever lengths of prompts and responses came together "
        f"(request_energy_{which}_joules). {_FLEET}",
        "watth",
        band(lambda end: _wh(of(end)), "{{model}}"),
        decimals=3,
        no_value="no request ended, or no server has histograms of tokens per request (request_energy_absent_info)",
    )


def _wh(joules: str) -> str:
    return f"{joules} / {_J_PER_WH}"


def goodput() -> GrafanaRow:
    """Energy per request, goodput and lost energy."""

    def most(name: str, *matchers: str) -> str:
        return f"topk({MOST}, {recorded(name, MODEL, *matchers)})"

    return row(
        "Energy per request, goodput and lost energy",
        third(
            "Energy per request by model, mean",
            "Energy of the workloads that serve a model, idle time included, divided by their finished requests over five "
            "minutes, at each boundary: GPUs (gpu), with the workload's share of the rest of its node (node), and times the "
            f"site's PUE (facility). {_FLEET}",
            "watth",
            band(lambda end: _wh(recorded(end_of(REQUEST_MEAN, end), MODEL, scope="job")), "{{model}}, {{boundary}}"),
            decimals=3,
            no_value="no request ended in the last five minutes, or no inference server counts its requests",
        ),
        _quantile("median", "Median energy per request by model"),
        _quantile("p95", "95th percentile of energy per request by model"),
        third(
            f"Energy per token within limits, top {MOST} (J/token)",
            "GPU energy, idle included, divided by the generated tokens of requests within the latency limits of their "
            "steering policy settings (joules per token divided by the share of requests within both limits). The bounds "
            "include the sensors' error and limits that are not an edge of the histograms.",
            "short",
            band(lambda end: most(end_of(GOODPUT, end), 'boundary="gpu"'), NAME),
            no_value="no requests now, or the workload has no latency limit (dvfs: slo)",
            links=TO_TRACE,
        ),
        third(
            f"Power of rejected drafts, top {MOST}",
            "Power for draft tokens that the model rejected, at most: power times (drafts - accepted) / (drafts + "
            "generated - accepted) (draft_tokens_total, accepted_draft_tokens_total). Prefill and idle time count too.",
            "watt",
            {NAME + ", at most": most(REJECTED)},
            no_value="no speculative decoding, or the server does not count drafts",
            links=TO_TRACE,
        ),
        third(
            f"Power of aborted requests, top {MOST}",
            "Power for requests that ended unfinished, at most, if they were not longer than others: power times their "
            "share of all requests (requests_aborted_total, requests_total).",
            "watt",
            {NAME + ", at most": most(ABORTED)},
            no_value="no request was aborted, or the server does not count aborted requests, as vLLM",
            links=TO_TRACE,
        ),
    )


SPEC = {35: goodput}
