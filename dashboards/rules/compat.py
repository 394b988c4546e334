"""Recording rules that give the metrics of Wattlens 0.1 under their old names, so that dashboards of 0.1 still draw.

Two groups. `wattlens-compat-names` gives names that are gone, which disturbs nothing. `wattlens-compat-labels` gives series of
names that still exist, with the label that they had. Dashboards of this version that sum over such a name count them twice, so
leave that group out once no old dashboard is read. Agents of 0.1 have the old series themselves: no rule adds to theirs.
"""

from collections.abc import Iterator
from typing import Final

from dashboards.rules import rules
from dashboards.rules.model import BANDS, WINDOW, RecordingRule, RuleGroup
from energy_agent.core.catalogue.node import BY_NAME, metric

PATH: Final = "dashboards/prometheus/wattlens-compat-rules.yml"
INTERVAL: Final = "15s"
"""As often as the old dashboards expect a scrape: their rates go over four of these."""
NAMES: Final = {
    "gpu_idle_energy_joules_total": "gpu_unallocated_energy_joules_total",
    "host_energy_joules_total": "node_nongpu_energy_joules_total",
    "host_energy_gain_uncertainty_ratio": "node_nongpu_energy_gain_uncertainty_ratio",
    "host_energy_gap_bound_joules_total": "node_nongpu_energy_gap_bound_joules_total",
    "host_idle_energy_joules_total": "node_nongpu_unallocated_energy_joules_total",
    "host_unattributed_energy_joules_total": "node_nongpu_unattributed_energy_joules_total",
    "workload_host_energy_joules_total": "workload_nongpu_energy_joules_total",
    "steps_total": "training_steps_total",
    "ttft_seconds": "time_to_first_token_seconds",
    "itl_seconds": "inter_token_latency_seconds",
    "dvfs_saved_joules_total": "dvfs_saved_joules",
    "dvfs_extra_joules_total": "dvfs_extra_joules",
}
"""Name in 0.1 -> name now, with the same labels."""
LABELS: Final = (
    ("gpu_clock_hertz", "domain", "sm", "gpu_sm_clock_hertz"),
    ("gpu_clock_hertz", "domain", "memory", "gpu_memory_clock_hertz"),
    ("gpu_clock_max_hertz", "domain", "sm", "gpu_sm_clock_max_hertz"),
    ("dvfs_setting", "setting", "sm_clock_max_hertz", "dvfs_clock_limit_hertz"),
    ("dvfs_setting", "setting", "power_limit_watts", "dvfs_power_limit_watts"),
    ("dvfs_wanted_setting", "setting", "sm_clock_max_hertz", "dvfs_requested_clock_limit_hertz"),
    ("dvfs_wanted_setting", "setting", "power_limit_watts", "dvfs_requested_power_limit_watts"),
    ("gpu_power_watts", "kind", "average", "gpu_power_watts"),
    ("gpu_power_watts", "kind", "instant", "gpu_power_instant_watts"),
    ("gpu_power_limit_watts", "kind", "current", "gpu_power_limit_watts"),
    *(
        ("gpu_power_limit_watts", "kind", kind, f"gpu_power_limit_{kind}_watts")
        for kind in ("requested", "default", "min", "max")
    ),
    ("gpu_utilization_ratio", "engine", "gpu", "gpu_utilization_ratio"),
    *(("gpu_utilization_ratio", "engine", of, f"gpu_{of}_utilization_ratio") for of in ("memory", "encoder", "decoder")),
    ("gpu_temperature_celsius", "sensor", "gpu", "gpu_temperature_celsius"),
    ("gpu_temperature_celsius", "sensor", "memory", "gpu_memory_temperature_celsius"),
    *(
        (f"gpu_ecc_{where}errors_total", "counter", counter, f"gpu_ecc_{new}{where}errors_total")
        for where in ("", "location_")
        for counter, new in (("aggregate", ""), ("volatile", "volatile_"))
    ),
    ("gpu_ecc_enabled", "kind", "current", "gpu_ecc_enabled"),
    ("gpu_ecc_enabled", "kind", "pending", "gpu_ecc_pending_enabled"),
    ("gpu_mig_enabled", "kind", "current", "gpu_mig_enabled"),
    ("gpu_mig_enabled", "kind", "pending", "gpu_mig_pending_enabled"),
    ("gpu_pcie_link_generation", "kind", "current", "gpu_pcie_link_generation"),
    ("gpu_pcie_link_generation", "kind", "max", "gpu_pcie_link_max_generation"),
    ("gpu_pcie_link_lanes", "kind", "current", "gpu_pcie_link_lanes"),
    ("gpu_pcie_link_lanes", "kind", "max", "gpu_pcie_link_max_lanes"),
)
"""Name, label and its value in 0.1, and the name now.

Not gpu_nvlink_errors_total: dashboards of 0.1 sum it over `kind`, so series by kind next to the sum would count errors twice.
"""
COUNTERS: Final = (
    "uuid:wattlens_gpu_energy_joules",
    "uuid:wattlens_gpu_energy_gap_bound_joules",
    "uuid:wattlens_dvfs_ineffective",
    "uuid_workload:wattlens_workload_energy_joules",
    "instance_workload:wattlens_workload_gpu_seconds",
)
"""Recorded counters that ended in `:sum`."""


