"""Every dashboard: its title, what is chosen at its head, and the folder of its rows."""

import warnings
from collections.abc import Iterator
from operator import itemgetter
from types import ModuleType
from typing import Any, Final

from dashboards.boards import dvfs, facility, fleet, gpu, inference, stack, training
from dashboards.panels import BLUE, Choice, choice, fixed_choice, marks, to_json, written_marks
from dashboards.promql.latency import LIMITS, edges
from dashboards.promql.selectors import of_node, recorded, series
from dashboards.rules.serving import ITL, PERCENTILES, TTFT
from dashboards.rules.steering import DECISIONS
from energy_agent.core import plugin
from energy_agent.core.catalogue.node import metric

_CLUSTER: Final = 'cluster=~"$cluster"'
_MARKS: Final = 5
_PRICES: Final = tuple(f"{price:.2f}" for price in (0.20, 0.05, 0.08, 0.10, 0.12, 0.15, 0.25, 0.30, 0.40, 1.00))


def build_dashboards() -> dict[str, str]:
    """Uid -> JSON."""
    with warnings.catch_warnings():
        # The SDK calls its classic models deprecated; Grafana still loads nothing else from files over all its versions.
        warnings.simplefilter("ignore", DeprecationWarning)
        return {
            uid: to_json(uid, f"Wattlens / {title}", description, choices, _rows(folder), annotations)
            for uid, title, description, folder, choices, *annotations in _dashboards()
        }


def _rows(folder: ModuleType) -> list[Any]:
    """The rows of a dashboard in their order: each file in its folder defines some as `SPEC`, place -> function.

    Places are tens, which leaves room between them.
    """
    places = [each for spec in plugin.discover(folder).values() for each in spec.items()]
    return [build() for _, build in sorted(places, key=itemgetter(0))]


def _dashboards() -> Iterator[tuple[Any, ...]]:
    yield (
        "wattlens-fleet",
        "Fleet",
        "Power, cost, emissions, waste and savings of the fleet, and its largest consumers; every figure with its error.",
        fleet,
        (
            *_nodes("build_info", "site", "Site"),
            fixed_choice("price", "Price per kWh", dict(zip(_PRICES, _PRICES, strict=True))),
        ),
        written_marks("Reports", "wattlens", "report"),
    )
    yield (
        "wattlens-gpu",
        "Node and GPUs",
        "A node and its GPUs: every joule counted once, every number with its error.",
        gpu,
        (*_nodes("gpu_up", one=True), *_gpus()),  # a site process is no node
    )
    generated = 'phase="generation"'
    percentiles = {f"{100 * float(each):g}th": each for each in sorted(PERCENTILES, key=lambda each: each != "0.95")}
    yield (
        "wattlens-inference",
        "Inference",
        "Cost and speed of serving a model: joules per token by boundary with bounds, prefill and decode, time to first token "
        "and inter-token latency against the limits selected above, batch size, clocks.",
        inference,
        (
            *_nodes("tokens_total"),
            choice("workload", "Workload", of_node("tokens_total", generated)),
            choice("model", "Model", series("tokens_total", generated, scope="workload")),
            fixed_choice("percentile", "Percentile", percentiles),
            # Where no histogram has the default, Grafana chooses the smallest edge.
            *(
                choice(LIMITS[family], f"{name} limit (s)", edges(family), of="le", first=first)
                for family, name, first in ((TTFT, "TTFT", "0.5"), (ITL, "ITL", "0.05"))
            ),
        ),
    )
    yield (
        "wattlens-training",
        "Training",
        "Cost of a training run over all its nodes: joules per step and token with bounds, phases, number of GPUs, and "
        "slowdown by steering. A run is the group that its workloads name, or one workload.",
        training,
        (
            *_nodes("training_steps_total"),
            choice("workload", "Workload", of_node("training_steps_total")),
        ),
    )
    changes = recorded(DECISIONS, 'action!="hold"', scope="node")
    # Starts only: reasons that recur every round would shade the whole graph.
    now, before = (f"max_over_time({changes}[$__rate_interval]{offset})" for offset in ("", " offset $__rate_interval"))
    yield (
        "wattlens-dvfs",
        "DVFS",
        "Steering of clocks and power limits by group: modes, requested, applied and actual settings, reasons for changes, "
        "savings and their cost.",
        dvfs,
        (*_nodes("dvfs_lease_active"), *_gpus(), choice("group", "Group", series("dvfs_group_info"))),
        marks(
            "Changes by steering",
            f"topk({_MARKS}, {now} > 0 unless {before} > 0)",
            "{{policy}}: {{action}}",
            "{{reason}}, on {{instance}}",
        ),
        written_marks("Written by wattlens dashboards annotate", "wattlens", "dvfs", colour=BLUE),
    )
    pue = f'{{__name__=~"{metric("pue_ratio")}|{metric("pue_absent_info")}"'
    intensity = metric("grid_carbon_intensity_grams_per_kilowatt_hour")
    yield (
        "wattlens-facility",
        "Facility and carbon",
        "PUE with its error, measured or stated; the meter tree, the energy breakdown, the grid and carbon. For water and "
        "contracts see `wattlens pue` and the report.",
        facility,
        (
            choice("cluster", "Cluster", f"{pue}}}"),
            choice("site", "Site", f"{pue},{_CLUSTER}}}", one=True),
            choice("zone", "Grid zone", f"{intensity}{{{_CLUSTER}}}"),
        ),
    )
    yield (
        "wattlens-stack",
        "Stack health",
        "Data quality and overhead: measured and missing data, reasons, and the cost of Wattlens itself.",
        stack,
        _nodes("build_info"),
    )


def _nodes(signal: str, third: str = "instance", label: str = "Node", *, one: bool = False) -> tuple[Choice, ...]:
    """cluster, job and instance, each narrowed by those before it, of the nodes that have the signal."""
    anchor = metric(signal)
    return (
        choice("cluster", "Cluster", anchor),
        choice("job", "Job", f"{anchor}{{{_CLUSTER}}}"),
        choice(third, label, series(signal, scope="job"), one=one),
    )


def _gpus() -> tuple[Choice, ...]:
    """Gpu and workload, narrowed by the choices of nodes."""
    return (
        choice("gpu", "GPU", of_node("gpu_up")),
        choice("workload", "Workload", of_node("workload_energy_joules_total")),
    )
