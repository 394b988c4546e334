"""Metrics of GPUs. Their series have the labels `gpu`, the driver's index, and `uuid`. Pure."""

from collections.abc import Mapping
from functools import lru_cache
from math import isfinite
from typing import Final

from energy_agent.core.catalogue.metric import Labels, Row, Scrape, Signal, Source, each, flag
from energy_agent.core.energy import Method
from energy_agent.core.snapshot import DeviceView, Snapshot
from energy_agent.core.units import percent

GPU: Final = ("gpu", "uuid")
_METHODS: Final = tuple(Method)
_REASONS: Final = ("unknown_holder", "gap", "starting")
_SLOWED_DOWN: Final = ("sw_power_cap", "hw_slowdown", "sw_thermal_slowdown", "hw_thermal_slowdown", "hw_power_brake")


@lru_cache(maxsize=64)
def _ids(index: int, uuid: str) -> Labels:
    return str(index), uuid


def _devices(scrape: Scrape[Snapshot]) -> list[Row]:
    return [(_ids(view.info.index, view.info.uuid), view) for view in scrape.snapshot.devices]


def _present(scrape: Scrape[Snapshot]) -> list[Row]:
    return [(ids, view) for ids, view in scrape.of(_devices) if view.up and view.sample is not None]


def present_ids(scrape: Scrape[Snapshot]) -> dict[str, Labels]:
    """Labels of the GPUs that respond, by UUID."""
    return {ids[1]: ids for ids, _ in scrape.of(_present)}


def _described(scrape: Scrape[Snapshot]) -> list[Row]:
    simulated = str(scrape.snapshot.identity.simulated).lower()
    infos = ((ids, view.info) for ids, view in scrape.of(_devices))
    return [
        ((*ids, info.name, info.architecture, info.pci_bus_id, info.driver, str(info.mig_enabled).lower(), simulated), info)
        for ids, info in infos
    ]


def _absent(scrape: Scrape[Snapshot]) -> list[Row]:
    present = scrape.of(present_ids)
    return [
        ((*ids, *absent), view)
        for ids, view in scrape.of(_devices)
        for absent in (view.sample.absent.items() if ids[1] in present else [("device", view.reason)])
    ]


def _scope(view: DeviceView) -> tuple[str, str] | None:
    is_known = view.sample is not None and view.sample.energy_mj is not None
    return view.counter_scope if is_known and view.counter_scope[0] != "unknown" else None


def _energy(view: DeviceView) -> Mapping[Method, int]:
    """By the methods that the sensors permit, and by those that they permitted before."""
    counted = view.sample is not None and view.sample.energy_mj is not None
    integrated = view.sample is not None and view.sample.power_mw is not None
    permitted = (Method.COUNTER, Method.BRIDGED) * counted + (Method.INTEGRATED,) * integrated
    return {method: view.energy_uj.get(method, 0) for method in _METHODS if method in permitted or method in view.energy_uj}


def _events(view: DeviceView) -> Mapping[str, int]:
    return {reason: lasted_ns for reason, lasted_ns in view.event_ns.items() if lasted_ns or reason in _SLOWED_DOWN}


def _sharing_rule(view: DeviceView) -> str:
    return "" if view.sharing == "exclusive" else view.sharing


def _unattributed(view: DeviceView) -> Mapping[str, int]:
    return {**dict.fromkeys(_REASONS, 0), **view.unattributed_uj}


def _gain(view: DeviceView) -> float | None:
    return view.gain_uncertainty_ratio if isfinite(view.gain_uncertainty_ratio) else None


def _xids(view: DeviceView) -> Mapping[str, int]:
    counts = None if view.sample is None else view.sample.xid_counts
    return {str(xid): events for xid, events in (counts or {}).items()}


DEVICES: Final = Source(GPU, _devices)
PRESENT: Final = Source(GPU, _present)
METERED: Final = Source(GPU, lambda scrape: [(ids, view) for ids, view in scrape.of(_present) if view.sample.metered])
HEALTH: Final = Source(GPU, lambda _: [])
"""Quantities of `HealthRecord`: they are read seldom, so `exposition.health` caches their samples."""

