"""The metric catalogue: name, type, unit, labels and help of every metric that the agent exports.

Documentation, dashboards and rules take names only from here. A released name does not change. Units are base units, counters
end in `_total`, descriptions in `_info`. GPU series have the labels `gpu` (the driver's index) and `uuid`. Cluster, node, model
and pod are joined from the `_info` families, so that frequently updated series have few labels.
"""

from energy_agent.core.catalogue.metric import Signal
from energy_agent.core.catalogue.site import SITE

GPU = ("gpu", "uuid")
WORKLOAD = ("workload",)
POD = ("namespace", "pod")
"""Of a workload that is a pod, in its energy itself, so that it sums by them without a join (docs/decisions/0018)."""
FACTS = ("kind", "namespace", "pod", "owner", "team", "project", "model", "precision", "group", "class", "run")
"""Labels of `workload_info` in addition to `workload`: `kind`, the workload's metadata, and last the identity of its job."""

_READING = "Last reading. Absent while the GPU does not answer or its board does not tell (gpu_absent_info has the reason)."
_LEDGER = "From the journal: starts at 0, survives restarts, never falls. Absent while the GPU does not answer, resumes higher."
_FACT = "Always 1; facts are labels."
_ALWAYS = "Always there."
_HEALTH = "Read once in sampling.health_period_s; absent once it is older than two of them, and while the GPU does not answer."
_SINCE_LOAD = "Counts since the driver was loaded. " + _HEALTH
_OPTIONAL = "Only where the configuration asks for it. " + _HEALTH
_SERVING = "Counts since the agent started, where the token server counts with every engine step and tells what runs."
_ESTIMATE = "Absent with the reason in serving_split_absent_info, without a count of steps or while the load varies too little."
_PROVEN = (
    "Absent before the first analysis of enough pairs. The sum over all groups and quarters that had the GPU, kept over "
    "restarts; each analysis restates the part of its group and quarter, so it may fall."
)
_SERVED = "Where the token server tells. Starts at 0 at the first reading, survives restarts; goes with tokens_total."
_SERVED_NOW = "Last reading, where the token server tells. Absent while it does not answer."
_METER = "From the journal: starts at 0 at the meter's first reading. Absent while the meter does not answer, resumes higher."
_METER_READING = "Last reading. Absent while the meter does not answer."
_HOST = (
    "From the journal: appears with the first recorded interval, two readings of the meter after its start, and never falls."
)
_JOURNAL = "Always there; counts since the agent started."

