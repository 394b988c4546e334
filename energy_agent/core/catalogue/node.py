"""The metric catalogue: name, type, unit, labels and help of every metric that the agent exports.

Documentation, dashboards and rules take names only from here. A released name does not change. Units are base units, counters
end in `_total`, descriptions in `_info`. GPU series have the labels `gpu` (the driver's index) and `uuid`. Cluster, node, model
and pod are joined from the `_info` families, so that frequently updated series have few labels.
"""

from collections.abc import Callable
from typing import Any, Literal

from energy_agent.core.catalogue.metric import Kind, Signal, SnapshotField
from energy_agent.core.catalogue.site import SITE
from energy_agent.core.units import hertz, milli, percent, real

GPU = ("gpu", "uuid")
WORKLOAD = ("workload",)
POD = ("namespace", "pod")
"""Of a workload that is a pod, in its energy itself, so that it sums by them without a join (docs/decisions/0018)."""
FACTS = ("kind", "namespace", "pod", "owner", "team", "project", "model", "precision", "group", "class", "run")
"""Labels of `workload_info` in addition to `workload`: `kind`, the workload's metadata, and last the identity of its job."""

ENGINE = ("engine", "model", "hour")
SLO = ("group", *WORKLOAD, "latency")
SHADOW = ("group", *WORKLOAD, "policy")

_SLO = "Appears with the limit and its first reading; counts since the limit was set or the agent started."
_BUDGET = (
    "Absent without requests, without metrics of the inference server, or where the histogram's edges leave open whether the "
    "budget is overspent; dvfs_slo_budget_absent_info has the reason."
)
_SHADOW = "Present in mode shadow; since the group entered it. If unknown, dvfs_shadow_absent_info has the reason."
_READING = (
    "Last reading. Absent while the GPU does not respond or does not support the reading (gpu_absent_info has the reason)."
)
_LEDGER = (
    "From the journal: starts at 0, survives restarts, never falls. Absent while the GPU does not respond; then "
    "resumes at a higher value."
)
_ENERGY = _LEDGER + " Absent if the GPU has no energy counter and reports no power."
_FACT = "Always 1; the labels have the information."
_ALWAYS = "Always present."
_HEALTH = "Read once per sampling.health_period_s; absent when older than two periods, and while the GPU does not respond."
_SINCE_LOAD = "Counts since the driver was loaded. " + _HEALTH
_OPTIONAL = "Only if enabled in the configuration. " + _HEALTH
_SERVING = (
    "Counts since the agent started, for inference servers that count with every engine step and report running requests."
)
_ESTIMATE = "Absent without a count of steps, or while the load varies too little; serving_split_absent_info has the reason."
_PRICE = (
    "Appears with the engine's first energy and tokens; counts since the agent started. A price is absent while the engine has "
    "had no such tokens in the hour."
)
_REQUEST = (
    "As the prices. Absent if the server has no histograms of tokens per request; request_energy_absent_info has the reason."
)
_PROVEN = (
    "Absent before the first analysis of enough pairs. Sum over all groups and quarters of this GPU, kept over restarts; "
    "each analysis replaces the part of its group and quarter, so the value may fall."
)
_SERVED = (
    "If the inference server reports it. Starts at 0 at the first reading, survives restarts; disappears with tokens_total."
)
_SERVED_NOW = "Last reading, if the inference server reports it. Absent while the server does not respond."
_METER = (
    "From the journal: starts at 0 at the meter's first reading. Absent while the meter does not respond; then resumes "
    "at a higher value."
)
_METER_READING = "Last reading. Absent while the meter does not respond."
_HOST = (
    "From the journal: appears with the first recorded interval, two readings of the meter after its start, and never falls."
)
_JOURNAL = "Always present; counts since the agent started."


def _reading(
    name: str,
    unit: str,
    text: str,
    field: str,
    write: Callable[[Any], str] = str,
    *,
    of: Literal["reading", "fact"] = "reading",
    behaviour: str = _READING,
) -> Signal:
    """What the driver reports of a GPU: every second a field of `DeviceSample`, once a fact of `DeviceInfo`."""
    return Signal(name, "gauge", unit, text, GPU, behaviour, value=SnapshotField(of, field, write))


def _health(
    name: str,
    kind: Kind,
    unit: str,
    text: str,
    quantity: str,
    write: Callable[[Any], str] = str,
    *,
    labels: tuple[str, ...] = GPU,
    behaviour: str = _HEALTH,
) -> Signal:
    """What is read seldom of a GPU: a quantity of its health."""
    return Signal(name, kind, unit, text, labels, behaviour, value=SnapshotField("health", quantity, write))


