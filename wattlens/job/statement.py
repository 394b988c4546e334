"""The result of `wattlens job`: energy of one job with its parts. Pure.

Laws:

- Active and idle energy sum to the energy of the job, and so does the energy of its nodes, in whole uJ. Each report checks it.
- The energy is that of the job's row in `wattlens usage --by owner` of the same source and period. Tests compare both.

Bounds follow `wattlens usage`: errors of sensors and edges add up linearly.

Steps of a job over nodes follow from the steps that each of its workloads counted. All ranks take a step together, and each
node counts it. So steps of two workloads in overlapping intervals may be the same, and steps in intervals that follow each
other are not. The count follows one workload as long as it counts and goes on to another where it stops: each change may count
the steps of a report twice, because nodes report at different times. It is exact where at each time some workload counted,
whichever nodes came and went.
"""

from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import Final, NamedTuple

from energy_agent.core.energy import REQUEST, State
from energy_agent.core.errors import WattlensError
from energy_agent.core.quantity import Quantity, exactly, no_quantity
from energy_agent.core.units import NS_PER_S, UJ_PER_J
from energy_agent.core.workloads.job_identity import job_address
from energy_agent.ledger.rows.kinds import CELL_NS
from reports.figures.energy import BoundedEnergy, held_energy
from reports.ledger import gains
from reports.ledger.attribution import parse_labels
from reports.ledger.gained import read_parts
from reports.ledger.reading import refuse_twice
from reports.ledger.store import DayDatabase
from reports.ledger.sums import MeteredNode, TokenTotal
from wattlens.usage.job_address import JobAddress, single_address
from wattlens.usage.opened import OpenLedger
from wattlens.usage.rates import ElectricityPrice, times_energy
from wattlens.usage.record import Owner
from wattlens.usage.sums import why_gpus_only

TRAINING: Final = "training"
_JOB: Final = 1  # the part of the tables that is the job's
REPORT_NS: Final = 2 * NS_PER_S
"""Ranks report once per second, so two intervals that overlap by no more than two reports follow each other."""
NO_STEPS: Final = "no steps were reported (wattlens.step)"
NO_TOKENS: Final = "no tokens were recorded"
GENERATION: Final = "generation"
_LABELS: Final = ("user", "account", "namespace", "team", "project", "model", "partition", "job_name")


@dataclass(slots=True)
class NodeWorkload:
    """What one workload used on one node: uJ and ns of GPU time, by whether a kernel ran, and its share of the host's uJ.

    `gpu_ns` is when its first and last reading of a GPU were.
    """

    active_uj: int = 0
    idle_uj: int = 0
    host_active_uj: int = 0
    host_idle_uj: int = 0
    active_ns: int = 0
    idle_ns: int = 0
    gpus: set[str] = field(default_factory=set)
    hosts: set[str] = field(default_factory=set)
    first_ns: int | None = None
    last_ns: int | None = None
    gpu_ns: tuple[int, int] | None = None

    def add(self, device: str, device_class: str, state: str, energy_uj: int, gpu_ns: int) -> None:
        """Add energy and GPU time on a device."""
        if device_class == "host":
            self.hosts.add(device)
            self.host_active_uj += energy_uj if state == State.ACTIVE else 0
            self.host_idle_uj += 0 if state == State.ACTIVE else energy_uj
            return
        if device:
            self.gpus.add(device)
        if state == State.ACTIVE:
            self.active_uj, self.active_ns = self.active_uj + energy_uj, self.active_ns + gpu_ns
        else:
            self.idle_uj, self.idle_ns = self.idle_uj + energy_uj, self.idle_ns + gpu_ns


class StepInterval(NamedTuple):
    """Steps that one workload counted over [start_ns, end_ns)."""

    owner: Owner
    start_ns: int
    end_ns: int
    steps: int


class _Chain(NamedTuple):
    """Intervals that follow each other: double their worth, and their steps. Of equal ones that of fewer steps is the greater:
    it follows the workloads longer.
    """

    worth: int
    minus_steps: int


class _Chains:
    """The best chains by the end of their last interval, which never falls."""

    def __init__(self) -> None:
        self.ends: list[int] = []
        self.best = [_Chain(0, 0)]

    def before(self, at_ns: int) -> _Chain:
        return self.best[bisect_right(self.ends, at_ns)]

    def add(self, end_ns: int, chain: _Chain) -> None:
        self.ends.append(end_ns)
        self.best.append(max(self.best[-1], chain))


