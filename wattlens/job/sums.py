"""Sums of the rows of one job: energy by node and state, edges and GPU time. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from energy_agent.core.boundary import is_gpu, is_host
from energy_agent.core.energy import State
from energy_agent.ledger.rows.kinds import CELL_NS
from energy_agent.ledger.rows.uncertainty import SHARE_UNKNOWN
from wattlens.usage.record import RUN, EnergyRecord, Owner, Place
from wattlens.usage.sums import DeviceUsage, EdgeSum

TRAINING = "training"
_WHERE = ("cluster", "node", "device", "workload")


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

    def add(self, device: str, state: str, energy_uj: int, gpu_ns: int) -> None:
        """Add energy and GPU time on a device."""
        if is_host(device):
            self.host_active_uj += energy_uj if state == State.ACTIVE else 0
            self.host_idle_uj += 0 if state == State.ACTIVE else energy_uj
            return
        if device:
            self.gpus.add(device)
        if state == State.ACTIVE:
            self.active_uj, self.active_ns = self.active_uj + energy_uj, self.active_ns + gpu_ns
        else:
            self.idle_uj, self.idle_ns = self.idle_uj + energy_uj, self.idle_ns + gpu_ns


@dataclass(slots=True)
class JobSums:
    """Sums of a job's rows.

    Args:
        uses: what each of its workloads used.
        device_uj: energy of the job by GPU and host.
        devices: GPUs and hosts of its nodes, and how long they were metered on the days in which the job used the node.
        metered_at: when each device that the job used was metered as a whole, and on which node.
        cells_ns: GPU time of the job in each quarter of an hour.
    """

    uses: dict[Owner, NodeWorkload] = field(default_factory=dict)
    device_uj: dict[str, int] = field(default_factory=dict)
    spans: dict[tuple[Owner, str], EdgeSum] = field(default_factory=dict)
    devices: dict[Place, DeviceUsage] = field(default_factory=dict)
    metered_at: dict[str, list[tuple[int, int, str, str]]] = field(default_factory=dict)
    cells_ns: dict[int, int] = field(default_factory=dict)

    @classmethod
    def of(cls, record: EnergyRecord) -> "JobSums":
        """The sums of a record that has the rows of the job and of whole devices."""
        sums, used_on = cls(), set[tuple[int, str, str]]()
        for day_ns, cluster, node, device, workload, state, energy_uj, gpu_ns in record.rows(
            "holder_day", *_WHERE, "state", "energy_uj", "gpu_ns"
        ):
            if not (is_gpu(device) or is_host(device)):
                continue  # a part of a host, whose energy the host has
            used_on.add((day_ns, cluster, node))
            sums.uses.setdefault((cluster, node, workload), NodeWorkload()).add(device, state, energy_uj, gpu_ns)
            if device:
                sums.device_uj[device] = sums.device_uj.get(device, 0) + energy_uj
        for day_ns, *where, metered_ns, gap_uj, gap_ns, start_ns, end_ns, first_uj, inner_uj, last_uj in record.rows(
            "span_day", *_WHERE, "metered_ns", "gap_bound_uj", "gap_ns", *RUN
        ):
            cluster, node, device, workload = where
            if not (is_gpu(device) or is_host(device)):
                continue
            if workload:
                sums.add_span((cluster, node, workload), device, (start_ns, end_ns, first_uj, inner_uj, last_uj), gap_uj)
            elif (day_ns, cluster, node) in used_on:
                usage = sums.devices.setdefault((cluster, node, device), DeviceUsage())
                usage.metered_ns, usage.gap_ns = usage.metered_ns + metered_ns, usage.gap_ns + gap_ns
            if not workload and end_ns and device in sums.device_uj:
                sums.metered_at.setdefault(device, []).append((start_ns, end_ns, cluster, node))
        for _, cell_start_ns, gpu_ns in record.rows("workload_cell", "cell_start_ns", "gpu_ns"):
            sums.cells_ns[cell_start_ns] = sums.cells_ns.get(cell_start_ns, 0) + gpu_ns
        return sums

    def add_span(self, owner: Owner, device: str, run: Iterable[int], gap_uj: int) -> None:
        """Add an interval in which a workload used a device: start, end and its three edge errors. In their order."""
        start_ns, end_ns, *_ = numbers = tuple(run)
        span = self.spans.setdefault((owner, device), EdgeSum(SHARE_UNKNOWN))
        span.gap_uj += gap_uj
        if end_ns:
            span.follow(numbers)
            use = self.uses.setdefault(owner, NodeWorkload())
            use.first_ns = start_ns if use.first_ns is None else min(use.first_ns, start_ns)
            use.last_ns = end_ns if use.last_ns is None else max(use.last_ns, end_ns)

    def gpus_peak(self, first_ns: int, last_ns: int) -> float:
        """The largest mean of allocated GPUs over the part of a quarter of an hour that is in [first_ns, last_ns]."""
        parts = {start_ns: min(start_ns + CELL_NS, last_ns) - max(start_ns, first_ns) for start_ns in self.cells_ns}
        return max((gpu_ns / parts[start_ns] for start_ns, gpu_ns in self.cells_ns.items() if parts[start_ns] > 0), default=0.0)
