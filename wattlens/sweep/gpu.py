"""GPUs of an agent's `/metrics` response, their readings with instants, and their workloads. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass

from dvfs.sweep.reading import DeviceReading, Sample
from wattlens.top.metrics import MetricsResponse


@dataclass(frozen=True, slots=True)
class GpuDescription:
    """One GPU as the agent describes it. None: unknown. Limits in W."""

    uuid: str
    index: int
    sku: str
    driver: str
    simulated: bool
    mig: bool
    clock_max_mhz: int | None
    limit_w: float | None
    limit_min_w: float | None


def describe_gpus(page: MetricsResponse) -> tuple[GpuDescription, ...]:
    """All responsive GPUs of the node, by index."""
    descriptions = []
    for labels, _ in page.rows("gpu_info"):
        uuid = labels.get("uuid", "")
        if page.total("gpu_up", uuid=uuid) != 1:
            continue
        descriptions.append(
            GpuDescription(
                uuid,
                int(labels.get("gpu", "0")),
                labels.get("name", ""),
                labels.get("driver", ""),
                labels.get("simulated") == "true",
                labels.get("mig") == "true",
                _in_units(page.total("gpu_sm_clock_max_hertz", uuid=uuid), 1e6),
                page.total("gpu_power_limit_watts", uuid=uuid),
                page.total("gpu_power_limit_min_watts", uuid=uuid),
            )
        )
    return tuple(sorted(descriptions, key=lambda board: board.index))


def read_ns(page: MetricsResponse, uuid: str) -> int | None:
    """When the GPU was read whose readings the page shows, UTC ns."""
    return _in_units(page.total("source_last_success_timestamp_seconds", source="nvml", device=uuid), 1e-9)


def committed_ns(page: MetricsResponse) -> int | None:
    """When the page was made, UTC ns: counts of workloads are of that instant."""
    return _in_units(page.total("ledger_last_commit_timestamp_seconds"), 1e-9)


def energy(page: MetricsResponse, uuid: str) -> Sample | None:
    """The GPU's energy counter in J with the instant of its reading; None while it does not answer."""
    t_ns, joules = read_ns(page, uuid), page.total("gpu_energy_joules_total", uuid=uuid)
    return None if t_ns is None or joules is None else Sample(t_ns, joules)


def read_device(page: MetricsResponse, uuid: str) -> DeviceReading | None:
    """Clock, limit and event reasons of the GPU; None while it is unresponsive."""
    t_ns = read_ns(page, uuid)
    if t_ns is None or page.total("gpu_up", uuid=uuid) != 1:
        return None
    events = {
        labels["reason"]: seconds
        for labels, seconds in page.rows("gpu_clock_event_seconds_total")
        if labels.get("uuid") == uuid and "reason" in labels
    }
    return DeviceReading(
        t_ns,
        _in_units(page.total("gpu_sm_clock_hertz", uuid=uuid), 1e6),
        _in_units(page.total("gpu_power_limit_watts", uuid=uuid), 1e-3),
        _in_units(page.total("gpu_utilization_ratio", uuid=uuid), 1e-2),
        events,
    )


def temperature_c(page: MetricsResponse, uuid: str) -> float | None:
    """Of the GPU."""
    return page.total("gpu_temperature_celsius", uuid=uuid)


def on_gpus(before: MetricsResponse, after: MetricsResponse) -> Mapping[str, frozenset[str]]:
    """Workloads with these GPUs between two responses: those to which energy was attributed in between.

    A workload's series stay for a quarter of an hour after its end, so that they are there says nothing.
    """
    uuids_by_workload: dict[str, set[str]] = {}
    earlier = _recorded_joules(before)
    for key, joules in _recorded_joules(after).items():
        if joules > earlier.get(key, 0.0):
            uuids_by_workload.setdefault(key[0], set()).add(key[1])
    return {workload: frozenset(uuids) for workload, uuids in uuids_by_workload.items()}


def _recorded_joules(page: MetricsResponse) -> dict[tuple[str, str], float]:
    joules_by_key: dict[tuple[str, str], float] = {}
    for labels, joules in page.rows("workload_energy_joules_total"):
        key = labels.get("workload", ""), labels.get("uuid", "")
        joules_by_key[key] = joules_by_key.get(key, 0.0) + joules
    return joules_by_key


def _in_units(value: float | None, unit: float) -> int | None:
    """A value as a whole number of a unit, which is given in the value's own."""
    return None if value is None else round(value / unit)
