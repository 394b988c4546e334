"""Row of energy by its use: requests, tokens of requests within their limits, rejected drafts and aborted requests."""

from dashboards.boards.inference.requests import request_panels
from dashboards.boards.inference.rows.serving import NAME, TO_TRACE
from dashboards.dashboard import DashboardRows, PanelQuery, PanelRow, banded, recorded, third
from dashboards.promql.joins import MOST
from dashboards.promql.latency import MODEL
from dashboards.rules.goodput import ABORTED, GOODPUT, REJECTED
from dashboards.rules.model import end_of


def goodput() -> PanelRow:
    """Energy per request, goodput and lost energy."""

    def most(name: str, *matchers: str) -> str:
        return f"topk({MOST}, {recorded(name, MODEL, *matchers)})"

    return PanelRow(
        "Energy per request, goodput and lost energy",
        (
            *request_panels(),
            third(
                f"Energy per token within limits, top {MOST} (J/token)",
                "GPU energy, idle included, divided by the generated tokens of requests within the latency limits of their "
                "steering policy settings (joules per token divided by the share of requests within both limits). The bounds "
                "include the sensors' error and limits that are not an edge of the histograms.",
                "short",
                banded(lambda band: most(end_of(GOODPUT, band), 'boundary="gpu"'), NAME),
                no_value="no requests now, or the workload has no latency limit (dvfs: slo)",
                links=TO_TRACE,
            ),
            third(
                f"Power of rejected drafts, top {MOST}",
                "Power for draft tokens that the model rejected, at most: power times (drafts - accepted) / (drafts + "
                "generated - accepted) (draft_tokens_total, accepted_draft_tokens_total). Prefill and idle time count too.",
                "watt",
                (PanelQuery(most(REJECTED), NAME + ", at most"),),
                no_value="no speculative decoding, or the server does not count drafts",
                links=TO_TRACE,
            ),
            third(
                f"Power of aborted requests, top {MOST}",
                "Power for requests that ended unfinished, at most, if they were not longer than others: power times their "
                "share of all requests (requests_aborted_total, requests_total).",
                "watt",
                (PanelQuery(most(ABORTED), NAME + ", at most"),),
                no_value="no request was aborted, or the server does not count aborted requests, as vLLM",
                links=TO_TRACE,
            ),
        ),
    )


SPEC = DashboardRows({35: goodput})
