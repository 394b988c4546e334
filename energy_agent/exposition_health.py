"""Health of a GPU -> its samples on /metrics. Pure.

Records stay for many seconds, so the samples of each are made once.
"""

from collections.abc import Callable, Sequence
from math import isfinite

from energy_agent.core.health import HealthRecord, Reading
from energy_agent.core.units import decimal
from energy_agent.exposition_gpu import Found, Sample


def _float(value: float) -> str:
    return repr(float(value))


def _percent(value: float) -> str:
    return decimal(int(value), 100)


QUANTITIES: dict[str, tuple[str, Callable[[float], str]]] = {
    # quantity -> family, text of a value
    "ecc_errors": ("gpu_ecc_errors_total", str),
    "ecc_location_errors": ("gpu_ecc_location_errors_total", str),
    "ecc_enabled": ("gpu_ecc_enabled", str),
    "remapped_rows": ("gpu_remapped_rows_total", str),
    "row_remap_pending": ("gpu_row_remap_pending", str),
    "row_remap_failed": ("gpu_row_remap_failed", str),
    "retired_pages": ("gpu_retired_pages_total", str),
    "page_retirement_pending": ("gpu_page_retirement_pending", str),
    "recovery_action": ("gpu_recovery_action", str),
    "persistence_enabled": ("gpu_persistence_enabled", str),
    "engine_percent": ("gpu_utilization_ratio", _percent),
    "fan_percent": ("gpu_fan_speed_ratio", _percent),
    "memory_reserved_b": ("gpu_memory_reserved_bytes", str),
    "bar1_used_b": ("gpu_bar1_used_bytes", str),
    "bar1_total_b": ("gpu_bar1_total_bytes", str),
    "pcie_replays": ("gpu_pcie_replays_total", str),
    "pcie_errors": ("gpu_pcie_errors_total", str),
    "pcie_link_generation": ("gpu_pcie_link_generation", str),
    "pcie_link_lanes": ("gpu_pcie_link_lanes", str),
    "pcie_b": ("gpu_pcie_bytes_total", str),
    "nvlink_links": ("gpu_nvlink_links", str),
    "nvlink_down": ("gpu_nvlink_down_info", str),
    "nvlink_errors": ("gpu_nvlink_errors_total", str),
    "nvlink_b": ("gpu_nvlink_bytes_total", str),
    "mig_enabled": ("gpu_mig_enabled", str),
    "mig_device": ("gpu_mig_info", str),
    "activity": ("gpu_activity_ratio", _float),
    "traffic": ("gpu_traffic_bytes_per_second", _float),
}

Samples = tuple[tuple[str, Sample], ...]
"""Each with the name of its family."""


class HealthSamples:
    """The samples of the records that there are, kept as long as the records."""

    def __init__(self) -> None:
        self._kept: dict[tuple[str, str], tuple[HealthRecord, str, Samples]] = {}

    def put(self, records: Sequence[HealthRecord], index: dict[str, str], found: Found) -> None:
        """Add the samples of records whose device is in `index`, which gives the driver's index of a UUID."""
        kept, self._kept = self._kept, {}
        for record in records:
            gpu = index.get(record.uuid)
            if gpu is None:
                continue
            key = record.uuid, record.group
            held = kept.get(key)
            if held is None or held[0] is not record or held[1] != gpu:
                held = record, gpu, _samples(record, gpu)
            self._kept[key] = held
            for name, sample in held[2]:
                found[name].append(sample)


def _samples(record: HealthRecord, gpu: str) -> Samples:
    ids = (gpu, record.uuid)
    readings = [(QUANTITIES[r.quantity], r) for r in record.readings if isfinite(r.value)]
    absent = (("gpu_absent_info", ((*ids, quantity, reason), "1")) for quantity, reason in record.absent.items())
    return (*((name, _sample(ids, reading, text)) for (name, text), reading in readings), *absent)


def _sample(ids: tuple[str, str], reading: Reading, text: Callable[[float], str]) -> Sample:
    return (*ids, *reading.labels), text(reading.value)