CATALOGUE: tuple[Signal, ...] = (
    # The agent
    Signal("build_info", "info", "", "Version of the running agent.", ("version",), _FACT),
    Signal("node_info", "info", "", "Identity of the node; simulated: whether its hardware is simulated.",
           ("cluster", "node", "simulated"), _FACT),
    # GPU: facts and presence
    Signal("gpu_info", "info", "", "Properties of a GPU; simulated: whether the GPU is simulated.",
           (*GPU, "name", "architecture", "pci_bus_id", "driver", "mig", "simulated"),
           "Always 1; present also while the GPU does not respond."),
    Signal("gpu_up", "gauge", "", "1 if the GPU responded to the last poll, else 0.", GPU,
           "Always present. An unresponsive GPU has only this series, gpu_info and gpu_absent_info."),
    Signal("gpu_absent_info", "info", "", "Why a reading of this GPU is absent; field device: all readings are absent.",
           (*GPU, "field", "reason"), "Present only while the reading is absent."),
    # GPU: energy
    Signal("gpu_counter_scope_info", "info", "",
           "What the GPU's energy counter includes: gpu, module (with processor and memory), or unknown.",
           (*GPU, "scope", "basis"),
           "Always 1; basis: stated (sources.nvml.counter_scope), measured (against instant power of each scope), or stated, "
           "measured otherwise. Present only while the GPU has an energy counter."),
    Signal("gpu_energy_joules_total", "counter", "joules", "Energy of the GPU, by measurement method.", (*GPU, "method"),
           _ENERGY + " Methods are disjoint: counter, bridged, integrated; their sum is the energy of the GPU. A method is "
           "present if the GPU has its sensor."),
    Signal("gpu_energy_gain_uncertainty_ratio", "gauge", "ratio",
           "Bound of the systematic error of the energy, as a ratio; constant over time, so it does not average out.", GPU,
           _READING),
    Signal("gpu_energy_edge_uncertainty_joules", "gauge", "joules",
           "Bound of the energy's error at each of the two edges of a window.", GPU,
           _READING + " Appears with the first interval after the agent's start."),
    Signal("gpu_energy_gap_bound_joules_total", "counter", "joules",
           "Upper bound of energy that no sensor saw; not part of the energy counters.", GPU,
           _LEDGER + " Absent if nothing bounds that energy: a GPU without sensor whose power limit is unknown."),
    Signal("gpu_unallocated_energy_joules_total", "counter", "joules",
           "Energy of the GPU while it was not allocated to a workload.", GPU, _ENERGY),
    Signal("gpu_unattributed_energy_joules_total", "counter", "joules", "Energy whose workload is unknown, by reason.",
           (*GPU, "reason"), _ENERGY + " Reasons: unknown_holder, gap, starting."),
    Signal("gpu_sharing_info", "info", "",
           "Policy that divides the energy of the GPU among its workloads: exclusive, sm_time, equal, mig_slice or "
           "mig_activity (docs/attribution.md).", (*GPU, "policy"),
           "Present while the GPU responds and has a known workload."),
    # GPU: readings
    _reading("gpu_power_watts", "watts", "Power draw, averaged over the last second.", "power_average_mw", milli,
             behaviour=_READING + " GPUs before Ampere and GA100 GPUs (A100 class) have no average: "
             "use gpu_power_instant_watts."),
    _reading("gpu_power_instant_watts", "watts", "Power draw at the instant of the reading.", "power_mw", milli),
    _reading("gpu_power_limit_watts", "watts", "Applied power limit.", "power_limit_mw", milli),
    _reading("gpu_power_limit_requested_watts", "watts", "Power limit that was last requested.", "power_limit_requested_mw",
             milli),
    _reading("gpu_power_limit_default_watts", "watts", "Factory default of the power limit.", "power_limit_default_mw",
             milli, of="fact"),
    _reading("gpu_power_limit_min_watts", "watts", "Lowest power limit that can be set.", "power_limit_min_mw",
             milli, of="fact"),
    _reading("gpu_power_limit_max_watts", "watts", "Highest power limit that can be set.", "power_limit_max_mw",
             milli, of="fact"),
    _reading("gpu_sm_clock_hertz", "hertz", "Clock of the streaming multiprocessors.", "sm_clock_mhz", hertz),
    _reading("gpu_memory_clock_hertz", "hertz", "Clock of the device memory.", "memory_clock_mhz", hertz),
    _reading("gpu_sm_clock_max_hertz", "hertz", "Maximum clock that the streaming multiprocessors support.", "sm_clock_max_mhz",
             hertz, of="fact"),
    Signal("gpu_clock_event_seconds_total", "counter", "seconds",
           "Time for which the driver reported this reason for lower clocks; sampled reasons count whole sampling intervals.",
           (*GPU, "reason"), _LEDGER),
    _reading("gpu_utilization_ratio", "ratio",
             "Share of the driver's last sampling period in which a kernel ran, on any number of SMs.", "gpu_percent",
             percent),
    _reading("gpu_memory_utilization_ratio", "ratio",
             "Share of the driver's last sampling period in which memory was read or written; not the used share of the "
             "memory.", "memory_percent", percent),
    _health("gpu_encoder_utilization_ratio", "gauge", "ratio",
            "Share of the driver's last sampling period in which the video encoder ran.", "encoder_percent", percent),
    _health("gpu_decoder_utilization_ratio", "gauge", "ratio",
            "Share of the driver's last sampling period in which the video decoder ran.", "decoder_percent", percent),
    _reading("gpu_temperature_celsius", "celsius", "Temperature of the GPU.", "temperature_c"),
    _reading("gpu_memory_temperature_celsius", "celsius", "Temperature of the device memory.", "memory_temperature_c"),
    _reading("gpu_memory_used_bytes", "bytes", "Device memory in use.", "memory_used_b"),
    _reading("gpu_memory_total_bytes", "bytes", "Size of the device memory.", "memory_total_b"),
    # GPU: health
    Signal("gpu_xid_errors_total", "counter", "", "XID errors that the driver reported.", (*GPU, "xid"),
           "Appears with the first error of a code; survives restarts of the agent; absent while the GPU does not respond."),
    _health("gpu_ecc_errors_total", "counter", "",
            "ECC errors over the lifetime of the GPU, corrected or uncorrected (NVML's aggregate counter).", "ecc_errors",
            labels=(*GPU, "severity")),
    _health("gpu_ecc_volatile_errors_total", "counter", "",
            "ECC errors since the driver was loaded, corrected or uncorrected (NVML's volatile counter).",
            "ecc_volatile_errors", labels=(*GPU, "severity")),
    _health("gpu_ecc_location_errors_total", "counter", "",
            "ECC errors over the lifetime of the GPU, by location: dram, sram, l2_cache, ...", "ecc_location_errors",
            labels=(*GPU, "severity", "location"), behaviour="Locations differ between GPUs. " + _HEALTH),
    _health("gpu_ecc_volatile_location_errors_total", "counter", "", "ECC errors since the driver was loaded, by location.",
            "ecc_volatile_location_errors", labels=(*GPU, "severity", "location"),
            behaviour="Locations differ between GPUs. " + _HEALTH),
    _health("gpu_ecc_enabled", "gauge", "", "1 if ECC is on, else 0.", "ecc_enabled"),
    _health("gpu_ecc_pending_enabled", "gauge", "", "1 if ECC is on after the next reset, else 0.", "ecc_pending_enabled"),
    _health("gpu_remapped_rows_total", "counter", "", "Memory rows remapped over the lifetime of the GPU, by kind of error.",
            "remapped_rows", labels=(*GPU, "cause"), behaviour="Ampere and later. " + _HEALTH),
    _health("gpu_row_remap_pending", "gauge", "", "1 if a row will be remapped at the next reset, else 0.",
            "row_remap_pending", behaviour="Ampere and later. " + _HEALTH),
    _health("gpu_row_remap_failed", "gauge", "", "1 if a row could not be remapped: replace the GPU; else 0.",
            "row_remap_failed", behaviour="Ampere and later. " + _HEALTH),
    _health("gpu_retired_pages_total", "counter", "", "Memory pages retired over the lifetime of the GPU, by cause.",
            "retired_pages", labels=(*GPU, "cause"), behaviour="Before Ampere. " + _HEALTH),
    _health("gpu_page_retirement_pending", "gauge", "", "1 if a page will be retired at the next reset, else 0.",
            "page_retirement_pending", behaviour="Before Ampere. " + _HEALTH),
    _health("gpu_recovery_action", "gauge", "",
            "Recovery action that the driver requests: always 1, with the current action as a label; it may be none.",
            "recovery_action", labels=(*GPU, "action"), behaviour="One series, for the current action. " + _HEALTH),
    _health("gpu_persistence_enabled", "gauge", "",
            "1 if persistence mode is on; 0 if the driver is initialised again for each client.", "persistence_enabled"),
    _health("gpu_fan_speed_ratio", "gauge", "ratio", "Intended speed of a fan.", "fan_percent", percent, labels=(*GPU, "fan"),
            behaviour="GPUs with fans. " + _HEALTH),
    _health("gpu_memory_reserved_bytes", "gauge", "bytes",
            "Device memory reserved by driver and firmware; part of gpu_memory_used_bytes.", "memory_reserved_b"),
    _health("gpu_bar1_used_bytes", "gauge", "bytes", "BAR1 memory in use: device memory mapped for the host and peers.",
            "bar1_used_b"),
    _health("gpu_bar1_total_bytes", "gauge", "bytes", "Size of the BAR1 memory.", "bar1_total_b"),
    # GPU: links
    _health("gpu_pcie_replays_total", "counter", "", "PCIe replays: packets sent again.", "pcie_replays",
            behaviour=_SINCE_LOAD),
    _health("gpu_pcie_errors_total", "counter", "", "PCIe errors, by kind.", "pcie_errors", labels=(*GPU, "kind"),
            behaviour="Hopper and later. " + _SINCE_LOAD),
    _health("gpu_pcie_link_generation", "gauge", "", "Current generation of the PCIe link; lower while the GPU is idle.",
            "pcie_link_generation"),
    _health("gpu_pcie_link_max_generation", "gauge", "", "Highest PCIe generation that GPU and slot support.",
            "pcie_link_max_generation"),
    _health("gpu_pcie_link_lanes", "gauge", "", "Lanes that the PCIe link uses.", "pcie_link_lanes"),
    _health("gpu_pcie_link_max_lanes", "gauge", "", "Highest number of lanes that GPU and slot support.",
            "pcie_link_max_lanes"),
    _health("gpu_pcie_bytes_total", "counter", "bytes", "Bytes over PCIe, transmitted or received by the GPU.", "pcie_b",
            labels=(*GPU, "direction"), behaviour="Hopper and later; the driver's counter may wrap. " + _SINCE_LOAD),
    _health("gpu_c2c_links", "gauge", "", "Links between the GPU and the processor of its module (NVLink-C2C).", "c2c_links",
            behaviour="Modules with a Grace processor. " + _HEALTH),
    _health("gpu_nvlink_links", "gauge", "", "NVLinks up or down; unused links count as down.", "nvlink_links",
            labels=(*GPU, "state")),
    _health("gpu_nvlink_down_info", "info", "", "An NVLink that is down or unused.", "nvlink_down", labels=(*GPU, "link"),
            behaviour="Present only while it is down. " + _HEALTH),
    _health("gpu_nvlink_errors_total", "counter", "",
            "NVLink errors of all links and kinds, except bit errors that the link corrects (symbol, effective).",
            "nvlink_errors", behaviour=_SINCE_LOAD),
    _health("gpu_nvlink_kind_errors_total", "counter", "",
            "NVLink errors over all links, by kind; kinds differ by generation.", "nvlink_kind_errors", labels=(*GPU, "kind"),
            behaviour=_SINCE_LOAD),
    _health("gpu_nvlink_bytes_total", "counter", "bytes", "Bytes over all NVLinks, transmitted or received.", "nvlink_b",
            labels=(*GPU, "direction"), behaviour=_SINCE_LOAD),
    # GPU: MIG
    _health("gpu_mig_enabled", "gauge", "", "1 if MIG mode is on, else 0.", "mig_enabled"),
    _health("gpu_mig_pending_enabled", "gauge", "", "1 if MIG mode is on after the next reset, else 0.",
            "mig_pending_enabled"),
    _health("gpu_mig_info", "info", "", "A MIG device of the GPU.", "mig_device",
            labels=(*GPU, "mig_uuid", "profile", "gpu_instance", "compute_instance"),
            behaviour="Present while the MIG device exists. " + _HEALTH),
    # GPU: profiling (GPM)
    _health("gpu_activity_ratio", "gauge", "ratio",
            "Activity of a part of the GPU (sm, sm_occupancy, tensor, dram, fp64, ...) as a share of its peak, over the "
            "last health period.", "activity", real, labels=(*GPU, "part"),
            behaviour="Hopper and later, sources.nvml.gpm. " + _OPTIONAL),
    _health("gpu_traffic_bytes_per_second", "gauge", "bytes_per_second",
            "Traffic over a bus (pcie, nvlink). Method gpm: mean of the last health period; sampled: over 20 ms.", "traffic",
            real, labels=(*GPU, "bus", "direction", "method"),
            behaviour="sources.nvml.gpm or sources.nvml.pcie_throughput. " + _OPTIONAL),
    # Node
    Signal("energy_boundary_info", "info", "", "Boundary of the ledger's energy: gpu, gpu+cpu or node.", ("boundary",), _FACT),
    Signal("node_energy_joules_total", "counter", "joules",
           "Energy by a meter of the node. Its domain is the whole node, a module, a socket of Grace, a processor package or "
           "memory. Domains overlap, so do not add them.", ("source", "domain"), _METER),
    Signal("node_power_watts", "gauge", "watts",
           "Power by a meter of the node; for an energy counter, the mean since its previous reading.",
           ("source", "domain"), _METER_READING),
    Signal("node_nongpu_energy_joules_total", "counter", "joules",
           "Energy of the node without its GPUs. Domain host: all of it. Without a whole-node meter: package-N and "
           "dram-N, which are parts of it.", ("domain", "method"), _HOST),
    Signal("node_nongpu_energy_gain_uncertainty_ratio", "gauge", "ratio",
           "Bound of the systematic error of node_nongpu_energy_joules_total, as a ratio of its meter's reading.", ("domain",),
           "Absent until the meter has responded."),
    Signal("node_nongpu_unallocated_energy_joules_total", "counter", "joules",
           "Part of node_nongpu_energy_joules_total for unallocated GPUs.", ("domain",), _HOST),
    Signal("node_nongpu_unattributed_energy_joules_total", "counter", "joules",
           "Part of node_nongpu_energy_joules_total whose workload is unknown, by reason.",
           ("domain", "reason"), _HOST + " Reasons: unknown_holder, gap, starting."),
    Signal("node_nongpu_energy_gap_bound_joules_total", "counter", "joules",
           "Upper bound of energy that no meter saw, if a bound is known; not part of the energy counters.", ("domain",),
           _HOST),
    # Workloads
    Signal("workload_info", "info", "", "Labels of a workload.", (*WORKLOAD, *FACTS),
           "Always 1; stays holders.retention_s (15 minutes) after its end."),
    Signal("workload_energy_joules_total", "counter", "joules",
           "Energy of a workload on a GPU: active while a kernel ran, idle while the GPU was only allocated to it.",
           (*WORKLOAD, *POD, "uuid", "state", "method"),
           "From the journal; appears at 0 when the workload is first seen, stays holders.retention_s (15 minutes) after "
           "its end; absent while the GPU does not respond, then resumes at a higher value; absent without a sensor."),
    Signal("workload_gpu_seconds_total", "counter", "seconds", "GPU time allocated to a workload, over all its GPUs.",
           (*WORKLOAD, *POD, "state"),
           "As workload_energy_joules_total, but present also while one of its GPUs does not respond or has no sensor."),
    Signal("workload_nongpu_energy_joules_total", "counter", "joules",
           "A workload's share of the node's energy without GPUs, by allocated GPU time; never part of "
           "workload_energy_joules_total.",
           (*WORKLOAD, *POD, "domain", "state"), "As workload_energy_joules_total; present while the node has a meter."),
    Signal("namespace_energy_joules_total", "counter", "joules",
           "Energy of all workloads of a namespace, including ended ones.",
           ("namespace",),
           "From the journal; appears with the first workload on a GPU that has a sensor, stays when a workload ends, so "
           "short workloads count too. After the first 1000 namespaces, "
           'further ones are counted together in namespace="(other)".'),
    Signal("owner_energy_joules_total", "counter", "joules",
           "Energy of all workloads of an owner (the job, service or cluster that created a pod), including ended ones.",
           ("namespace", "owner"),
           "From the journal; appears with the first workload on a GPU that has a sensor, stays when a workload ends. "
           "With more than 1000 owners, those of the namespace or Slurm "
           'user with the most owners are merged into owner="(other)" of their namespace, which rises by their energy at '
           "once."),
    Signal("tokens_total", "counter", "",
           "Tokens that a workload processed: prompt (computed), cached (reused), generation or training.",
           (*WORKLOAD, "model", "phase"), "Starts at 0 when first seen; stays holders.retention_s (15 minutes) after its end."),
    Signal("training_steps_total", "counter", "",
           "Steps of a training workload, by phase: training, evaluation, ...; a step of all its ranks counts once.",
           (*WORKLOAD, "phase"), "Starts at 0 when first seen; stays holders.retention_s (15 minutes) after its end."),
    Signal("requests_total", "counter", "", "Requests that the workload's inference servers finished.", (*WORKLOAD, "model"),
           _SERVED, value=SnapshotField("server", "requests")),
    Signal("requests_aborted_total", "counter", "",
           "Requests that the workload's inference servers ended before they were finished.", (*WORKLOAD, "model"), _SERVED,
           value=SnapshotField("server", "aborted")),
    Signal("requests_running", "gauge", "", "Requests that run on the workload's inference servers.", (*WORKLOAD, "model"),
           _SERVED_NOW),
    Signal("requests_waiting", "gauge", "", "Requests that wait in the queues of the workload's inference servers.",
           (*WORKLOAD, "model"), _SERVED_NOW),
    Signal("engine_steps_total", "counter", "", "Steps of the workload's engines; each step processes one batch.",
           (*WORKLOAD, "model"), _SERVED, value=SnapshotField("server", "steps")),
    Signal("draft_tokens_total", "counter", "", "Draft tokens of speculative decoding.", (*WORKLOAD, "model"), _SERVED,
           value=SnapshotField("server", "drafts")),
    Signal("accepted_draft_tokens_total", "counter", "", "Draft tokens that the model accepted, as generated tokens.",
           (*WORKLOAD, "model"), _SERVED, value=SnapshotField("server", "accepted")),
    Signal("time_to_first_token_seconds", "histogram", "seconds",
           "Time to first token in seconds, with the same definition for every inference server and the buckets that all "
           "its engines have.",
           (*WORKLOAD, "model"), _SERVED),
    Signal("inter_token_latency_seconds", "histogram", "seconds",
           "Inter-token latency in seconds, with the same definition for every inference server and the buckets that all "
           "its engines have.",
           (*WORKLOAD, "model"), _SERVED),
    # Serving: live, of workloads that serve one model
    Signal("serving_energy_joules_total", "counter", "joules",
           "Energy of a serving workload on its GPUs, including idle energy, by number of running requests: 0, 1, 2-3, "
           "4-7, ... 512+.",
           (*WORKLOAD, "model", "running"), _SERVING),
    Signal("serving_tokens_total", "counter", "", "Tokens in the same intervals: prompt (computed) or generation.",
           (*WORKLOAD, "model", "running", "phase"), _SERVING),
    Signal("serving_steady", "gauge", "",
           "1 if power, throughput and running requests varied by less than a tenth over the last minute, else 0.",
           (*WORKLOAD, "model"), "Absent for the first minute."),
    *(
        Signal(f"{part}_joules_per_token{end}", "gauge", "" if end else "joules_per_token",
               f"Energy per {what}{text}: an estimate over the last hour.", (*WORKLOAD, "model"), _ESTIMATE)
        for part, what in (("prefill", "computed prompt token"), ("decode", "generated token"))
        for end, text in (("", ""), ("_lower", ", lower 95 % bound"), ("_upper", ", upper 95 % bound"))
    ),
    Signal("serving_split_absent_info", "info", "", "Why prefill and decode cannot be distinguished.",
           (*WORKLOAD, "model", "reason"), "Present only while prefill or decode is absent."),
    # Serving: the price of a token, by engine: a workload, or the pools of a group
    *(
        Signal(f"{part}_price_joules_per_token{end}", "gauge", "" if end else "joules_per_token",
               f"Active GPU energy per {what} of an engine{text}; hour: open (provisional) or last (final).", ENGINE, _PRICE)
        for part, what in (("prompt", "computed prompt token"), ("generation", "generated token"))
        for end, text in (("", ""), ("_lower", ", lower bound"), ("_upper", ", upper bound"))
    ),
    Signal("engine_hour_energy_joules", "gauge", "joules",
           "GPU energy of an engine in the hour: active while a kernel ran, which the prices divide, or idle.",
           (*ENGINE, "state"), _PRICE),
    Signal("engine_hour_requests", "gauge", "", "Requests of an engine that ended in the hour.", ENGINE,
           "As the prices, if the inference server counts requests."),
    *(
        Signal(f"request_energy_{name}_joules{end}", "gauge", "" if end else "joules",
               f"{what} of the active GPU energy of the requests that ended in the hour{text}.", ENGINE, _REQUEST)
        for name, what in (("median", "Median"), ("p95", "95th percentile"))
        for end, text in (("", ""), ("_lower", ", lower bound"), ("_upper", ", upper bound"))
    ),
    Signal("request_energy_absent_info", "info", "", "Why the energy of an engine's requests is absent.", (*ENGINE, "reason"),
           _FACT),
    Signal("engine_hour_end_timestamp_seconds", "gauge", "seconds", "Time up to which the hour is known, UTC.", ENGINE, _PRICE),
    # DVFS
    Signal("dvfs_mode", "gauge", "", "1 for the mode of DVFS on this GPU (observe, shadow or enforce), 0 for the others.",
           (*GPU, "mode"), "Present while DVFS is configured."),
    Signal("dvfs_lease_active", "gauge", "", "1 while a lease on this GPU's settings is active.", GPU,
           "Present while DVFS is configured."),
    Signal("dvfs_clock_limit_hertz", "gauge", "hertz", "SM clock limit applied under the lease.", GPU,
           "Present only while it is applied."),
    Signal("dvfs_power_limit_watts", "gauge", "watts", "Power limit applied under the lease.", GPU,
           "Present only while it is applied."),
    Signal("dvfs_group_info", "info", "", "Steering group of a GPU, with its workload and its policies.",
           (*GPU, "group", "workload", "policy"), "Always 1; present while the GPU belongs to a group."),
    Signal("dvfs_exempt_info", "info", "", "Why a GPU is exempt from steering, such as MIG mode. This is not an error.",
           (*GPU, "group", "reason"), "Always 1; present while its group is exempt."),
    Signal("dvfs_requested_clock_limit_hertz", "gauge", "hertz",
           "SM clock limit that the policies request; not applied in mode shadow.", GPU,
           "Present only while one is requested."),
    Signal("dvfs_requested_power_limit_watts", "gauge", "watts",
           "Power limit that the policies request; not applied in mode shadow.", GPU,
           "Present only while one is requested."),
    *(
        Signal(f"dvfs_predicted_saving_ratio{end}", "gauge", "" if end else "ratio",
               f"Predicted saving of energy per unit of work by steering{text}, from measurements without steering.", GPU,
               "Present once a predicting policy has measured the workload; not proven, see dvfs_saved_joules.")
        for end, text in (("", ""), ("_lower", ", lower 95 % bound"), ("_upper", ", upper 95 % bound"))
    ),
    Signal("dvfs_decisions_total", "counter", "", "Governor decisions.", (*GPU, "policy", "action", "reason"),
           "Appears with the first decision; counts since the agent started."),
    Signal("dvfs_ineffective_total", "counter", "", "Settings that the driver accepted without effect.", (*GPU, "reason"),
           "Appears with the first one; counts since the agent started."),
    Signal("dvfs_saved_joules", "gauge", "joules",
           "Proven energy saving of DVFS, which may be claimed: the lower bound of the last closed analysis of paired "
           "blocks.", GPU,
           _PROVEN),
    Signal("dvfs_extra_joules", "gauge", "joules",
           "Additional energy due to DVFS: the estimate of the last closed analysis of paired blocks, if it is a loss.", GPU,
           _PROVEN),
    *(
        Signal(f"dvfs_proven_saving_ratio{end}", "gauge", "" if end else "ratio",
               f"Saving of energy per unit of work by steering{text}, from paired blocks; negative if steering uses more "
               "energy.", GPU,
               "Absent before the first analysis of enough pairs; then the result of the last analysis of the GPU's group.")
        for end, text in (("", ""), ("_lower", ", lower 95 % bound"), ("_upper", ", upper 95 % bound"))
    ),
    *(
        Signal(f"dvfs_slowdown_ratio{end}", "gauge", "" if end else "ratio",
               f"Slowdown of the work by steering{text}, from paired blocks: inter-token latency (latency), or time per "
               "step or token (time_per_work).", (*GPU, "of"),
               "Absent before the first analysis of enough pairs; then the result of the last analysis of the GPU's group.")
        for end, text in (("", ""), ("_lower", ", lower 95 % bound"), ("_upper", ", upper 95 % bound"))
    ),
    Signal("dvfs_slowdown_budget_ratio", "gauge", "ratio",
           "Slowdown that the steering policy settings allow for a whole training run.", GPU,
           "Present while the GPU belongs to a group."),
    Signal("dvfs_slo_limit_seconds", "gauge", "seconds", "Latency limit of a steering group, ttft or itl.", SLO,
           "Present while the group has the limit."),
    Signal("dvfs_slo_attainment_ratio", "gauge", "ratio", "Share of requests that have to be within the limit.", SLO,
           "Present while the group has the limit."),
    Signal("dvfs_slo_observations_total", "counter", "",
           "Observed latencies: of first tokens (ttft), and mean times between tokens of requests (itl). Of servers without a "
           "histogram of these means, gaps between tokens, judged by their mean over each reading.", SLO, _SLO),
    Signal("dvfs_slo_missed_total", "counter", "",
           "Latencies above the limit, at most: all of the histogram bucket around the limit count.", SLO, _SLO),
    Signal("dvfs_slo_surely_missed_total", "counter", "",
           "Latencies above the limit, at least: none of the histogram bucket around the limit counts.", SLO, _SLO),
    *(
        Signal(f"dvfs_slo_budget_left_{window}_ratio{end}", "gauge", "",
               f"Share of the error budget left over the last {what}, {bound} bound; negative if overspent.", SLO,
               _BUDGET)
        for window, what in (("requests", "1,000 requests"), ("hour", "hour"))
        for end, bound in (("_lower", "lower"), ("_upper", "upper"))
    ),
    Signal("dvfs_slo_budget_absent_info", "info", "", "Why the error budget of a window is unknown.",
           (*SLO, "window", "reason"), "Present only while it is unknown."),
    *(
        Signal(f"dvfs_shadow_saving_ratio{end}", "gauge", "" if end else "ratio",
               f"Share of energy per unit of work that a policy would have saved in mode shadow{text}.", SHADOW, _SHADOW)
        for end, text in (("", ""), ("_lower", ", lower 95 % bound"), ("_upper", ", upper 95 % bound"))
    ),
    Signal("dvfs_shadow_missed_ratio_lower", "gauge", "",
           "Share of latencies above the limit in mode shadow, as measured: no less if the policy had been applied.",
           (*SHADOW, "latency"), _SHADOW),
    Signal("dvfs_shadow_missed_ratio_upper", "gauge", "",
           "Share of latencies that would have been above the limit if all of their time had grown as the policy's clock is "
           "lower; longer queues are not included.", (*SHADOW, "latency"), _SHADOW),
    Signal("dvfs_shadow_absent_info", "info", "", "Why the saving or the latencies of a policy in mode shadow are unknown.",
           (*SHADOW, "reason"), "Present only while they are unknown."),
    # Sources
    Signal("source_up", "gauge", "", "1 if the source responded to the last poll, else 0.", ("source",),
           "Present while the source is configured. For GPUs see gpu_up."),
    Signal("source_down_info", "info", "", "Why a source does not respond.", ("source", "device", "reason"),
           "Present only while the source is down; an empty device: the source serves the whole node."),
    Signal("source_last_success_timestamp_seconds", "gauge", "seconds", "Time of the last response of the source, UTC.",
           ("source", "device"), "Appears with the first response."),
    Signal("source_poll_seconds", "gauge", "seconds", "Duration of the last poll.", ("source", "device"),
           "Appears with the first poll."),
    # Ledger
    Signal("ledger_journal_bytes", "gauge", "bytes", "Size of the journal on disk.", (), _ALWAYS,
           value=SnapshotField("ledger", "journal_bytes")),
    Signal("ledger_entries_total", "counter", "", "Entries recorded.", (), _JOURNAL,
           value=SnapshotField("ledger", "entries_total")),
    Signal("ledger_commits_total", "counter", "", "Commits to the journal.", (), _JOURNAL,
           value=SnapshotField("ledger", "commits_total")),
    Signal("ledger_commit_failures_total", "counter", "", "Failed commits, which are retried.", (), _JOURNAL,
           value=SnapshotField("ledger", "commit_failures_total")),
    Signal("ledger_segments_total", "counter", "", "Segments closed.", (), _JOURNAL,
           value=SnapshotField("ledger", "segments_total")),
    Signal("ledger_writable", "gauge", "", "1 if the journal can be written, else 0.", (), _ALWAYS),
    Signal("ledger_journals_moved_aside", "gauge", "",
           "Journals in the state folder that were damaged or of another format, and were moved aside.", (), _ALWAYS,
           value=SnapshotField("ledger", "moved_aside")),
    Signal("ledger_last_commit_timestamp_seconds", "gauge", "seconds", "Time of the last commit to the journal, UTC.", (),
           "Appears with the first commit."),
    # The agent's own state and cost
    Signal("config_last_reload_successful", "gauge", "", "1 if the last reload of the configuration succeeded, else 0.", (),
           _ALWAYS),
    Signal("config_last_reload_success_timestamp_seconds", "gauge", "seconds",
           "Time of the last successful reload of the configuration, UTC.",
           (), "Appears with the first successful reload."),
    Signal("reader_restarts_total", "counter", "", "Reader processes that were killed because a call did not return.", (),
           "Always present; counts since the agent started."),
    Signal("process_cpu_seconds_total", "counter", "seconds", "CPU time of a process of the agent.", ("process",),
           "Present while the process runs; restarts at 0 with the process."),
    Signal("process_resident_memory_bytes", "gauge", "bytes", "Resident memory of a process of the agent.", ("process",),
           "Present while the process runs."),
    *SITE,
)  # fmt: skip

BY_NAME = {signal.name: signal for signal in CATALOGUE}


def metric(name: str) -> str:
    """Full name of a signal that is exported; how dashboards and rules name one.

    Raises:
        LookupError: the catalogue has no such signal, or its name is only reserved.
    """
    signal = BY_NAME.get(name)
    if signal is None or signal.reserved:
        raise LookupError(f"the metric catalogue does not export {name!r}")
    return signal.metric


def values_of(kind: str) -> tuple[tuple[str, SnapshotField], ...]:
    """Name and value of the signals that have one of this kind."""
    return tuple((signal.name, signal.value) for signal in CATALOGUE if signal.value is not None and signal.value.of == kind)
