"""Panels of energy per request by model: the mean at each boundary, the median and the 95th percentile."""

from typing import Final

from dashboards.dashboard import Panel, banded, recorded, third
from dashboards.promql.latency import MODEL
from dashboards.rules.model import end_of
from dashboards.rules.requests import MEAN, quantile

_J_PER_WH: Final = 3600
_FLEET: Final = "Of all nodes and workloads of the selected clusters."


def request_panels() -> tuple[Panel, ...]:
    """The panels."""
    return (
        third(
            "Energy per request by model, mean",
            "Energy of the workloads that serve a model, idle time included, divided by their finished requests over five "
            "minutes, at each boundary: GPUs (gpu), with the workload's share of the rest of its node (node), and times the "
            f"site's PUE (facility). {_FLEET}",
            "watth",
            banded(lambda band: _wh(recorded(end_of(MEAN, band), MODEL, scope="job")), "{{model}}, {{boundary}}"),
            decimals=3,
            no_value="no request ended in the last five minutes, or no inference server counts its requests",
        ),
        _quantile("median", "Median energy per request by model"),
        _quantile("p95", "95th percentile of energy per request by model"),
    )


def _quantile(which: str, title: str) -> Panel:
    def of(band: str) -> str:
        last, open_ = (recorded(quantile(which, band), MODEL, f'hour="{hour}"', scope="job") for hour in ("last", "open"))
        return f"({last} or ignoring (hour) {open_})"

    return third(
        title,
        "Active GPU energy of a request at the price of its tokens, in the last full hour, or in the open one before the first "
        "full hour. At least and at most: bounds that hold whatever lengths of prompts and responses came together "
        f"(request_energy_{which}_joules). {_FLEET}",
        "watth",
        banded(lambda band: _wh(of(band)), "{{model}}"),
        decimals=3,
        no_value="no request ended, or no server has histograms of tokens per request (request_energy_absent_info)",
    )


def _wh(joules: str) -> str:
    return f"{joules} / {_J_PER_WH}"
