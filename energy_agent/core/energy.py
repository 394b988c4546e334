"""The data of the agent in the order in which they arise: sample, interval, shares (ledger entries), snapshot.

All are immutable. Instants are UTC ns; `boot_ns` is CLOCK_BOOTTIME ns, from which durations are computed. Energy is in whole
microjoules. None represents a missing value; a separate field has the reason.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final


class Method(StrEnum):
    """How a joule was measured; partitions a device's energy."""

    COUNTER = "counter"  # difference of the hardware energy counter
    INTEGRATED = "integrated"  # trapezoid of instant power, where the counter is not there or stuck
    BRIDGED = "bridged"  # a gap in our readings that the counter closed
    MODELLED = "modelled"  # neither counter nor power: from a model, with its bound


class State(StrEnum):
    """Whose joule it was: the four disjoint buckets of attribution, the last by its reason."""

    ACTIVE = "active"  # held by a workload, a kernel ran
    IDLE = "idle"  # held by a workload, no kernel ran
    UNALLOCATED = "unheld"  # nobody holds the device
    UNKNOWN_OWNER = "unattributed:unknown_holder"
    GAP = "unattributed:gap"  # bridged, and no owner is proven at both ends
    STARTING = "unattributed:starting"  # before the first answer about owners

    @property
    def unattributed_reason(self) -> str | None:
        """The reason, where the state is an unattributed one."""
        return self.value.partition(":")[2] or None


@dataclass(frozen=True, slots=True)
class Identity:
    """Who writes: stamped on segments and metrics."""

    cluster: str
    node: str
    boot_id: str
    version: str
    simulated: bool


@dataclass(frozen=True, slots=True)
class DeviceInfo:
    """What does not change while the driver lives."""

    uuid: str
    index: int
    name: str
    architecture: str
    pci_bus_id: str
    driver: str
    power_limit_min_mw: int | None = None
    power_limit_max_mw: int | None = None
    power_limit_default_mw: int | None = None
    sm_clock_max_mhz: int | None = None
    mig_enabled: bool = False
    driver_epoch: str = ""  # names the load of the driver, within one boot; "" where it is not known


@dataclass(frozen=True, slots=True)
class ProcessUse:
    """One process on a device, as NVML reports it.

    Args:
        pid: as the driver sees it; 0 across pid namespaces.
        memory_b: its device memory; None where the driver does not report it.
        sm_us: SM time in us that it used since processes were listed before; None where that was not measured.
        mig: UUID of its MIG device; "" on a whole GPU or where the driver does not report it.
        listed: False for one that used the device since then and is on it no more.
    """

    pid: int
    memory_b: int | None = None
    sm_us: int | None = None
    mig: str = ""
    listed: bool = True


@dataclass(frozen=True, slots=True)
class MigUse:
    """A MIG device of a GPU, and how busy it was.

    Args:
        uuid: MIG-...
        slices: compute slices that are its own, of `slices_total` that the GPU has.
        sms: its multiprocessors.
        active_ppm: mean share of its SMs that worked since the last look; None where that was not measured.
    """

    uuid: str
    slices: int
    slices_total: int
    sms: int
    active_ppm: int | None = None


EVENT_REASONS: Final = {
    0x1: "idle",
    0x2: "applications_clocks",
    0x4: "sw_power_cap",
    0x8: "hw_slowdown",
    0x10: "sync_boost",
    0x20: "sw_thermal_slowdown",
    0x40: "hw_thermal_slowdown",
    0x80: "hw_power_brake",
    0x100: "display_clock",
}
"""Why a clock is lowered: the bits of `DeviceSample.event_reasons`, which are those of NVML (nvmlClocksEventReason*)."""


