"""What is booked so far, summed the way /metrics shows it. Pure.

Sums are kept as they grow: what a second costs does not depend on how many workloads there have ever been on the node.
"""

import json
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from energy_agent.accounting.owner_energy import OTHER_OWNERS, OwnerEnergy
from energy_agent.core.boundary import is_gpu
from energy_agent.core.energy import Entry, Gap, Method, State, Steps, Tokens, WorkloadFacts
from energy_agent.core.job_identity import tenant_of
from energy_agent.core.snapshot import StepCount, TokenCount, WorkloadEnergy
from energy_agent.ledger.rows.kinds import INT64_MAX
from energy_agent.ledger.rows.totals import ENDED, Totals

NAMESPACES_MAX = 1_000
Key = TypeVar("Key")
UNATTRIBUTED = {s: s.unattributed_reason for s in State if s.unattributed_reason is not None}


@dataclass(slots=True)
class DeviceEnergy:
    """A device's totals in uJ. Counters start at 0 at first sight, so every reason is there from the start."""

    by_method: dict[Method, int] = field(default_factory=lambda: {Method.COUNTER: 0})
    unheld: int = 0
    unattributed: dict[str, int] = field(default_factory=lambda: dict.fromkeys(UNATTRIBUTED.values(), 0))

    def add(self, state: State, method: Method, uj: int) -> None:
        """Add a share of its energy."""
        self.by_method[method] = self.by_method.get(method, 0) + uj
        if state is State.UNHELD:
            self.unheld += uj
        elif state in UNATTRIBUTED:
            self.unattributed[UNATTRIBUTED[state]] += uj


@dataclass(slots=True)
class _Workload:
    energy_uj: dict[tuple[str, State, Method], int] = field(default_factory=dict)  # by device
    gpu_ns: dict[State, int] = field(default_factory=dict)
    tokens: dict[tuple[str, str], int] = field(default_factory=dict)  # by model and phase
    steps: dict[str, int] = field(default_factory=dict)  # by phase
    namespace: str = ""

    @property
    def gpus_uj(self) -> int:
        """Its energy on GPUs."""
        return sum(uj for (device, _, _), uj in self.energy_uj.items() if is_gpu(device))


