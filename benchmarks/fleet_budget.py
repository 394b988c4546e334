"""The series budget: maximum series per `/metrics` response, series of the smaller profiles, and resources of a fleet.

Run from the repository's root: python -m benchmarks fleet_budget

A response grows only with its GPUs, its workloads, its inference engines, and the namespaces and owners that the node has ever
had. `sizing` scales measurements at 8,000 GPUs: larger fleets are an extrapolation.
"""

import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import yaml

from benchmarks.fleet_capture import GPUS, take
from benchmarks.fleet_template import Key, keys_of
from benchmarks.runner import Row
from dashboards.rules.model import STEP_S
from energy_agent.config.metrics_page import Metrics
from energy_agent.core.catalogue.node import BY_NAME
from energy_agent.core.catalogue.selection import PREFIX, Selection

PAGE = Path(__file__).parents[1] / "docs/fleet.md"
Part = Literal["node", "gpu", "steered", "workload", "engine"]

BUDGET: dict[Part, int] = {"node": 80, "gpu": 60, "steered": 40, "workload": 24, "engine": 120}
"""Series of a page: once, for each GPU, for each GPU that DVFS has, for each workload that holds GPUs, for each engine."""
OF_ENGINES = ("time_to_first_token_", "inter_token_latency_", "serving_", "prefill_", "decode_", "requests_", "request_",
              "engine_", "prompt_price_", "generation_price_")  # fmt: skip
_SCRAPE_ADDS = 5  # up, and four series of scrape_*
SECONDS_A_MONTH = 30 * 86_400
SERIES_A_PROMETHEUS = 2_500_000
"""As many as one Prometheus should have, so that it restarts within minutes and rules have time to spare."""


MEASURED = {"page": 981, "recorded": 533, "head_b": 8_320, "store_b": 1_265, "block_b": 3.05, "row_b": 2.93}
"""By `fleet_scale` at 8,000 GPUs, an hour of history.

Series of a node's page and recorded for it; memory of Prometheus and of VictoriaMetrics per series, the maximum resident
after every query of every dashboard; disk of each sample in blocks of Prometheus and in VictoriaMetrics.
"""


def sizing(gpus: int, scrape_s: float = 30.0) -> Row:
    """Resources of a fleet of 8-GPU nodes; memory and disk are sums over all Prometheus servers, for one of each pair."""
    of, nodes = MEASURED, math.ceil(gpus / GPUS)
    series = int(nodes * (of["page"] + _SCRAPE_ADDS + of["recorded"]))
    rate = nodes * ((of["page"] + _SCRAPE_ADDS) / scrape_s + of["recorded"] / STEP_S)
    return {
        "gpus": gpus, "nodes": nodes, "series": series, "samples_per_s": rate,
        "prometheuses": max(1, math.ceil(series / SERIES_A_PROMETHEUS)), "memory_b": series * of["head_b"],
        "disk_15d_b": rate * 15 * 86_400 * of["block_b"], "store_memory_b": series * of["store_b"],
        "store_month_b": rate * SECONDS_A_MONTH * of["row_b"],
    }  # fmt: skip


FLEETS = (8, 80, 800, 8_000, 24_000, 100_000)


def table() -> str:
    """The sizing table of docs/fleet.md."""
    head = (
        "| GPUs | nodes | series | samples/s | Prometheus servers | their memory | 15 days of theirs "
        "| VictoriaMetrics memory | a month of its |"
    )
    lines = [head, "| --- " * 9 + "|"]
    for gpus in FLEETS:
        s = sizing(gpus)
        counts = f"{gpus:,}", f"{s['nodes']:,}", _short(s["series"]), _short(s["samples_per_s"]), str(s["prometheuses"])
        cells = counts + tuple(_bytes(s[of]) for of in ("memory_b", "disk_15d_b", "store_memory_b", "store_month_b"))
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def parts(keys: Sequence[Key]) -> dict[Part, dict[str, int]]:
    """Series of a response, per part that they grow with and per instance of it."""
    counts: dict[Part, Counter[str]] = {part: Counter() for part in BUDGET}
    for name, labels in keys:
        of = dict(labels)
        source = of.get("source", "")
        if name.startswith(tuple(PREFIX + stem for stem in OF_ENGINES)):
            counts["engine"][of.get("workload") or of["engine"]] += 1
        elif source.startswith(("dvfs:", "tokens:")):
            counts["workload"][source.partition(":")[2]] += 1
        elif "uuid" in of and "_workload_" not in name:
            counts["steered" if name.startswith(f"{PREFIX}dvfs_") else "gpu"][of["uuid"]] += 1
        elif "workload" in of:
            counts["workload"][of["workload"]] += 1
        elif of.get("device", "").startswith("GPU-"):
            counts["gpu"][of["device"]] += 1
        else:
            counts["node"]["page"] += 1
    return {part: dict(counted) for part, counted in counts.items()}


def allowed(gpus: int, workloads: int = 0, engines: int = 0, steered: int = 0) -> int:
    """Maximum number of series of a response with this many parts."""
    of_gpus = BUDGET["gpu"] * gpus + BUDGET["steered"] * steered
    return BUDGET["node"] + of_gpus + BUDGET["workload"] * workloads + BUDGET["engine"] * engines


def families(keys: Sequence[Key]) -> Counter[str]:
    """Series of each family by the name of its signal."""
    return Counter(family(name) for name, _ in keys)


def family(metric: str) -> str:
    """Signal that a metric belongs to; those of a histogram have suffixes."""
    name = metric.removeprefix(PREFIX)
    return name if name in BY_NAME else re.sub(r"_(bucket|sum|count)$", "", name)


def profiles(text: str | None = None) -> dict[str, dict[str, Any]]:
    """`web.metrics` of each profile, by the comment that opens its example in docs/fleet.md."""
    settings = {}
    for block in re.findall(r"```yaml\n(.*?)```", PAGE.read_text() if text is None else text, re.DOTALL):
        named = re.match(r"# profile: (\w+)", block)
        if named:
            settings[named[1]] = yaml.safe_load(block)["web"]["metrics"]
    return settings


def selection(metrics: Mapping[str, Any]) -> Selection:
    """Selection of a profile."""
    return Metrics.model_validate(metrics).selection


def _short(value: float) -> str:
    for unit, size in (("M", 1e6), ("k", 1e3)):
        if value >= size:
            return f"{value / size:,.3g} {unit}"
    return f"{value:,.0f}"


def _bytes(value: float) -> str:
    for unit, size in (("TiB", 2**40), ("GiB", 2**30), ("MiB", 2**20)):
        if value >= size:
            return f"{value / size:,.3g} {unit}"
    return f"{value / 2**10:,.0f} KiB"


def run() -> Iterator[Row]:
    """The response's families and parts, each within the budget, and the sizing table."""
    keys = keys_of(take(45.0, 5.0).node[1].text)
    yield from ({"family": name, "series": count} for name, count in families(keys).most_common())
    for part, counted in parts(keys).items():
        most = max(counted.values(), default=0)
        yield {"part": part, "most": most, "budget": BUDGET[part], "in all": sum(counted.values()), "ok": most <= BUDGET[part]}
    yield from map(sizing, FLEETS)