def count_steps(intervals: Iterable[StepInterval], overlap_ns: int = REPORT_NS) -> int:
    """Steps of the best chain of intervals of which no two overlap by more than `overlap_ns` (weighted interval scheduling).

    A chain is worth its steps, less half of those of the first interval of each workload in turn. So a few steps that another
    node reported within an interval, and this one in the next, do not add up.
    """
    all_chains, of_owner = _Chains(), dict[Owner, _Chains]()
    for each in sorted((each for each in intervals if each.steps > 0), key=lambda each: (each.end_ns, each)):
        at_ns = each.start_ns + min(overlap_ns, (each.end_ns - each.start_ns) // 2)
        owner_chains = of_owner.setdefault(each.owner, _Chains())
        changed, same = all_chains.before(at_ns), owner_chains.before(at_ns)
        chain = _Chain(changed.worth + each.steps, changed.minus_steps - each.steps)
        if same.minus_steps:
            chain = max(chain, _Chain(same.worth + 2 * each.steps, same.minus_steps - each.steps))
        all_chains.add(each.end_ns, chain)
        owner_chains.add(each.end_ns, chain)
    return -all_chains.best[-1].minus_steps


@dataclass(frozen=True, slots=True)
class JobNode:
    """The part of one node. `workloads` are the job's pods or Slurm jobs on it, `gpus` the different GPUs that they held."""

    cluster: str
    node: str
    workloads: int
    gpus: int
    energy_uj: int
    idle_uj: int
    gpu_ns: int
    first_ns: int
    last_ns: int


@dataclass(frozen=True, slots=True)
class JobReport:
    """One job over the period of the ledger.

    Args:
        address: k8s/NAMESPACE/KIND/NAME or slurm/JOB.
        source: where the energy comes from, for people.
        labels: user, account, namespace, team, model and others, where all workloads have one value.
        first_ns, last_ns: first and last reading while the job held a GPU.
        energy: with its bounds; of GPUs, or of whole nodes where `whole_nodes`.
        active_uj: while a kernel ran on the GPU.
        idle_uj: while the GPU was allocated to the job and no kernel ran.
        gpu_uj: part of the energy that GPUs drew; the rest is of the hosts.
        active_ns, idle_ns: GPU time.
        gpus_peak: largest number of GPUs at once: mean of the job's part of a quarter of an hour.
        workloads: pods or Slurm jobs over the life of the job, with the replaced ones.
        steps: by phase, of the whole job.
        tokens: by phase, of all ranks or engines.
        phases: GPU energy in uJ and GPU time in ns of phases other than training, such as checkpoint; part of the energy.
    """

    address: str
    source: str
    labels: Mapping[str, str]
    first_ns: int
    last_ns: int
    energy: BoundedEnergy
    active_uj: int
    idle_uj: int
    gpu_uj: int
    active_ns: int
    idle_ns: int
    gpus: int
    gpus_peak: float
    nodes: tuple[JobNode, ...]
    workloads: int
    steps: Mapping[str, int]
    tokens: Mapping[str, int]
    phases: Mapping[str, tuple[int, int]]
    whole_nodes: bool
    gpus_only: str
    simulated: bool
    cost: Quantity = field(default_factory=lambda: no_quantity("no price given (--price)"))
    currency: str = ""
    carbon: Quantity = field(default_factory=lambda: no_quantity("no grid carbon intensity given (--carbon)"))

    def __post_init__(self) -> None:
        """Check that parts sum to the whole.

        Raises:
            ValueError: they do not: a fault of Wattlens.
        """
        whole_uj = self.energy.energy_uj
        for name, uj in (
            ("active and idle energy", self.active_uj + self.idle_uj),
            ("energy of nodes", sum(node.energy_uj for node in self.nodes)),
        ):
            if uj != whole_uj:
                raise ValueError(f"{self.address}: {name} of the job: expected {whole_uj} uJ, got {uj} uJ")

    @property
    def step_count(self) -> int:
        """Training steps."""
        return self.steps.get(TRAINING, 0)

    @property
    def token_count(self) -> tuple[int, str]:
        """Tokens that energy is divided by and their phase: trained tokens, else generated ones."""
        trained = self.tokens.get(TRAINING, 0)
        return (trained, TRAINING) if trained else (self.tokens.get(GENERATION, 0), GENERATION)

    @property
    def joules_per_step(self) -> Quantity:
        """Joules per training step, with the bounds of the energy."""
        return self._per(self.step_count, NO_STEPS)

    @property
    def joules_per_token(self) -> Quantity:
        """Joules per trained or generated token, with the bounds of the energy."""
        return self._per(self.token_count[0], NO_TOKENS)

    def _per(self, count: int, reason: str) -> Quantity:
        return self.energy.quantity / exactly(UJ_PER_J * count) if count else no_quantity(reason)


def report_of(opened: OpenLedger, address: JobAddress) -> JobReport:
    """The statement of one job.

    Raises:
        WattlensError: the ledger holds nothing of the job, or several owners have its name.
    """
    store = opened.store
    members = _find_members(store, address)
    uses = _sum_uses(store) if members else {}
    if not uses:
        raise WattlensError(f"{address.text}: no energy of this job found in {opened.source}")
    nodes = store.records(MeteredNode, "nodes")
    whole = bool(nodes) and all(node.whole for node in nodes)
    classes = ("gpu", "host") if whole else ("gpu",)
    parts = [row for row in read_parts(store) if row.part == _JOB and row.device_class in classes]
    no_device = not any(use.gpus or (whole and use.hosts) for use in uses.values())
    energy = held_energy(parts) + BoundedEnergy(open=int(no_device))  # device time alone says nothing about energy
    active_uj, idle_uj = _active_and_idle(uses.values(), whole)
    tokens: dict[str, int] = {}
    store.sum_by_day()
    for counted in store.records(TokenTotal, "tokens"):
        if counted.part == _JOB and counted.phase != REQUEST:
            tokens[counted.phase] = tokens.get(counted.phase, 0) + counted.tokens
    steps: dict[str, list[StepInterval]] = {}
    for phase, *owner, start_ns, end_ns, count in store.answer("counted_steps"):
        steps.setdefault(phase, []).append(StepInterval((owner[0], owner[1], owner[2]), start_ns, end_ns, count))
    first_ns = min((use.gpu_ns[0] for use in uses.values() if use.gpu_ns), default=opened.start_ns)
    last_ns = max((use.gpu_ns[1] for use in uses.values() if use.gpu_ns), default=opened.end_ns)
    gpus = len({gpu for use in uses.values() for gpu in use.gpus})
    peak = gpus_peak({start_ns: int(gpu_ns) for start_ns, gpu_ns in store.answer("quarters")}, first_ns, last_ns)
    return JobReport(
        address=single_address(address, [job_address(kind, labels) for kind, labels in members]),
        source=opened.source,
        labels=_common_labels([labels for _, labels in members]),
        first_ns=first_ns,
        last_ns=last_ns,
        energy=energy,
        active_uj=active_uj,
        idle_uj=idle_uj,
        gpu_uj=sum(use.active_uj + use.idle_uj for use in uses.values()),
        active_ns=sum(use.active_ns for use in uses.values()),
        idle_ns=sum(use.idle_ns for use in uses.values()),
        gpus=gpus,
        gpus_peak=min(float(gpus), peak),  # readings begin up to a second late
        nodes=_nodes(opened, uses, whole),
        workloads=len({owner[2] for owner in uses}),
        steps={phase: count for phase, rows in sorted(steps.items()) if (count := count_steps(rows))},
        tokens=tokens,
        phases={phase: (int(uj), int(gpu_ns)) for phase, uj, gpu_ns in store.answer("phases")},
        whole_nodes=whole,
        gpus_only="" if whole else why_gpus_only(nodes),
        simulated=opened.simulated,
    )


def _find_members(store: DayDatabase, address: JobAddress) -> list[tuple[str, dict[str, str]]]:
    """Restrict the tables to the job's workloads; returns kind and last labels of each."""
    if address.scheduler == "slurm":
        terms = (f"slurm-{address.name}", f'{address.name}"', "")
    else:
        terms = ("", f'"namespace":"{address.namespace}"', f'{address.name}"')
    latest: dict[Owner, tuple[str, dict[str, str]]] = {}
    for cluster, node, workload, kind, text, _, _ in store.answer("candidates", terms):
        labels = parse_labels(text, (cluster, node, workload))
        if address.matches(workload, kind, labels):
            latest[cluster, node, workload] = kind, labels
    if latest:
        columns = {**dict.fromkeys(("cluster", "node", "workload"), "VARCHAR"), "holder": "INTEGER"}
        store.table("member", columns, ((*owner, number) for number, owner in enumerate(latest, 1)))
        store.run("job")
        refuse_twice(store)
        store.run("job_used")
        store.run("used")
        store.run("classed")
        gains.create(store)
    return list(latest.values())


def _sum_uses(store: DayDatabase) -> dict[Owner, NodeWorkload]:
    uses: dict[Owner, NodeWorkload] = {}
    for cluster, node, workload, device, device_class, state, energy_uj, gpu_ns in store.answer("uses"):
        use = uses.setdefault((cluster, node, workload), NodeWorkload())
        use.add(device, device_class, state, int(energy_uj), int(gpu_ns))
    for cluster, node, workload, *times in store.answer("times"):
        use = uses.setdefault((cluster, node, workload), NodeWorkload())
        use.first_ns, use.last_ns, *of_gpu = (None if each is None else int(each) for each in times)
        if None not in of_gpu:
            use.gpu_ns = (of_gpu[0] or 0, of_gpu[1] or 0)
    return uses


def gpus_peak(quarters_ns: Mapping[int, int], first_ns: int, last_ns: int) -> float:
    """The largest mean of allocated GPUs over the part of a quarter of an hour that is in [first_ns, last_ns].

    Args:
        quarters_ns: GPU time by the start of each quarter.
        first_ns: when the job first held a GPU.
        last_ns: when it last did.
    """
    parts = {start_ns: min(start_ns + CELL_NS, last_ns) - max(start_ns, first_ns) for start_ns in quarters_ns}
    return max((gpu_ns / parts[start_ns] for start_ns, gpu_ns in quarters_ns.items() if parts[start_ns] > 0), default=0.0)


def _active_and_idle(uses: Iterable[NodeWorkload], whole: bool) -> tuple[int, int]:
    """Active and idle energy in uJ of GPUs, or of whole nodes."""
    active_uj = idle_uj = 0
    for use in uses:
        active_uj += use.active_uj + (use.host_active_uj if whole else 0)
        idle_uj += use.idle_uj + (use.host_idle_uj if whole else 0)
    return active_uj, idle_uj


def _nodes(opened: OpenLedger, uses: Mapping[Owner, NodeWorkload], whole: bool) -> tuple[JobNode, ...]:
    by_node: dict[tuple[str, str], list[NodeWorkload]] = {}
    for (cluster, node, _), use in uses.items():
        by_node.setdefault((cluster, node), []).append(use)
    nodes = []
    for (cluster, node), of_node in by_node.items():
        active_uj, idle_uj = _active_and_idle(of_node, whole)
        nodes.append(
            JobNode(
                cluster,
                node,
                len(of_node),
                len({gpu for use in of_node for gpu in use.gpus}),
                active_uj + idle_uj,
                idle_uj,
                sum(use.active_ns + use.idle_ns for use in of_node),
                min((use.first_ns for use in of_node if use.first_ns is not None), default=opened.start_ns),
                max((use.last_ns for use in of_node if use.last_ns is not None), default=opened.end_ns),
            )
        )
    return tuple(sorted(nodes, key=lambda node: (-node.energy_uj, node.cluster, node.node)))


def _common_labels(workloads: Sequence[Mapping[str, str]]) -> dict[str, str]:
    """Labels that all workloads of the job have alike."""
    return {
        name: value
        for name in _LABELS
        if (value := workloads[0].get(name, "")) and all(labels.get(name) == value for labels in workloads)
    }


def with_rates(report: JobReport, price: ElectricityPrice | None, grams_per_kwh: Fraction | None) -> JobReport:
    """The statement with cost and grams of CO2e at one price and one carbon intensity, where they are given."""
    if price is not None:
        report = replace(report, cost=times_energy(report.energy, price.per_kwh), currency=price.currency)
    if grams_per_kwh is not None:
        report = replace(report, carbon=times_energy(report.energy, grams_per_kwh))
    return report