CATALOGUE: tuple[Signal, ...] = (
    # The agent
    Signal("build_info", "info", "", "Version of the running agent.", ("version",), _FACT),
    Signal("node_info", "info", "", "Identity of the node; simulated says whether its hardware is.",
           ("cluster", "node", "simulated"), _FACT),
    # GPU: facts and presence
    Signal("gpu_info", "info", "", "Facts of a GPU; simulated says whether it is real.",
           (*GPU, "name", "architecture", "pci_bus_id", "driver", "mig", "simulated"),
           "Always 1; stays while the GPU does not answer."),
    Signal("gpu_up", "gauge", "", "1 if the GPU answered the last poll, else 0.", GPU,
           "Always there; beside gpu_info and gpu_absent_info the only series of a GPU that does not answer."),
    Signal("gpu_absent_info", "info", "", "Why a reading of this GPU is absent; field device stands for all of them.",
           (*GPU, "field", "reason"), "There only while the reading is absent."),
    # GPU: energy
    Signal("gpu_energy_joules_total", "counter", "joules", "Energy of the GPU by how it was measured.", (*GPU, "method"),
           _LEDGER + " Methods are disjoint: counter, integrated, bridged, modelled; their sum is the device."),
    Signal("gpu_energy_gain_uncertainty_ratio", "gauge", "ratio",
           "Systematic part of the energy's error, as a share; the same sign all the time, so it adds linearly.", GPU,
           _READING),
    Signal("gpu_energy_edge_uncertainty_joules", "gauge", "joules",
           "Bound of the energy's error at each of the two edges of a window.", GPU, _READING),
    Signal("gpu_energy_gap_bound_joules_total", "counter", "joules",
           "Upper bound of energy that no sensor saw; not part of the energy counters.", GPU, _LEDGER),
    Signal("gpu_unallocated_energy_joules_total", "counter", "joules",
           "Energy of the GPU while no workload held it.", GPU, _LEDGER),
    Signal("gpu_unattributed_energy_joules_total", "counter", "joules", "Energy whose workload is unknown, by reason.",
           (*GPU, "reason"), _LEDGER + " Reasons: unknown_holder, gap, starting."),
    Signal("gpu_sharing_info", "info", "", "By which policy the energy of the GPU is shared among who holds it: exclusive, "
           "sm_time, equal, mig_slice or mig_activity (docs/attribution.md).", (*GPU, "policy"),
           "There while somebody is known to hold the GPU and it answers."),
    # GPU: readings
    Signal("gpu_power_watts", "gauge", "watts", "Power draw, averaged over the last second.", GPU,
           _READING + " Boards before Ampere and A100-class ones (GA100) have no average: gpu_power_instant_watts is there."),
    Signal("gpu_power_instant_watts", "gauge", "watts", "Power draw at the instant of the reading.", GPU, _READING),
    Signal("gpu_power_limit_watts", "gauge", "watts", "Applied power limit.", GPU, _READING),
    Signal("gpu_power_limit_requested_watts", "gauge", "watts", "Power limit that was last requested.", GPU, _READING),
    Signal("gpu_power_limit_default_watts", "gauge", "watts", "Power limit of the board as shipped.", GPU, _READING),
    Signal("gpu_power_limit_min_watts", "gauge", "watts", "Lowest power limit that can be set.", GPU, _READING),
    Signal("gpu_power_limit_max_watts", "gauge", "watts", "Highest power limit that can be set.", GPU, _READING),
    Signal("gpu_sm_clock_hertz", "gauge", "hertz", "Clock of the streaming multiprocessors.", GPU, _READING),
    Signal("gpu_memory_clock_hertz", "gauge", "hertz", "Clock of the device memory.", GPU, _READING),
    Signal("gpu_sm_clock_max_hertz", "gauge", "hertz", "Maximum clock that the streaming multiprocessors support.", GPU,
           _READING),
    Signal("gpu_clock_event_seconds_total", "counter", "seconds",
           "Time in which the driver named this reason for lowering clocks; sampled reasons count whole sampling intervals.",
           (*GPU, "reason"), _LEDGER),
    Signal("gpu_utilization_ratio", "gauge", "ratio",
           "Share of the driver's last period in which a kernel ran, on however few cores.", GPU, _READING),
    Signal("gpu_memory_utilization_ratio", "gauge", "ratio",
           "Share of the driver's last period in which memory was read or written; not how full it is.", GPU, _READING),
    Signal("gpu_encoder_utilization_ratio", "gauge", "ratio",
           "Share of the driver's last period in which the video encoder ran.", GPU, _HEALTH),
    Signal("gpu_decoder_utilization_ratio", "gauge", "ratio",
           "Share of the driver's last period in which the video decoder ran.", GPU, _HEALTH),
    Signal("gpu_temperature_celsius", "gauge", "celsius", "Temperature of the GPU.", GPU, _READING),
    Signal("gpu_memory_temperature_celsius", "gauge", "celsius", "Temperature of the device memory.", GPU, _READING),
    Signal("gpu_memory_used_bytes", "gauge", "bytes", "Device memory in use.", GPU, _READING),
    Signal("gpu_memory_total_bytes", "gauge", "bytes", "Device memory of the board.", GPU, _READING),
    # GPU: health
    Signal("gpu_xid_errors_total", "counter", "", "XID errors that the driver reported.", (*GPU, "xid"),
           "Appears with the first error of a code; survives restarts of the agent; absent while the GPU does not answer."),
    Signal("gpu_ecc_errors_total", "counter", "",
           "ECC errors over the board's life, corrected or uncorrected (NVML's aggregate counter).", (*GPU, "severity"),
           _HEALTH),
    Signal("gpu_ecc_volatile_errors_total", "counter", "",
           "ECC errors since the driver was loaded, corrected or uncorrected (NVML's volatile counter).", (*GPU, "severity"),
           _HEALTH),
    Signal("gpu_ecc_location_errors_total", "counter", "",
           "ECC errors over the board's life by where they happened: dram, sram, l2_cache, ...",
           (*GPU, "severity", "location"), "Not on every board at every location. " + _HEALTH),
    Signal("gpu_ecc_volatile_location_errors_total", "counter", "",
           "ECC errors since the driver was loaded, by location.",
           (*GPU, "severity", "location"), "Not on every board at every location. " + _HEALTH),
    Signal("gpu_ecc_enabled", "gauge", "", "1 if ECC is on, else 0.", GPU, _HEALTH),
    Signal("gpu_ecc_pending_enabled", "gauge", "", "1 if ECC is on after the next reset, else 0.", GPU, _HEALTH),
    Signal("gpu_remapped_rows_total", "counter", "", "Memory rows remapped over the board's life, by the kind of error.",
           (*GPU, "cause"), "Ampere and later. " + _HEALTH),
    Signal("gpu_row_remap_pending", "gauge", "", "1 if a row waits for the next reset to be remapped, else 0.", GPU,
           "Ampere and later. " + _HEALTH),
    Signal("gpu_row_remap_failed", "gauge", "", "1 if a row could not be remapped: replace the board; else 0.", GPU,
           "Ampere and later. " + _HEALTH),
    Signal("gpu_retired_pages_total", "counter", "", "Memory pages retired over the board's life, by cause.", (*GPU, "cause"),
           "Before Ampere. " + _HEALTH),
    Signal("gpu_page_retirement_pending", "gauge", "", "1 if a page waits for the next reset to be retired, else 0.", GPU,
           "Before Ampere. " + _HEALTH),
    Signal("gpu_recovery_action", "gauge", "", "Recovery that the driver asks for: 1 for the present one (none is one too).",
           (*GPU, "action"), "One series, of the present action. " + _HEALTH),
    Signal("gpu_persistence_enabled", "gauge", "",
           "1 if persistence mode is on; 0: the driver is initialised again for each client.", GPU, _HEALTH),
    Signal("gpu_fan_speed_ratio", "gauge", "ratio", "Intended speed of a fan.", (*GPU, "fan"), "Boards with fans. " + _HEALTH),
    Signal("gpu_memory_reserved_bytes", "gauge", "bytes",
           "Device memory that driver and firmware keep; part of gpu_memory_used_bytes.", GPU, _HEALTH),
    Signal("gpu_bar1_used_bytes", "gauge", "bytes", "BAR1 in use: device memory mapped for the host and peers.", GPU, _HEALTH),
    Signal("gpu_bar1_total_bytes", "gauge", "bytes", "Size of BAR1.", GPU, _HEALTH),
    # GPU: links
    Signal("gpu_pcie_replays_total", "counter", "", "PCIe packets sent again.", GPU, _SINCE_LOAD),
    Signal("gpu_pcie_errors_total", "counter", "", "PCIe errors, by kind.", (*GPU, "kind"), "Hopper and later. " + _SINCE_LOAD),
    Signal("gpu_pcie_link_generation", "gauge", "", "Generation at which the PCIe link runs; it falls when the GPU is idle.",
           GPU, _HEALTH),
    Signal("gpu_pcie_link_max_generation", "gauge", "", "Highest generation of the PCIe link that board and slot support.",
           GPU, _HEALTH),
    Signal("gpu_pcie_link_lanes", "gauge", "", "Lanes that the PCIe link uses.", GPU, _HEALTH),
    Signal("gpu_pcie_link_max_lanes", "gauge", "", "Highest number of lanes that board and slot support.", GPU, _HEALTH),
    Signal("gpu_pcie_bytes_total", "counter", "bytes", "Bytes over PCIe, transmitted or received by the GPU.",
           (*GPU, "direction"), "Hopper and later; the driver's counter may wrap. " + _SINCE_LOAD),
    Signal("gpu_nvlink_links", "gauge", "", "NVLinks up or down; links that are in no use count as down.", (*GPU, "state"),
           _HEALTH),
    Signal("gpu_nvlink_down_info", "info", "", "An NVLink that is down or in no use.", (*GPU, "link"),
           "Only while it is down. " + _HEALTH),
    Signal("gpu_nvlink_errors_total", "counter", "",
           "NVLink errors of all links and kinds, except bit errors that the link corrects (symbol, effective).", GPU,
           _SINCE_LOAD),
    Signal("gpu_nvlink_kind_errors_total", "counter", "", "NVLink errors over all links, by kind; kinds differ by generation.",
           (*GPU, "kind"), _SINCE_LOAD),
    Signal("gpu_nvlink_bytes_total", "counter", "bytes", "Bytes over all NVLinks, transmitted or received.",
           (*GPU, "direction"), _SINCE_LOAD),
    # GPU: MIG
    Signal("gpu_mig_enabled", "gauge", "", "1 if MIG mode is on, else 0.", GPU, _HEALTH),
    Signal("gpu_mig_pending_enabled", "gauge", "", "1 if MIG mode is on after the next reset, else 0.", GPU, _HEALTH),
    Signal("gpu_mig_info", "info", "", "A MIG device of the GPU.",
           (*GPU, "mig_uuid", "profile", "gpu_instance", "compute_instance"), "There while the MIG device is. " + _HEALTH),
    # GPU: profiling (GPM)
    Signal("gpu_activity_ratio", "gauge", "ratio",
           "Share of the last health period's peak that a part of the GPU worked: sm, sm_occupancy, tensor, dram, fp64, ...",
           (*GPU, "part"), "Hopper and later, sources.nvml.gpm. " + _OPTIONAL),
    Signal("gpu_traffic_bytes_per_second", "gauge", "bytes_per_second",
           "Traffic over a bus (pcie, nvlink): gpm, mean of the last health period, or sampled, over 20 ms.",
           (*GPU, "bus", "direction", "method"), "sources.nvml.gpm or sources.nvml.pcie_throughput. " + _OPTIONAL),
    # Node
    Signal("energy_boundary_info", "info", "", "What the ledger's energy has: gpu, gpu+cpu or node.", ("boundary",), _FACT),
    Signal("node_energy_joules_total", "counter", "joules",
           "Energy by a meter of the node, whatever it contains: the whole node, a module, a processor package or memory. "
           "Domains overlap and are not to be summed.", ("source", "domain"), _METER),
    Signal("node_power_watts", "gauge", "watts", "Power by a meter of the node; of a counter, the mean since its last reading.",
           ("source", "domain"), _METER_READING),
    Signal("node_nongpu_energy_joules_total", "counter", "joules",
           "Energy of the node around its GPUs, without them: the whole rest (host), or without a meter of the whole node its "
           "parts (package-N, dram-N).", ("domain", "method"), _HOST),
    Signal("node_nongpu_energy_gain_uncertainty_ratio", "gauge", "ratio",
           "Bound of the systematic error of node_nongpu_energy_joules_total, as a share of its meter's reading.", ("domain",),
           "Absent until the meter has answered."),
    Signal("node_nongpu_unallocated_energy_joules_total", "counter", "joules",
           "Part of node_nongpu_energy_joules_total for unallocated GPUs.", ("domain",), _HOST),
    Signal("node_nongpu_unattributed_energy_joules_total", "counter", "joules",
           "Part of node_nongpu_energy_joules_total whose workload is unknown, by reason.",
           ("domain", "reason"), _HOST + " Reasons: unknown_holder, gap, starting."),
    Signal("node_nongpu_energy_gap_bound_joules_total", "counter", "joules",
           "Upper bound of energy that no meter saw, where there is one; not part of the energy counters.", ("domain",), _HOST),
    # Workloads
    Signal("workload_info", "info", "", "Facts of a workload.", (*WORKLOAD, *FACTS),
           "Always 1; stays holders.retention_s (15 minutes) after its end."),
    Signal("workload_energy_joules_total", "counter", "joules",
           "Energy of a workload on a GPU: active while a kernel ran, idle while it only held the GPU.",
           (*WORKLOAD, *POD, "uuid", "state", "method"),
           "From the journal; appears at 0 when the holder is seen, stays holders.retention_s (15 minutes) "
           "after its end; absent while the GPU does "
           "not answer, resumes higher."),
    Signal("workload_gpu_seconds_total", "counter", "seconds", "GPU time held by a workload, over all its GPUs.",
           (*WORKLOAD, *POD, "state"), "As workload_energy_joules_total, but stays while one of its GPUs does not answer."),
    Signal("workload_nongpu_energy_joules_total", "counter", "joules",
           "A workload's share of the energy around its GPUs, by GPU time held; never part of workload_energy_joules_total.",
           (*WORKLOAD, *POD, "domain", "state"), "As workload_energy_joules_total; present while the node has a meter."),
    Signal("namespace_energy_joules_total", "counter", "joules", "Energy of all workloads of a namespace, ended ones included.",
           ("namespace",),
           "From the journal; stays when a workload ends, so short ones count too. Beyond 1000 namespaces, further ones are "
           "together in namespace=\"(other)\"."),
    Signal("owner_energy_joules_total", "counter", "joules",
           "Energy of all workloads of an owner (the job, service or cluster that made a pod), ended ones included.",
           ("namespace", "owner"),
           "From the journal; stays when a workload ends. Of more than 1000 owners, the namespace or Slurm user with the most "
           "gives up its own: their energy goes on in owner=\"(other)\" of their namespace, which rises by it at once."),
    Signal("tokens_total", "counter", "",
           "Tokens that a workload processed: prompt (computed), cached (reused), generation or training.",
           (*WORKLOAD, "model", "phase"), "Starts at 0 at first sight; stays holders.retention_s (15 minutes) after its end."),
    Signal("training_steps_total", "counter", "",
           "Steps of a training workload, by what it did: training, evaluation, ...; its ranks take a step together.",
           (*WORKLOAD, "phase"), "Starts at 0 at first sight; stays holders.retention_s (15 minutes) after its end."),
    Signal("requests_total", "counter", "", "Requests that a workload's token servers ended.", (*WORKLOAD, "model"), _SERVED),
    Signal("requests_running", "gauge", "", "Requests that its token servers work on at once.", (*WORKLOAD, "model"),
           _SERVED_NOW),
    Signal("requests_waiting", "gauge", "", "Requests that wait for its token servers.", (*WORKLOAD, "model"), _SERVED_NOW),
    Signal("engine_steps_total", "counter", "", "Steps of its engines: each is one batch.", (*WORKLOAD, "model"), _SERVED),
    Signal("time_to_first_token_seconds", "histogram", "seconds",
           "Time to first token, normalised over token servers: in seconds, with the buckets that all its engines have.",
           (*WORKLOAD, "model"), _SERVED),
    Signal("inter_token_latency_seconds", "histogram", "seconds",
           "Time between two tokens, normalised over token servers: in seconds, with the buckets that all its engines have.",
           (*WORKLOAD, "model"), _SERVED),
    # Serving: live, of workloads that serve one model
    Signal("serving_energy_joules_total", "counter", "joules",
           "Energy of a serving workload on its GPUs, idle included, by how many requests ran: 0, 1, 2-3, 4-7, ... 512+.",
           (*WORKLOAD, "model", "running"), _SERVING),
    Signal("serving_tokens_total", "counter", "", "Tokens, prompt (computed) or generation, of the same stretches of time.",
           (*WORKLOAD, "model", "running", "phase"), _SERVING),
    Signal("serving_steady", "gauge", "",
           "1 if power, answers and running requests varied by less than a tenth over the last minute, else 0.",
           (*WORKLOAD, "model"), "Absent until a minute has been seen."),
    *(
        Signal(f"{part}_joules_per_token{end}", "gauge", "" if end else "joules_per_token",
               f"Energy of {what}{text}: an estimate over the last hour.", (*WORKLOAD, "model"), _ESTIMATE)
        for part, what in (("prefill", "a computed prompt token"), ("decode", "a generated token"))
        for end, text in (("", ""), ("_lower", ", at least (95 %)"), ("_upper", ", at most (95 %)"))
    ),
    Signal("serving_split_absent_info", "info", "", "Why prefill and decode are not told apart.",
           (*WORKLOAD, "model", "reason"), "There only while one of them is absent."),
    # DVFS
    Signal("dvfs_mode", "gauge", "", "1 for the mode of DVFS on this GPU (observe, shadow or enforce), 0 for the others.",
           (*GPU, "mode"), "There while DVFS is configured."),
    Signal("dvfs_lease_active", "gauge", "", "1 while a lease on this GPU's settings is held.", GPU,
           "There while DVFS is configured."),
    Signal("dvfs_clock_limit_hertz", "gauge", "hertz", "SM clock limit applied under the lease.", GPU,
           "There only while it is applied."),
    Signal("dvfs_power_limit_watts", "gauge", "watts", "Power limit applied under the lease.", GPU,
           "There only while it is applied."),
    Signal("dvfs_group_info", "info", "", "With which devices, for which workload and by which policies a GPU is steered.",
           (*GPU, "group", "workload", "policy"), "Always 1; there while a group has the GPU."),
    Signal("dvfs_exempt_info", "info", "", "Why a GPU is not steered by design, such as MIG mode. Nothing is wrong then.",
           (*GPU, "group", "reason"), "Always 1; there while its group is exempt."),
    Signal("dvfs_requested_clock_limit_hertz", "gauge", "hertz",
           "SM clock limit that the policies request; in mode shadow it is not applied.", GPU,
           "There only while one is requested."),
    Signal("dvfs_requested_power_limit_watts", "gauge", "watts",
           "Power limit that the policies request; in mode shadow it is not applied.", GPU,
           "There only while one is requested."),
    *(
        Signal(f"dvfs_predicted_saving_ratio{end}", "gauge", "" if end else "ratio",
               f"Energy per work that steering is expected to save{text}, by what was measured without it.", GPU,
               "There once a policy that predicts has measured the workload; never proven, see dvfs_saved_joules.")
        for end, text in (("", ""), ("_lower", ", at least (95 %)"), ("_upper", ", at most (95 %)"))
    ),
    Signal("dvfs_decisions_total", "counter", "", "Governor decisions.", (*GPU, "policy", "action", "reason"),
           "Appears with the first decision; counts since the agent started."),
    Signal("dvfs_ineffective_total", "counter", "", "Settings that the driver accepted without effect.", (*GPU, "reason"),
           "Appears with the first one; counts since the agent started."),
    Signal("dvfs_saved_joules", "gauge", "joules",
           "Energy that DVFS saved and that may be claimed: the lower end of the last closed analysis of paired blocks.", GPU,
           _PROVEN),
    Signal("dvfs_extra_joules", "gauge", "joules",
           "Energy that DVFS lost: the estimate of the last closed analysis of paired blocks, where it is a loss.", GPU,
           _PROVEN),
    *(
        Signal(f"dvfs_proven_saving_ratio{end}", "gauge", "" if end else "ratio",
               f"Energy per work that steering saves{text}, by paired blocks; below 0 it costs.", GPU,
               "Absent before the first analysis of enough pairs; of the last one, for the group that has the GPU.")
        for end, text in (("", ""), ("_lower", ", at least (95 %)"), ("_upper", ", at most (95 %)"))
    ),
    *(
        Signal(f"dvfs_slowdown_ratio{end}", "gauge", "" if end else "ratio",
               f"How much longer work takes under steering{text}, by paired blocks: time between tokens (latency), or time "
               "per step or token (time_per_work).", (*GPU, "of"),
               "Absent before the first analysis of enough pairs; of the last one, for the group that has the GPU.")
        for end, text in (("", ""), ("_lower", ", at least (95 %)"), ("_upper", ", at most (95 %)"))
    ),
    Signal("dvfs_slowdown_budget_ratio", "gauge", "ratio",
           "How much longer a whole training run may take, by the terms of its owners.", GPU,
           "There while a group has the GPU."),
    # Sources
    Signal("source_up", "gauge", "", "1 if the source answered its last poll, else 0.", ("source",),
           "There while the source is configured. Each GPU has gpu_up."),
    Signal("source_down_info", "info", "", "Why a source does not answer.", ("source", "device", "reason"),
           "There only while the source is down; no device: it serves the node."),
    Signal("source_last_success_timestamp_seconds", "gauge", "seconds", "When the source last answered, UTC.",
           ("source", "device"), "Appears with the first answer."),
    Signal("source_poll_seconds", "gauge", "seconds", "How long the last poll took.", ("source", "device"),
           "Appears with the first poll."),
    # Ledger
    Signal("ledger_journal_bytes", "gauge", "bytes", "Size of the journal on disk.", (), _ALWAYS),
    Signal("ledger_entries_total", "counter", "", "Entries booked.", (), _JOURNAL),
    Signal("ledger_commits_total", "counter", "", "Commits to the journal.", (), _JOURNAL),
    Signal("ledger_commit_failures_total", "counter", "", "Commits that failed and were tried again.", (), _JOURNAL),
    Signal("ledger_segments_total", "counter", "", "Segments closed.", (), _JOURNAL),
    Signal("ledger_writable", "gauge", "", "1 if the journal can be written, else 0.", (), _ALWAYS),
    Signal("ledger_last_commit_timestamp_seconds", "gauge", "seconds", "When the journal was last committed, UTC.", (),
           "Appears with the first commit."),
    # The agent's own state and cost
    Signal("config_last_reload_successful", "gauge", "", "1 if the last reading of the configuration succeeded, else 0.", (),
           _ALWAYS),
    Signal("config_last_reload_success_timestamp_seconds", "gauge", "seconds", "When the configuration was last read, UTC.",
           (), "Appears with the first good reading."),
    Signal("reader_restarts_total", "counter", "", "Readers that were ended because a call did not come back.", (),
           "Always there; counts since the agent started."),
    Signal("process_cpu_seconds_total", "counter", "seconds", "Processor time of a process of the agent.", ("process",),
           "There while the process lives; restarts at 0 with it."),
    Signal("process_resident_memory_bytes", "gauge", "bytes", "Resident memory of a process of the agent.", ("process",),
           "There while the process lives."),
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
        raise LookupError(f"the metric catalogue exports no {name!r}")
    return signal.metric
