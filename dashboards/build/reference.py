"""The reference of metrics, docs/metrics.md, from the catalogue."""

from energy_agent.core.catalogue.metric import Signal
from energy_agent.core.catalogue.node import CATALOGUE

_HEAD = """# Metrics

Built by `wattlens dashboards build` from the metric catalogue (`energy_agent/core/catalogue/node.py`); do not edit.

Every name starts with `wattlens_` and keeps its meaning once released. Units are base units; ratios run from 0 to 1. Series
of a GPU carry `gpu`, the driver's index, and `uuid`; join facts over `uuid` or `workload`, for example

    wattlens_gpu_power_watts * on (instance, uuid) group_left (name) wattlens_gpu_info

A value that is not known has no series: it is never 0, NaN or the last value, and `wattlens_gpu_absent_info` or
`wattlens_source_down_info` has the reason. Samples carry no time stamps of their own.
"""
_GROUPS = (
    ("GPUs", ("gpu_",)),
    ("Workloads", ("workload_", "namespace_", "owner_", "tokens_", "training_", "time_", "inter_", "requests_", "engine_")),
    ("Serving", ("serving_", "prefill_", "decode_")),
    ("DVFS", ("dvfs_",)),
    (
        "Node, sources, ledger and agent",
        ("build_", "node_", "energy_", "source_", "ledger_", "config_", "reader_", "process_"),
    ),
    ("Site", ("facility_", "pue_", "grid_")),
)


def to_markdown() -> str:
    """The page."""
    parts = [_HEAD]
    for title, prefixes in _GROUPS:
        rows = sorted((s for s in CATALOGUE if s.name.startswith(prefixes)), key=lambda s: s.reserved)
        parts.append(f"\n## {title}\n\n| name | kind | labels | meaning | behaviour |\n| --- | --- | --- | --- | --- |\n")
        parts.extend(f"{_row(signal)}\n" for signal in rows)
    return "".join(parts)


def _row(signal: Signal) -> str:
    labels = ", ".join(f"`{label}`" for label in signal.labels)
    return f"| `{signal.metric}` | {signal.kind} | {labels} | {signal.help} | {signal.behaviour} |"
