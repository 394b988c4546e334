"""The budget: how many series a page may have, what the smaller profiles leave of it, and what a fleet of them needs.

Run from the repository's root: python -m benchmarks.fleet_budget

A page grows with its GPUs, its workloads and its inference engines, and with nothing else but the namespaces and owners that
the node has ever had. `sizing` multiplies what was measured at 8,000 GPUs: beyond that it is an extrapolation.
"""

import math
import re
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import yaml

from benchmarks.fleet_capture import GPUS, take
from benchmarks.fleet_template import Key, keys_of
from dashboards.rules.model import STEP_S
from energy_agent.config.metrics_page import Metrics
from energy_agent.core.catalogue.node import BY_NAME
from energy_agent.core.catalogue.selection import PREFIX, Selection

PAGE = Path(__file__).parents[1] / "docs/fleet.md"
Part = Literal["node", "gpu", "steered", "workload", "engine"]

BUDGET: dict[Part, int] = {"node": 80, "gpu": 90, "steered": 40, "workload": 24, "engine": 120}
"""Series of a page: once, for each GPU, for each GPU that DVFS has, for each workload that holds GPUs, for each engine."""
OF_ENGINES = ("ttft_", "itl_", "serving_", "prefill_", "decode_", "requests_", "engine_steps_")
_SCRAPE_ADDS = 5  # up, and four series of scrape_*
SECONDS_A_MONTH = 30 * 86_400
SERIES_A_PROMETHEUS = 2_500_000
"""As many as one Prometheus should have, so that it restarts within minutes and rules have time to spare."""


@dataclass(frozen=True, slots=True)
class Measured:
    """What `fleet_scale` measured, for each node, series or sample.

    Args:
        page: series of a node's page.
        recorded: series that the rules record, for each node.
        head_b: memory of Prometheus for each series of its head, queries and rules included.
        store_b: memory of VictoriaMetrics for each active series.
        block_b: disk of Prometheus for each sample, in blocks.
        row_b: disk of VictoriaMetrics for each sample.
    """

    page: int
    recorded: int
    head_b: float
    store_b: float
    block_b: float
    row_b: float


MEASURED = Measured(page=981, recorded=533, head_b=8_320, store_b=1_265, block_b=3.05, row_b=2.93)
"""At 8,000 GPUs, an hour of history; memory is the most that was resident, after every query of every dashboard."""


@dataclass(frozen=True, slots=True)
class Size:
    """What a fleet needs."""

    gpus: int
    series: int
    samples_per_s: float
    prometheuses: int
    memory_b: float
    disk_15d_b: float
    store_memory_b: float
    store_month_b: float


def sizing(gpus: int, measured: Measured = MEASURED, scrape_s: float = 30.0) -> Size:
    """Of a fleet of 8-GPU nodes; memory and disk are sums over all Prometheus servers, for one of each pair."""
    nodes = math.ceil(gpus / GPUS)
    series = nodes * (measured.page + _SCRAPE_ADDS + measured.recorded)
    rate = nodes * ((measured.page + _SCRAPE_ADDS) / scrape_s + measured.recorded / STEP_S)
    return Size(
        gpus,
        series,
        rate,
        prometheuses=max(1, math.ceil(series / SERIES_A_PROMETHEUS)),
        memory_b=series * measured.head_b,
        disk_15d_b=rate * 15 * 86_400 * measured.block_b,
        store_memory_b=series * measured.store_b,
        store_month_b=rate * SECONDS_A_MONTH * measured.row_b,
    )


def table(fleets: Sequence[int] = (8, 80, 800, 8_000, 24_000, 100_000)) -> str:
    """The sizing table of docs/fleet.md."""
    head = (
        "| GPUs | nodes | series | samples/s | Prometheus servers | their memory | 15 days of theirs "
        "| VictoriaMetrics memory | a month of its |"
    )
    lines = [head, "| --- " * 9 + "|"]
    for gpus in fleets:
        s = sizing(gpus)
        cells = (
            f"{gpus:,}", f"{math.ceil(gpus / GPUS):,}", _short(s.series), _short(s.samples_per_s), str(s.prometheuses),
            _bytes(s.memory_b), _bytes(s.disk_15d_b), _bytes(s.store_memory_b), _bytes(s.store_month_b),
        )  # fmt: skip
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def parts(keys: Sequence[Key]) -> dict[Part, dict[str, int]]:
    """Series of a page by what they grow with and of which one."""
    found: dict[Part, Counter[str]] = {part: Counter() for part in BUDGET}
    for name, labels in keys:
        of = dict(labels)
        source = of.get("source", "")
        if name.startswith(tuple(PREFIX + stem for stem in OF_ENGINES)):
            found["engine"][of["workload"]] += 1
        elif source.startswith(("dvfs:", "tokens:")):
            found["workload"][source.partition(":")[2]] += 1
        elif "uuid" in of and "_workload_" not in name:
            found["steered" if name.startswith(f"{PREFIX}dvfs_") else "gpu"][of["uuid"]] += 1
        elif "workload" in of:
            found["workload"][of["workload"]] += 1
        elif of.get("device", "").startswith("GPU-"):
            found["gpu"][of["device"]] += 1
        else:
            found["node"]["page"] += 1
    return {part: dict(counted) for part, counted in found.items()}


def allowed(gpus: int, workloads: int = 0, engines: int = 0, steered: int = 0) -> int:
    """The most series that a page of so many may have."""
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
    found = {}
    for block in re.findall(r"```yaml\n(.*?)```", PAGE.read_text() if text is None else text, re.DOTALL):
        named = re.match(r"# profile: (\w+)", block)
        if named:
            found[named[1]] = yaml.safe_load(block)["web"]["metrics"]
    return found


def selection(metrics: Mapping[str, Any]) -> Selection:
    """What a profile shows."""
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


def main() -> int:
    """Print the page's families and parts, and the sizing table; 1 where the page is beyond the budget."""
    keys = keys_of(take(45.0, 5.0).node[1].text)
    for name, count in families(keys).most_common():
        print(f"{count:5} {name}")
    beyond = False
    for part, counted in parts(keys).items():
        beyond = beyond or max(counted.values(), default=0) > BUDGET[part]
        print(f"{part}: {max(counted.values(), default=0)} at most of {BUDGET[part]}, in all {sum(counted.values())}")
    print(table())
    return 1 if beyond else 0


if __name__ == "__main__":
    sys.exit(main())
