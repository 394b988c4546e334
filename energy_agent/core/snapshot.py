"""The agent's published state after a commit: immutable; read by scrapes, `top` and the governor, never by the meter.

An unresponsive device has `sample=None`, so its series are absent until it answers again. Energy totals are those of the
journal and never fall, across restarts too. Estimates of savings are recomputed by each interim analysis and may fall.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from energy_agent.core.boundary import Boundary
from energy_agent.core.energy import DeviceInfo, DeviceSample, Identity, Method, SourceHealth, State, WorkloadFacts
from energy_agent.core.health import HealthRecord
from energy_agent.core.interval import ConfidenceInterval
from energy_agent.core.selection import ALL, Selection
from energy_agent.core.steering import GroupStatus
from energy_agent.core.workloads.serving import Serving
from energy_agent.core.workloads.token_price import EngineHour
from energy_agent.core.workloads.tokens import TokenTotals


@dataclass(frozen=True, slots=True)
class DeviceView:
    """One device at the instant of the snapshot."""

    info: DeviceInfo
    up: bool
    reason: str  # why it is not up, "" when it is
    sample: DeviceSample | None
    energy_uj: Mapping[Method, int]
    unallocated_uj: int
    unattributed_uj: Mapping[str, int]  # by reason
    gain_uncertainty_ratio: float
    edge_uj: int | None  # None before its first interval
    event_ns: Mapping[str, int] = field(default_factory=dict)  # clock-event reason -> ns it was set
    gap_bound_uj: int | None = 0  # upper bound of energy that no sensor saw; None: nothing bounds it
    counter_scope: tuple[str, str] = ("unknown", "")  # what its energy counter includes, and how that is known
    sharing: str = ""  # policy by which its owners share it; "": nobody holds it, or that is not known

    @property
    def metered(self) -> bool:
        """It answers, and has a sensor of its energy or its power."""
        return self.sample is not None and self.sample.metered


@dataclass(frozen=True, slots=True)
class WorkloadEnergy:
    """Energy of one workload on one device."""

    workload: str
    device: str
    state: State
    method: Method
    energy_uj: int


@dataclass(frozen=True, slots=True)
class TokenCount:
    """Tokens of one workload since it was first seen."""

    workload: str
    model: str
    phase: str
    tokens: int


@dataclass(frozen=True, slots=True)
class StepCount:
    """Steps of one workload since it was first seen."""

    workload: str
    phase: str
    steps: int


@dataclass(frozen=True, slots=True)
class LedgerStats:
    """The journal and its segments."""

    journal_bytes: int = 0
    commits_total: int = 0
    commit_failures_total: int = 0
    segments_total: int = 0
    last_commit_ns: int | None = None
    writable: bool = True
    reason: str = ""
    moved_aside: int = 0  # journals in the folder that were damaged or of another format
    snapshot_error: str = ""  # why there is no second copy of the journal now
    state_error: str = ""  # what happened to the state folder while the agent ran
    signing_error: str = ""  # why segments are not signed with the node's key

    def health(self) -> tuple[SourceHealth, ...]:
        """What a person has to repair, as sources that are down."""
        errors = {"snapshot": self.snapshot_error, "state": self.state_error, "signing": self.signing_error}
        return tuple(SourceHealth(f"ledger:{name}", False, "", error) for name, error in errors.items() if error)


@dataclass(frozen=True, slots=True)
class DvfsDevice:
    """What the governor does on one device."""

    device: str
    mode: str  # observe | shadow | enforce
    lease_active: bool
    setting: Mapping[str, int] = field(default_factory=dict)  # sm_clock_max_hertz, power_limit_milliwatts
    decisions: Mapping[tuple[str, str, str], int] = field(default_factory=dict)  # (policy, action, reason) -> count
    ineffective: Mapping[str, int] = field(default_factory=dict)  # reason -> count
    saved_uj: int | None = None  # claimed saving, by all groups that had the device; None: no analysis
    extra_uj: int | None = None  # estimated loss, by the same groups
    predicted: ConfidenceInterval | None = None  # expected saving of energy per work, as a ratio, before any proof
    facts: Mapping[str, str] = field(default_factory=dict)  # group, workload, policy; none: no group has it
    wanted: Mapping[str, int] = field(default_factory=dict)  # as `setting`; in shadow what would be applied
    slowdown_ratio: float | None = None  # what its owners allow
    own_saved_uj: int | None = None  # of saved_uj, what the group that has it now saved
    saving: ConfidenceInterval | None = None  # energy per work that the group saves; None: not analysed yet
    slowdown: ConfidenceInterval | None = None  # how much longer its work takes, also
    slowdown_of: str = ""  # latency | time_per_work: what of it is longer
    exempt: tuple[str, str] | None = None  # group, and why it is not steered by design
    status: GroupStatus | None = None  # of the group, the same for all its devices


@dataclass(frozen=True, slots=True)
class ProcessCost:
    """What one process of the agent costs. `process` is agent, reader or actuator."""

    process: str
    cpu_ns: int
    resident_b: int


@dataclass(frozen=True, slots=True)
class MeterView:
    """One domain of a meter of the node: its energy since it was first read, and its power at the last reading."""

    source: str
    domain: str
    energy_uj: int
    power_mw: int | None


@dataclass(frozen=True, slots=True)
class HostView:
    """One device of the host around the GPUs: `host`, or a part of it. Without `energy_uj` its meter recorded nothing yet."""

    device: str
    energy_uj: Mapping[Method, int]
    unallocated_uj: int
    unattributed_uj: Mapping[str, int]  # by reason
    gap_bound_uj: int | None  # None: nothing bounds it
    gain_uncertainty_ratio: float | None = None  # None: its meter has not answered since the agent started


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Everything that a scrape shows."""

    sequence: int
    t_ns: int
    identity: Identity
    devices: tuple[DeviceView, ...] = ()
    workloads: tuple[WorkloadEnergy, ...] = ()
    workload_gpu_ns: Mapping[tuple[str, State], int] = field(default_factory=dict)
    namespace_uj: Mapping[str, int] = field(default_factory=dict)
    owner_uj: Mapping[tuple[str, str], int] = field(default_factory=dict)  # by namespace and owner
    tokens: tuple[TokenCount, ...] = ()
    served: tuple[TokenTotals, ...] = ()
    steps: tuple[StepCount, ...] = ()
    owners: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # device -> workloads that hold it now
    facts: tuple[WorkloadFacts, ...] = ()
    health: tuple[SourceHealth, ...] = ()
    device_health: tuple[HealthRecord, ...] = ()  # none that is older than two of its periods
    ledger: LedgerStats = LedgerStats()
    dvfs: tuple[DvfsDevice, ...] = ()
    config_reload_ok: bool = True
    config_reload_success_ns: int | None = None
    reader_restarts_total: int = 0
    processes: tuple[ProcessCost, ...] = ()
    boundary: Boundary = Boundary.GPU  # of the ledger; `devices` and `workloads` are GPUs alone
    meters: tuple[MeterView, ...] = ()
    hosts: tuple[HostView, ...] = ()
    host_workloads: tuple[WorkloadEnergy, ...] = ()
    serving: tuple[Serving, ...] = ()
    engine_hours: tuple[EngineHour, ...] = ()  # of each engine the final hours, oldest first, and the open one
    selection: Selection = ALL  # what of it the page shows
    boot_ns: int = 0  # `t_ns` on the boot clock: how old it is

    @property
    def summary(self) -> str:
        """How it stands, in a few words."""
        return f"{sum(view.up for view in self.devices)} of {len(self.devices)} GPUs respond"
