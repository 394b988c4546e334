"""Samples of GPU health. Pure.

Records change every few minutes, so their samples are cached.
"""

from collections.abc import Callable, Mapping, Sequence
from math import isfinite

from energy_agent.core.health import HealthRecord
from energy_agent.core.units import decimal
from energy_agent.exposition.gpu import Sample


def _float(value: float) -> str:
    return repr(float(value))


def _percent(value: float) -> str:
    return decimal(int(value), 100)


QUANTITIES: dict[str, tuple[str, Callable[[float], str]]] = {
    # quantity -> family, text of a value
    "ecc_errors": ("gpu_ecc_errors_total", str),
    "ecc_volatile_errors": ("gpu_ecc_volatile_errors_total", str),
    "ecc_location_errors": ("gpu_ecc_location_errors_total", str),
    "ecc_volatile_location_errors": ("gpu_ecc_volatile_location_errors_total", str),
    "ecc_enabled": ("gpu_ecc_enabled", str),
    "ecc_pending_enabled": ("gpu_ecc_pending_enabled", str),
    "remapped_rows": ("gpu_remapped_rows_total", str),
    "row_remap_pending": ("gpu_row_remap_pending", str),
    "row_remap_failed": ("gpu_row_remap_failed", str),
    "retired_pages": ("gpu_retired_pages_total", str),
    "page_retirement_pending": ("gpu_page_retirement_pending", str),
    "recovery_action": ("gpu_recovery_action", str),
    "persistence_enabled": ("gpu_persistence_enabled", str),
    "encoder_percent": ("gpu_encoder_utilization_ratio", _percent),
    "decoder_percent": ("gpu_decoder_utilization_ratio", _percent),
    "fan_percent": ("gpu_fan_speed_ratio", _percent),
    "memory_reserved_b": ("gpu_memory_reserved_bytes", str),
    "bar1_used_b": ("gpu_bar1_used_bytes", str),
    "bar1_total_b": ("gpu_bar1_total_bytes", str),
    "pcie_replays": ("gpu_pcie_replays_total", str),
    "pcie_errors": ("gpu_pcie_errors_total", str),
    "pcie_link_generation": ("gpu_pcie_link_generation", str),
    "pcie_link_max_generation": ("gpu_pcie_link_max_generation", str),
    "pcie_link_lanes": ("gpu_pcie_link_lanes", str),
    "pcie_link_max_lanes": ("gpu_pcie_link_max_lanes", str),
    "pcie_b": ("gpu_pcie_bytes_total", str),
    "nvlink_links": ("gpu_nvlink_links", str),
    "nvlink_down": ("gpu_nvlink_down_info", str),
    "nvlink_errors": ("gpu_nvlink_errors_total", str),
    "nvlink_kind_errors": ("gpu_nvlink_kind_errors_total", str),
    "nvlink_b": ("gpu_nvlink_bytes_total", str),
    "mig_enabled": ("gpu_mig_enabled", str),
    "mig_pending_enabled": ("gpu_mig_pending_enabled", str),
    "mig_device": ("gpu_mig_info", str),
    "activity": ("gpu_activity_ratio", _float),
    "traffic": ("gpu_traffic_bytes_per_second", _float),
}

Families = dict[str, list[Sample]]


class HealthSamples:
    """The samples of the records that there are, rebuilt only for groups of which a record is another."""

    def __init__(self) -> None:
        self._kept: dict[str, tuple[list[tuple[HealthRecord, str]], Families]] = {}

    def put(self, records: Sequence[HealthRecord], index: Mapping[str, str], families: Families) -> None:
        """Add the samples of records whose device is in `index`, which gives the driver's index of a UUID."""
        groups: dict[str, list[tuple[HealthRecord, str]]] = {}
        for record in records:
            gpu = index.get(record.uuid)
            if gpu is not None:
                groups.setdefault(record.group, []).append((record, gpu))
        kept, self._kept = self._kept, {}
        for group, members in groups.items():
            held = kept.get(group)
            if held is None or not _same(held[0], members):
                held = members, _families(members)
            self._kept[group] = held
            for name, samples in held[1].items():  # the lists are kept, so nobody may add to them
                others = families.get(name)
                families[name] = others + samples if others else samples


def _same(held: list[tuple[HealthRecord, str]], members: list[tuple[HealthRecord, str]]) -> bool:
    return len(held) == len(members) and all(a[0] is b[0] and a[1] == b[1] for a, b in zip(held, members, strict=True))


def _families(members: list[tuple[HealthRecord, str]]) -> Families:
    families: Families = {}
    for record, gpu in members:
        ids = (gpu, record.uuid)
        for reading in record.readings:
            if isfinite(reading.value):
                name, text = QUANTITIES[reading.quantity]
                families.setdefault(name, []).append(((*ids, *reading.labels), text(reading.value)))
        for quantity, reason in record.absent.items():
            families.setdefault("gpu_absent_info", []).append(((*ids, quantity, reason), "1"))
    return families
