"""What one frame of `wattlens top` shows, as records; `history` makes them from pages."""

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Gpu:
    """One GPU. Every reading is None where it is absent; `reason` says why the whole GPU is."""

    gpu: str
    uuid: str
    name: str
    up: bool
    reason: str
    power_w: float | None = None
    limit_w: float | None = None
    sm_hz: float | None = None
    sm_max_hz: float | None = None
    memory_hz: float | None = None
    temperature_c: float | None = None
    memory_temperature_c: float | None = None
    utilization_ratio: float | None = None
    memory_used_b: float | None = None
    memory_total_b: float | None = None
    energy_j: float | None = None  # of the ledger, all time
    since_j: float | None = None  # since top began
    rate_w: float | None = None  # from the energy counter, over the last seconds
    why: tuple[str, ...] = ()  # why it does not run faster
    holders: tuple[str, ...] = ()
    xids: tuple[str, ...] = ()
    steering: str = ""
    absent: tuple[str, ...] = ()  # "field: reason"


@dataclass(frozen=True, slots=True)
class Workload:
    """One workload: joules of all time and since top began, and what it does now."""

    name: str
    held: bool  # it holds a GPU now; one that ended stays on the page for a while
    gpus: tuple[str, ...]
    active_j: float
    idle_j: float
    active_since_j: float
    idle_since_j: float
    now_w: float | None
    tokens_per_s: float | None
    j_per_token: float | None  # its energy a generated token, over the last seconds


@dataclass(frozen=True, slots=True)
class Node:
    """The node and the agent on it."""

    cluster: str
    node: str
    version: str
    simulated: bool
    boundary: str  # what the ledger's energy of the node contains: gpu, gpu+cpu or node
    gpus: int
    gpus_up: int
    power_w: float | None
    since_j: float | None
    since_s: float
    other_w: tuple[tuple[str, float], ...]  # by the node's meters, "source domain"; they overlap and are never summed
    agent_cpu_ratio: float | None
    agent_b: float | None
    ledger: str  # "ok", or what is wrong
    config_ok: bool
    reader_restarts: float
    down: tuple[str, ...]  # "source: reason"


@dataclass(frozen=True, slots=True)
class Facts:
    """One frame."""

    node: Node
    gpus: tuple[Gpu, ...]
    workloads: tuple[Workload, ...]

    def document(self) -> dict[str, Any]:
        """For `--json`: SI units as the fields' names say, null where a reading is absent."""
        return asdict(self)