@dataclass(frozen=True, slots=True)
class DeviceSample:
    """One reading of one device. `absent` maps the name of a missing field to the reason."""

    uuid: str
    t_ns: int
    boot_ns: int
    energy_mj: int | None = None
    power_mw: int | None = None  # instant
    power_average_mw: int | None = None  # 1 s average, where the generation has it
    power_limit_mw: int | None = None  # current limit
    power_limit_requested_mw: int | None = None
    sm_clock_mhz: int | None = None
    memory_clock_mhz: int | None = None
    temperature_c: int | None = None
    memory_temperature_c: int | None = None
    gpu_percent: int | None = None  # share of the last period in which a kernel ran
    memory_percent: int | None = None
    memory_used_b: int | None = None
    memory_total_b: int | None = None
    event_reasons: int | None = None  # clock-event bitmask
    fast: bool = False  # a reading of energy and power alone, between two full ones
    module_power_mw: int | None = None  # instant, of the GPU with processor and memory of its module; never in `absent`
    xid_counts: Mapping[int, int] | None = None  # XID code -> events since the last full reading; None: not watched
    processes: tuple[ProcessUse, ...] | None = None  # None: not read this time
    mig: tuple[MigUse, ...] | None = None  # the MIG devices; None: MIG is off, or not read this time
    absent: Mapping[str, str] = field(default_factory=dict)

    @property
    def metered(self) -> bool:
        """A sensor of its energy or its power responded."""
        return self.energy_mj is not None or self.power_mw is not None


@dataclass(frozen=True, slots=True)
class Interval:
    """Energy of one device over [start_ns, end_ns), by one method. `edge_uj` bounds the error of each of its two edges."""

    device: str
    start_ns: int
    end_ns: int
    energy_uj: int
    method: Method
    edge_uj: int
    active: bool | None  # a kernel ran; None: not known


@dataclass(frozen=True, slots=True)
class Gap:
    """Energy that no sensor saw: not in the ledger's sum, but named with its upper bound."""

    device: str
    start_ns: int
    end_ns: int
    bound_uj: int
    reason: str


@dataclass(frozen=True, slots=True)
class Entry:
    """A journal row: a share of an interval. `gpu_ns` is device time held by the workload (0 where nobody holds)."""

    start_ns: int
    end_ns: int
    device: str
    workload: str  # "" unless state is ACTIVE or IDLE
    state: State
    method: Method
    energy_uj: int
    edge_uj: int
    gpu_ns: int = 0


REQUEST: Final = "request"


@dataclass(frozen=True, slots=True)
class Tokens:
    """Tokens a workload processed over [start_ns, end_ns); `phase` is prompt, cached, generation or training.

    Phase REQUEST is the number of its requests that ended.
    """

    start_ns: int
    end_ns: int
    workload: str
    model: str
    phase: str
    tokens: int


@dataclass(frozen=True, slots=True)
class Steps:
    """Steps a training workload did over [start_ns, end_ns); `phase` is training, or what it waited for, such as evaluation.

    A step of several ranks is one step.
    """

    start_ns: int
    end_ns: int
    workload: str
    phase: str
    steps: int


@dataclass(frozen=True, slots=True)
class Action:
    """A DVFS action, for the ledger: every change of a setting is a row."""

    t_ns: int
    device: str
    policy: str
    action: str  # set | restore | refuse
    setting: str  # canonical JSON of what was written, or of what was refused
    outcome: str  # ok, or the reason it was not
    workload: str = ""


@dataclass(frozen=True, slots=True)
class WorkloadFacts:
    """What is known of a workload, effective from `since_ns`."""

    workload: str
    since_ns: int
    kind: str  # container | unit | slurm | process | pod
    labels: Mapping[str, str] = field(default_factory=dict)  # namespace, pod, owner, team, model, precision, group, ...


@dataclass(frozen=True, slots=True)
class SourceHealth:
    """Whether a source answered, apart from its data. `device` is empty for a source that serves the node."""

    source: str
    up: bool
    device: str = ""
    reason: str = ""
    last_success_ns: int | None = None
    poll_s: float | None = None