@dataclass(slots=True)
class Booked:
    """The sums. Every joule of a device is in it once; a workload's on GPUs are in its namespace's as well.

    `forget` removes workloads that ended a while ago: their energy stays with devices, namespaces and owners.
    """

    devices: dict[str, DeviceEnergy] = field(default_factory=dict)
    gap_uj: dict[str, int] = field(default_factory=dict)
    namespace_uj: dict[str, int] = field(default_factory=dict)
    _owners: OwnerEnergy = field(default_factory=OwnerEnergy)
    _workloads: dict[str, _Workload] = field(default_factory=dict)
    _serving: dict[str, None] = field(default_factory=dict)  # those with tokens
    _forgotten_uj: dict[str, int] = field(default_factory=dict)  # by namespace

    @classmethod
    def of(cls, totals: Totals, facts: Iterable[WorkloadFacts], states: Mapping[str, str]) -> "Booked":
        """As the journal has it; `states` are those of `states_without`.

        Raises:
            ValueError: a state of energy of ended workloads is not one.
        """
        booked = cls(gap_uj=dict(totals.gap_bound_uj))
        for key, text in states.items():
            booked._restore_forgotten(json.loads(key), int(text))
        for fact in facts:
            booked.learn(fact)
        for (device, workload, state, method), uj in totals.energy.items():
            booked._add(device, workload, state, method, uj)
            if workload and is_gpu(device):
                booked.see(device, workload)
        for (workload, state), ns in totals.gpu_ns.items():
            if workload != ENDED:
                booked._workload(workload).gpu_ns[state] = ns
        for (workload, model, phase), tokens in totals.tokens.items():
            if workload != ENDED:
                booked._add_tokens(workload, model, phase, tokens)
        for (workload, phase), steps in totals.steps.items():
            if workload != ENDED:
                booked._add_steps(workload, phase, steps)
        return booked

    @property
    def owner_uj(self) -> Mapping[tuple[str, str], int]:
        """Energy by namespace and owner."""
        return self._owners.uj

    def _restore_forgotten(self, key: object, uj: int) -> None:
        match key:
            case [str(namespace)]:
                self.namespace_uj[namespace] = self._forgotten_uj[namespace] = uj
            case [str(namespace), str(owner)]:
                self._owners.restore((namespace, owner), uj)
            case _:
                raise ValueError("not a namespace and an owner")

    def learn(self, fact: WorkloadFacts) -> None:
        """What a workload has used belongs to its namespace and owner. The first that are known stay: no sum may fall."""
        workload, namespace = self._workload(fact.workload), fact.labels.get("namespace", "")
        known = namespace in self.namespace_uj or len(self.namespace_uj) < NAMESPACES_MAX
        shown = namespace if known or not namespace else OTHER_OWNERS
        if not workload.namespace:
            self._in_namespace(shown, workload.gpus_uj)
            workload.namespace = shown
        if owner := fact.labels.get("owner", ""):
            self._owners.join(fact.workload, (workload.namespace, owner), tenant_of(fact.kind, fact.labels), workload.gpus_uj)

    def see(self, device: str, workload: str) -> None:
        """A workload holds a device; its counters are there, at 0, before its first joule."""
        held = self._workload(workload)
        for state in (State.ACTIVE, State.IDLE):
            held.energy_uj.setdefault((device, state, Method.COUNTER), 0)
            held.gpu_ns.setdefault(state, 0)

    def add(
        self, entries: Iterable[Entry], gaps: Iterable[Gap], tokens: Iterable[Tokens], steps: Iterable[Steps] = ()
    ) -> set[str]:
        """Add what was committed; return workloads of which a count has just stopped at the largest that the ledger stores."""
        for entry in entries:
            self._add(entry.device, entry.workload, entry.state, entry.method, entry.energy_uj)
            if entry.workload:
                gpu_ns = self._workload(entry.workload).gpu_ns
                gpu_ns[entry.state] = gpu_ns.get(entry.state, 0) + entry.gpu_ns
        for gap in gaps:
            self.gap_uj[gap.device] = self.gap_uj.get(gap.device, 0) + gap.bound_uj
        full = {row.workload for row in tokens if self._add_tokens(row.workload, row.model, row.phase, row.tokens)}
        return full | {count.workload for count in steps if self._add_steps(count.workload, count.phase, count.steps)}

    def workloads(self) -> Collection[str]:
        """All workloads that are not forgotten."""
        return self._workloads.keys()

    def states_without(self, workloads: Iterable[str]) -> dict[str, str]:
        """Energy of ended workloads that changes when these are forgotten, by namespace, and owner, as a list of JSON."""
        gone = self._energies(workloads)
        states = {json.dumps([key]): str(uj) for key, uj in self._forgotten_with(gone).items()}
        of_owners = self._owners.states_without(gone).items()
        return states | {json.dumps(key): "" if uj is None else str(uj) for key, uj in of_owners}

    def forget(self, workloads: Collection[str]) -> None:
        """Remove workloads; what they used stays in all sums. One that returns begins at 0."""
        gone = self._energies(workloads)
        self._forgotten_uj |= self._forgotten_with(gone)
        self._owners.leave(gone)
        for name in gone:
            self._workloads.pop(name, None)
            self._serving.pop(name, None)

    def _energies(self, workloads: Iterable[str]) -> dict[str, int]:
        return {name: self._workload(name).gpus_uj for name in workloads}

    def _forgotten_with(self, gone: Mapping[str, int]) -> dict[str, int]:
        sums: dict[str, int] = {}
        for name, uj in gone.items():
            if key := self._workload(name).namespace:
                sums[key] = sums.get(key, self._forgotten_uj.get(key, 0)) + uj
        return sums

    def energy(self, workloads: Iterable[str], devices: Collection[str]) -> Iterator[WorkloadEnergy]:
        """Energy of workloads on devices."""
        for name in workloads:
            for (device, state, method), uj in self._workload(name).energy_uj.items():
                if device in devices:
                    yield WorkloadEnergy(name, device, state, method, uj)

    def gpu_ns(self, workloads: Iterable[str]) -> dict[tuple[str, State], int]:
        """Device time held by workloads."""
        return {(name, state): ns for name in workloads for state, ns in self._workload(name).gpu_ns.items()}

    def tokens(self, workloads: Collection[str]) -> Iterator[TokenCount]:
        """Tokens of workloads, and of those that never held a device (a gateway): whether they have ended is not known here."""
        for name in self._serving:
            workload = self._workload(name)
            if name in workloads or not workload.energy_uj:
                for (model, phase), count in workload.tokens.items():
                    yield TokenCount(name, model, phase, count)

    def steps(self, workloads: Iterable[str]) -> Iterator[StepCount]:
        """Steps of workloads."""
        for name in workloads:
            for phase, count in self._workload(name).steps.items():
                yield StepCount(name, phase, count)

    def _add(self, device: str, workload: str, state: State, method: Method, uj: int) -> None:
        of_device = self.devices.get(device)
        if of_device is None:
            of_device = self.devices[device] = DeviceEnergy()
        of_device.add(state, method, uj)
        if workload:
            held = self._workload(workload)
            key = (device, state, method)
            held.energy_uj[key] = held.energy_uj.get(key, 0) + uj
            if is_gpu(device):
                self._in_namespace(held.namespace, uj)
                self._owners.add(workload, uj)

    def _add_tokens(self, workload: str, model: str, phase: str, tokens: int) -> bool:
        self._serving[workload] = None
        return _add_count(self._workload(workload).tokens, (model, phase), tokens)

    def _add_steps(self, workload: str, phase: str, steps: int) -> bool:
        return _add_count(self._workload(workload).steps, phase, steps)

    def _in_namespace(self, namespace: str, uj: int) -> None:
        if namespace:
            self.namespace_uj[namespace] = self.namespace_uj.get(namespace, 0) + uj

    def _workload(self, name: str) -> _Workload:
        found = self._workloads.get(name)
        if found is None:
            found = self._workloads[name] = _Workload()
        return found


def _add_count(counts: dict[Key, int], key: Key, amount: int) -> bool:
    """Add to a count, which stops at int64 as the journal's does; return whether it has just done so."""
    before = counts.get(key, 0)
    counts[key] = min(before + amount, INT64_MAX)
    return before < INT64_MAX <= before + amount
