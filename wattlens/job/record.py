"""The rows of one job: energy by node and state, edges, steps and tokens, from whichever source. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from energy_agent.core.boundary import is_gpu, is_host
from energy_agent.core.energy import REQUEST, State
from energy_agent.ledger.rows.kinds import CELL_NS
from energy_agent.ledger.rows.uncertainty import SHARE_UNKNOWN
from wattlens.job.steps import StepInterval
from wattlens.usage.ledger_rows import DeviceUsage, EdgeSum, Owner, Place

TRAINING = "training"


@dataclass(slots=True)
class NodeWorkload:
    """What one workload used on one node: uJ and ns of GPU time, by whether a kernel ran, and its share of the host's uJ."""

    active_uj: int = 0
    idle_uj: int = 0
    host_active_uj: int = 0
    host_idle_uj: int = 0
    active_ns: int = 0
    idle_ns: int = 0
    gpus: set[str] = field(default_factory=set)
    first_ns: int | None = None
    last_ns: int | None = None


@dataclass(slots=True)
class JobRecord:
    """The rows that a source has of a job within [start_ns, end_ns).

    Args:
        workloads: kind and last labels of each of its workloads.
        devices: GPUs and hosts of its nodes, and how long they were metered on the days in which the job used the node.
        metered_at: when each device that the job used was metered as a whole, and on which node.
        open_places: devices with a gap whose energy nothing bounds.
        gain_ppm: bound of the gain error by device.
        phases: uJ and ns of GPU time in phases other than training.
        cells_ns: GPU time of the job in each quarter of an hour.
    """

    source: str
    start_ns: int
    end_ns: int
    workloads: dict[Owner, tuple[str, dict[str, str]]] = field(default_factory=dict)
    uses: dict[Owner, NodeWorkload] = field(default_factory=dict)
    device_uj: dict[str, int] = field(default_factory=dict)
    spans: dict[tuple[Owner, str], EdgeSum] = field(default_factory=dict)
    steps: dict[str, list[StepInterval]] = field(default_factory=dict)
    phases: dict[str, tuple[int, int]] = field(default_factory=dict)
    tokens: dict[tuple[str, str], int] = field(default_factory=dict)
    devices: dict[Place, DeviceUsage] = field(default_factory=dict)
    metered_at: dict[str, list[tuple[int, int, str, str]]] = field(default_factory=dict)
    open_places: set[Place] = field(default_factory=set)
    gain_ppm: dict[str, int] = field(default_factory=dict)
    cells_ns: dict[int, int] = field(default_factory=dict)
    simulated: bool = False

    def add_energy(self, owner: Owner, device: str, state: str, energy_uj: int, gpu_ns: int) -> None:
        """Add energy of a device that a workload of the job was allocated; parts of a host are in the host already."""
        use = self.uses.setdefault(owner, NodeWorkload())
        active = state == State.ACTIVE
        if is_gpu(device):
            use.gpus.add(device)
            if active:
                use.active_uj, use.active_ns = use.active_uj + energy_uj, use.active_ns + gpu_ns
            else:
                use.idle_uj, use.idle_ns = use.idle_uj + energy_uj, use.idle_ns + gpu_ns
        elif is_host(device):
            if active:
                use.host_active_uj += energy_uj
            else:
                use.host_idle_uj += energy_uj
        else:
            return
        self.device_uj[device] = self.device_uj.get(device, 0) + energy_uj

    def add_gpu_time(self, owner: Owner, state: str, gpu_ns: int) -> None:
        """Add GPU time over all GPUs of a workload, where it is not known by device."""
        use = self.uses.setdefault(owner, NodeWorkload())
        if state == State.ACTIVE:
            use.active_ns += gpu_ns
        else:
            use.idle_ns += gpu_ns

    def add_span(self, owner: Owner, device: str, run: Iterable[int], gap_uj: int) -> None:
        """Add an interval in which a workload held a device: start, end and its three edge errors. In their order."""
        if not (is_gpu(device) or is_host(device)):
            return
        numbers = list(run)
        span = self.spans.setdefault((owner, device), EdgeSum(SHARE_UNKNOWN))
        span.gap_uj += gap_uj
        if numbers[1]:
            span.follow(numbers)
            use = self.uses.setdefault(owner, NodeWorkload())
            use.first_ns = numbers[0] if use.first_ns is None else min(use.first_ns, numbers[0])
            use.last_ns = numbers[1] if use.last_ns is None else max(use.last_ns, numbers[1])

    def add_steps(self, owner: Owner, phase: str, start_ns: int, end_ns: int, steps: int) -> None:
        """Add steps that one of its workloads counted."""
        self.steps.setdefault(phase, []).append(StepInterval(owner, start_ns, end_ns, steps))

    def add_tokens(self, phase: str, model: str, tokens: int) -> None:
        """Add tokens, but not requests, which the ledger keeps in the same rows."""
        if phase != REQUEST:
            self.tokens[phase, model] = self.tokens.get((phase, model), 0) + tokens

    def add_phase(self, phase: str, energy_uj: int, gpu_ns: int) -> None:
        """Add GPU energy and GPU time in which a workload did something else than training steps."""
        energy, time = self.phases.get(phase, (0, 0))
        self.phases[phase] = energy + energy_uj, time + gpu_ns

    def add_cell(self, cell_start_ns: int, gpu_ns: int) -> None:
        """Add GPU time within a quarter of an hour."""
        self.cells_ns[cell_start_ns] = self.cells_ns.get(cell_start_ns, 0) + gpu_ns

    def add_metered(self, place: Place, metered_ns: int, gap_ns: int) -> None:
        """Add how long a device of one of its nodes was metered, used by the job or not, and how long it was not."""
        if is_gpu(place[2]) or is_host(place[2]):
            device = self.devices.setdefault(place, DeviceUsage())
            device.metered_ns, device.gap_ns = device.metered_ns + metered_ns, device.gap_ns + gap_ns

    def gpus_peak(self, first_ns: int, last_ns: int) -> float:
        """The largest mean of allocated GPUs over the part of a quarter of an hour that is in [first_ns, last_ns]."""
        parts = {start_ns: min(start_ns + CELL_NS, last_ns) - max(start_ns, first_ns) for start_ns in self.cells_ns}
        return max((gpu_ns / parts[start_ns] for start_ns, gpu_ns in self.cells_ns.items() if parts[start_ns] > 0), default=0.0)
