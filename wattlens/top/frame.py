"""The records that `wattlens top` shows: one `TopFrame` per reading. None stands for a missing reading."""

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class MigInstance:
    """A MIG device of a GPU."""

    uuid: str
    profile: str
    gpu_instance: str
    compute_instance: str


@dataclass(frozen=True, slots=True)
class GpuStatus:
    """One GPU; `reason` says why an unresponsive one has no readings."""

    gpu: str
    uuid: str
    name: str
    up: bool
    reason: str
    pci: str = ""
    architecture: str = ""
    driver: str = ""
    power_w: float | None = None
    limit_w: float | None = None
    limit_max_w: float | None = None
    sm_hz: float | None = None
    sm_max_hz: float | None = None
    memory_hz: float | None = None
    temperature_c: float | None = None
    memory_temperature_c: float | None = None
    utilization_ratio: float | None = None
    memory_used_b: float | None = None
    memory_total_b: float | None = None
    ecc_uncorrected: float | None = None  # over the GPU's life
    ecc_corrected: float | None = None
    pcie_generation: float | None = None
    pcie_lanes: float | None = None
    energy_j: float | None = None  # of the ledger, all time
    since_j: float | None = None  # since top began
    rate_w: float | None = None  # from the energy counter, over the last seconds
    why: tuple[str, ...] = ()  # reasons for a clock below the maximum
    workloads: tuple[str, ...] = ()  # those that use it now
    mig: tuple[MigInstance, ...] = ()
    xids: tuple[str, ...] = ()
    steering: str = ""
    absent: tuple[str, ...] = ()  # "field: reason"
    power_history_w: tuple[float | None, ...] = ()  # one per reading, the last one is the latest

    @property
    def used_by(self) -> str:
        """Its workloads, which are known by their energy: without energy of the GPU they are not known."""
        return ", ".join(self.workloads) or ("none" if self.energy_j is not None else "-")


@dataclass(frozen=True, slots=True)
class WorkloadStatus:
    """One workload: joules of all time and since top began, and its rates over the last seconds."""

    name: str
    has_gpu: bool  # it uses a GPU now; one that ended stays in /metrics for a while
    gpus: tuple[str, ...]
    active_j: float
    idle_j: float
    active_since_j: float
    idle_since_j: float
    now_w: float | None
    tokens_per_s: float | None
    j_per_token: float | None  # per generated token
    steps_per_s: float | None
    j_per_step: float | None  # per training step
    labels: tuple[tuple[str, str], ...] = ()  # namespace, pod, user, model and others that /metrics has


@dataclass(frozen=True, slots=True)
class ProcessStatus:
    """A process of this machine, with the GPUs that it uses; on MIG, a row per GPU instance."""

    gpus: tuple[str, ...]
    pid: int
    user: str
    command: str
    gpu_memory_b: float | None
    gpu_instance: str = ""  # of MIG
    cpu_ratio: float | None = None  # of a core
    memory_b: float | None = None
    age_s: float | None = None


@dataclass(frozen=True, slots=True)
class HostStatus:
    """CPU and memory of this machine."""

    cpu_ratio: float | None
    cores: int
    load: tuple[float, float, float]
    memory_used_b: float
    memory_total_b: float
    swap_used_b: float
    swap_total_b: float


@dataclass(frozen=True, slots=True)
class LocalStatus:
    """What top reads of its own machine. `reason` says why there is no host, or are no processes."""

    host: HostStatus | None = None
    processes: tuple[ProcessStatus, ...] = ()
    reason: str = ""


@dataclass(frozen=True, slots=True)
class NodeStatus:
    """The node and its agent."""

    cluster: str
    node: str
    version: str
    simulated: bool
    boundary: str  # what the ledger's energy of the node contains: gpu, gpu+cpu or node
    gpus: int
    gpus_up: int
    power_w: float | None
    limit_w: float | None
    since_j: float | None
    since_s: float
    other_w: tuple[tuple[str, float], ...]  # by the node's meters, "source domain"; they overlap and are never summed
    agent_cpu_ratio: float | None
    agent_b: float | None
    ledger: str  # "ok", or the problem
    config_ok: bool
    reader_restarts: float
    down: tuple[str, ...]  # "source: reason"
    power_history_w: tuple[float | None, ...] = ()
    utilization_history: tuple[float | None, ...] = ()  # mean over GPUs


@dataclass(frozen=True, slots=True)
class TopFrame:
    """One reading."""

    node: NodeStatus
    gpus: tuple[GpuStatus, ...]
    workloads: tuple[WorkloadStatus, ...]
    local: LocalStatus = LocalStatus(reason="not read yet")

    def document(self) -> dict[str, Any]:
        """For `--json`: SI units as the fields' names say, null where a reading is absent."""
        document = asdict(self)
        for part in (document["node"], *document["gpus"]):
            for name in ("power_history_w", "utilization_history"):
                part.pop(name, None)
        return document