_READING: Final = (
    "Last reading. Absent while the GPU does not respond or does not support the reading (gpu_absent_info has the reason)."
)
_LEDGER: Final = (
    "From the journal: starts at 0, survives restarts, never falls. Absent while the GPU does not respond; then "
    "resumes at a higher value."
)
_ENERGY: Final = _LEDGER + " Absent if the GPU has no energy counter and reports no power."
_HEALTH: Final = (
    "Read once per sampling.health_period_s; absent when older than two periods, and while the GPU does not respond."
)
_SINCE_LOAD: Final = "Counts since the driver was loaded. " + _HEALTH
_OPTIONAL: Final = "Only if enabled in the configuration. " + _HEALTH


GPUS: Final = (
    # Facts and presence
    Signal("gpu_info", "Properties of a GPU; simulated: whether the GPU is simulated.",
           "Always 1; present also while the GPU does not respond.",
           Source((*GPU, "name", "architecture", "pci_bus_id", "driver", "mig", "simulated"), _described)),
    Signal("gpu_up", "1 if the GPU responded to the last poll, else 0.",
           "Always present. An unresponsive GPU has only this series, gpu_info and gpu_absent_info.", DEVICES, "up",
           text=flag),
    Signal("gpu_absent_info", "Why a reading of this GPU is absent; field device: all readings are absent.",
           "Present only while the reading is absent.", Source((*GPU, "field", "reason"), _absent)),
    # Energy
    Signal("gpu_counter_scope_info",
           "What the GPU's energy counter includes: gpu, or module (with processor and memory).",
           "Always 1; basis: stated (sources.nvml.counter_scope), measured (against instant power of each scope), or stated, "
           "measured otherwise. Absent while that is unknown, and without an energy counter.", PRESENT, _scope,
           ("scope", "basis")),
    Signal("gpu_energy_joules_total", "Energy of the GPU, by measurement method.", _ENERGY +
           " Methods are disjoint: counter, bridged, integrated; their sum is the energy of the GPU. A method is present if "
           "the GPU has its sensor.", each(METERED, _energy, "method")),
    Signal("gpu_energy_gain_uncertainty_ratio",
           "Bound of the systematic error of the energy, as a ratio; constant over time, so it does not average out.",
           _READING, METERED, _gain),
    Signal("gpu_energy_edge_uncertainty_joules", "Bound of the energy's error at each of the two edges of a window.", _READING
           + " Appears with the first interval after the agent's start.", METERED, "edge_uj"),
    Signal("gpu_energy_gap_bound_joules_total", "Upper bound of energy that no sensor saw; not part of the energy counters.",
           _LEDGER + " Absent if nothing bounds that energy: a GPU without sensor whose power limit is unknown.", PRESENT,
           "gap_bound_uj"),
    Signal("gpu_unallocated_energy_joules_total", "Energy of the GPU while it was not allocated to a workload.", _ENERGY,
           METERED, "unallocated_uj"),
    Signal("gpu_unattributed_energy_joules_total", "Energy whose workload is unknown, by reason.", _ENERGY +
           " Reasons: unknown_holder, gap, starting.", each(METERED, _unattributed, "reason")),
    Signal("gpu_sharing_info",
           "Policy that divides the energy of the GPU among its workloads: sm_time, equal, mig_slice or mig_activity "
           "(docs/attribution.md).", "Absent while the GPU has a single workload or none.", PRESENT, _sharing_rule,
           ("policy",)),
    # Readings
    Signal("gpu_power_watts", "Power draw, averaged over the last second.", _READING +
           " GPUs before Ampere and GA100 GPUs (A100 class) have no average: use gpu_power_instant_watts.", PRESENT,
           "sample.power_average_mw"),
    Signal("gpu_power_instant_watts", "Power draw at the instant of the reading.", _READING, PRESENT, "sample.power_mw"),
    Signal("gpu_power_limit_watts", "Applied power limit.", _READING, PRESENT, "sample.power_limit_mw"),
    Signal("gpu_power_limit_requested_watts", "Power limit that was last requested.", _READING, PRESENT,
           "sample.power_limit_requested_mw"),
    Signal("gpu_power_limit_default_watts", "Factory default of the power limit.", _READING, PRESENT,
           "info.power_limit_default_mw"),
    Signal("gpu_power_limit_min_watts", "Lowest power limit that can be set.", _READING, PRESENT, "info.power_limit_min_mw"),
    Signal("gpu_power_limit_max_watts", "Highest power limit that can be set.", _READING, PRESENT, "info.power_limit_max_mw"),
    Signal("gpu_sm_clock_hertz", "Clock of the streaming multiprocessors.", _READING, PRESENT, "sample.sm_clock_mhz"),
    Signal("gpu_memory_clock_hertz", "Clock of the device memory.", _READING, PRESENT, "sample.memory_clock_mhz"),
    Signal("gpu_sm_clock_max_hertz", "Maximum clock that the streaming multiprocessors support.", _READING, PRESENT,
           "info.sm_clock_max_mhz"),
    Signal("gpu_clock_event_seconds_total",
           "Time for which the driver reported this reason for lower clocks; sampled reasons count whole sampling intervals.",
           _LEDGER + " Reasons idle, applications_clocks, sync_boost and display_clock appear with their first event.",
           each(PRESENT, _events, "reason")),
    Signal("gpu_utilization_ratio", "Share of the driver's last sampling period in which a kernel ran, on any number of SMs.",
           _READING, PRESENT, "sample.gpu_percent", text=percent),
    Signal("gpu_memory_utilization_ratio",
           "Share of the driver's last sampling period in which memory was read or written; not the used share of the memory.",
           _READING, PRESENT, "sample.memory_percent", text=percent),
    Signal("gpu_encoder_utilization_ratio", "Share of the driver's last sampling period in which the video encoder ran.",
           _HEALTH, HEALTH, "encoder_percent", text=percent),
    Signal("gpu_decoder_utilization_ratio", "Share of the driver's last sampling period in which the video decoder ran.",
           _HEALTH, HEALTH, "decoder_percent", text=percent),
    Signal("gpu_temperature_celsius", "Temperature of the GPU.", _READING, PRESENT, "sample.temperature_c"),
    Signal("gpu_memory_temperature_celsius", "Temperature of the device memory.", _READING, PRESENT,
           "sample.memory_temperature_c"),
    Signal("gpu_memory_used_bytes", "Device memory in use.", _READING, PRESENT, "sample.memory_used_b"),
    Signal("gpu_memory_total_bytes", "Size of the device memory.", _READING, PRESENT, "sample.memory_total_b"),
    # Health
    Signal("gpu_xid_errors_total", "XID errors that the driver reported.",
           "Appears with the first error of a code; survives restarts of the agent; absent while the GPU does not respond.",
           each(PRESENT, _xids, "xid")),
    Signal("gpu_ecc_errors_total",
           "ECC errors over the lifetime of the GPU, corrected or uncorrected (NVML's aggregate counter).", _HEALTH, HEALTH,
           "ecc_errors", ("severity",)),
    Signal("gpu_ecc_volatile_errors_total",
           "ECC errors since the driver was loaded, corrected or uncorrected (NVML's volatile counter).", _HEALTH, HEALTH,
           "ecc_volatile_errors", ("severity",)),
    Signal("gpu_ecc_location_errors_total", "ECC errors over the lifetime of the GPU, by location: dram, sram, l2_cache, ...",
           "Locations differ between GPUs. " + _HEALTH, HEALTH, "ecc_location_errors", ("severity", "location")),
    Signal("gpu_ecc_volatile_location_errors_total", "ECC errors since the driver was loaded, by location.",
           "Locations differ between GPUs. " + _HEALTH, HEALTH, "ecc_volatile_location_errors", ("severity", "location")),
    Signal("gpu_ecc_enabled", "1 if ECC is on, else 0.", _HEALTH, HEALTH, "ecc_enabled"),
    Signal("gpu_ecc_pending_enabled", "1 if ECC is on after the next reset, else 0.", _HEALTH, HEALTH, "ecc_pending_enabled"),
    Signal("gpu_remapped_rows_total", "Memory rows remapped over the lifetime of the GPU, by kind of error.",
           "Ampere and later. " + _HEALTH, HEALTH, "remapped_rows", ("cause",)),
    Signal("gpu_row_remap_pending", "A row will be remapped at the next reset: always 1.",
           "Present only while it is pending. " + _HEALTH, HEALTH, "row_remap_pending"),
    Signal("gpu_row_remap_failed", "A row could not be remapped, so replace the GPU: always 1.",
           "Present only after a failure. " + _HEALTH, HEALTH, "row_remap_failed"),
    Signal("gpu_retired_pages_total", "Memory pages retired over the lifetime of the GPU, by cause.", "Before Ampere. " +
           _HEALTH, HEALTH, "retired_pages", ("cause",)),
    Signal("gpu_page_retirement_pending", "A page will be retired at the next reset: always 1.",
           "Before Ampere; present only while it is pending. " + _HEALTH, HEALTH, "page_retirement_pending"),
    Signal("gpu_recovery_action",
           "Recovery action that the driver requests: always 1, with the current action as a label; it may be none.",
           "One series, for the current action. " + _HEALTH, HEALTH, "recovery_action", ("action",)),
    Signal("gpu_persistence_enabled", "1 if persistence mode is on; 0 if the driver is initialised again for each client.",
           _HEALTH, HEALTH, "persistence_enabled"),
    Signal("gpu_fan_speed_ratio", "Intended speed of a fan.", "GPUs with fans. " + _HEALTH, HEALTH, "fan_percent", ("fan",),
           percent),
    Signal("gpu_memory_reserved_bytes", "Device memory reserved by driver and firmware; part of gpu_memory_used_bytes.",
           _HEALTH, HEALTH, "memory_reserved_b"),
    Signal("gpu_bar1_used_bytes", "BAR1 memory in use: device memory mapped for the host and peers.", _HEALTH, HEALTH,
           "bar1_used_b"),
    Signal("gpu_bar1_total_bytes", "Size of the BAR1 memory.", _HEALTH, HEALTH, "bar1_total_b"),
    # Links
    Signal("gpu_pcie_replays_total", "PCIe replays: packets sent again.", _SINCE_LOAD, HEALTH, "pcie_replays"),
    Signal("gpu_pcie_errors_total", "PCIe errors, by kind.", "Hopper and later. " + _SINCE_LOAD, HEALTH, "pcie_errors",
           ("kind",)),
    Signal("gpu_pcie_link_generation", "Current generation of the PCIe link; lower while the GPU is idle.", _HEALTH, HEALTH,
           "pcie_link_generation"),
    Signal("gpu_pcie_link_max_generation", "Highest PCIe generation that GPU and slot support.", _HEALTH, HEALTH,
           "pcie_link_max_generation"),
    Signal("gpu_pcie_link_lanes", "Lanes that the PCIe link uses.", _HEALTH, HEALTH, "pcie_link_lanes"),
    Signal("gpu_pcie_link_max_lanes", "Highest number of lanes that GPU and slot support.", _HEALTH, HEALTH,
           "pcie_link_max_lanes"),
    Signal("gpu_pcie_bytes_total", "Bytes over PCIe, transmitted or received by the GPU.",
           "Hopper and later; the driver's counter may wrap. " + _SINCE_LOAD, HEALTH, "pcie_b", ("direction",)),
    Signal("gpu_nvlink_links", "NVLinks up or down; unused links count as down.", _HEALTH, HEALTH, "nvlink_links", ("state",)),
    Signal("gpu_nvlink_down_info", "An NVLink that is down or unused.", "Present only while it is down. " + _HEALTH, HEALTH,
           "nvlink_down", ("link",)),
    Signal("gpu_nvlink_errors_total",
           "NVLink errors of all links and kinds, except bit errors that the link corrects (symbol, effective).", _SINCE_LOAD,
           HEALTH, "nvlink_errors"),
    Signal("gpu_nvlink_kind_errors_total", "NVLink errors over all links, by kind; kinds differ by generation.", _SINCE_LOAD,
           HEALTH, "nvlink_kind_errors", ("kind",)),
    Signal("gpu_nvlink_bytes_total", "Bytes over all NVLinks, transmitted or received.", _SINCE_LOAD, HEALTH, "nvlink_b",
           ("direction",)),
    # MIG
    Signal("gpu_mig_enabled", "1 if MIG mode is on, else 0.", _HEALTH, HEALTH, "mig_enabled"),
    Signal("gpu_mig_pending_enabled", "1 if MIG mode is on after the next reset, else 0.", _HEALTH, HEALTH,
           "mig_pending_enabled"),
    Signal("gpu_mig_info", "A MIG device of the GPU.", "Present while the MIG device exists. " + _HEALTH, HEALTH, "mig_device",
           ("mig_uuid", "profile", "gpu_instance", "compute_instance")),
    # Profiling (GPM)
    Signal("gpu_activity_ratio",
           "Activity of a part of the GPU (sm, sm_occupancy, tensor, dram, fp64, ...) as a share of its peak, over the last "
           "health period.", "Hopper and later, sources.nvml.gpm. " + _OPTIONAL, HEALTH, "activity", ("part",)),
    Signal("gpu_traffic_bytes_per_second",
           "Traffic over a bus (pcie, nvlink). Method gpm: mean of the last health period; sampled: over 20 ms.",
           "sources.nvml.gpm or sources.nvml.pcie_throughput. " + _OPTIONAL, HEALTH, "traffic",
           ("bus", "direction", "method")),
)  # fmt: skip