def groups() -> tuple[RuleGroup, ...]:
    """The two groups."""
    of_labels: dict[bool, list[RecordingRule]] = {False: [], True: []}
    for old, label, value, new in LABELS:
        of_labels[old in BY_NAME].append(RecordingRule(f"wattlens_{old}", _plain(new, label), {label: value}))
    return (
        RuleGroup("wattlens-compat-names", INTERVAL, (*_renamed(), *of_labels[False], *_recorded())),
        RuleGroup("wattlens-compat-labels", INTERVAL, (*of_labels[True], _gpus_as_sources())),
    )


def content() -> dict[str, object]:
    """The groups, as a rules file of Prometheus has them."""
    return rules.as_content(groups())


def _plain(new: str, label: str) -> str:
    """The series of now, without those that a rule of the same name records."""
    return f'{metric(new)}{{{label}=""}}'


def _renamed() -> Iterator[RecordingRule]:
    for old, new in NAMES.items():
        parts = ("_bucket", "_sum", "_count") if BY_NAME[new].kind == "histogram" else ("",)
        yield from (RecordingRule(f"wattlens_{old}{part}", f"{metric(new)}{part}") for part in parts)


def _gpus_as_sources() -> RecordingRule:
    """Each GPU was a source of its own."""
    named = f'label_replace({metric("gpu_up")}, "device", "$1", "uuid", "(.+)")'
    return RecordingRule("wattlens_source_up", f"sum without (gpu, uuid) ({named})", {"source": "nvml"})


def _recorded() -> Iterator[RecordingRule]:
    for level, operations in (("instance_group", ("max", "min")), ("instance_workload", ("max", "min"))):
        for operation in operations:
            yield RecordingRule(
                f"{level}:wattlens_gpu_clock_hertz:{operation}", f"{level}:wattlens_gpu_sm_clock_hertz:{operation}"
            )
    yield RecordingRule(
        "instance_workload:wattlens_gpu_clock_max_hertz:min", "instance_workload:wattlens_gpu_sm_clock_max_hertz:min"
    )
    yield RecordingRule(
        "instance_workload:wattlens_dvfs_setting:min",
        "instance_workload:wattlens_dvfs_clock_limit_hertz:min",
        {"setting": "sm_clock_max_hertz"},
    )
    for old, label, value, new in LABELS:
        if old.startswith("dvfs_"):
            yield RecordingRule(f"instance_group:wattlens_{old}:min", f"instance_group:{metric(new)}:min", {label: value})
    yield RecordingRule("instance_group:wattlens_dvfs_setting:state", "instance_group:wattlens_dvfs_limits:state")
    for level in ("instance_workload_phase", "run_phase"):
        yield RecordingRule(f"{level}:wattlens_steps:rate{WINDOW}", f"{level}:wattlens_training_steps:rate{WINDOW}")
    for family in ("ttft_seconds", "itl_seconds"):
        for operation in ("mean", "quantile"):
            old, new = (f"instance_workload_model:wattlens_{name}:{operation}_rate{WINDOW}" for name in (family, NAMES[family]))
            yield RecordingRule(old, new)
    for name in COUNTERS:
        yield RecordingRule(f"{name}:sum", f"{name}_total")
    for claim in ("saved", "extra"):
        yield RecordingRule(f"uuid:wattlens_dvfs_{claim}_joules:sum", f"uuid:wattlens_dvfs_{claim}_joules:last")
    ends = {band: f"_{old}" for band, old in zip([end for end in BANDS if end], ("low", "high"), strict=True)}
    for name in dict.fromkeys(rule.record for group in rules.groups() for rule in group.rules):
        what, _, operation = name.rpartition(":")
        for end, old in ends.items():
            if what.endswith(end) and "_dvfs_" not in what:  # those of steering had these words already
                yield RecordingRule(f"{what.removesuffix(end)}{old}:{operation}", name)
