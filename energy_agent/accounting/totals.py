"""Totals of the journal as /metrics shows them: by device, workload, namespace and owner. Pure.

Each snapshot adds up the journal's totals. This module adds what the journal does not have: the namespace and owner of each
workload, and the energy of ended workloads by namespace and owner.
"""

import json
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from energy_agent.accounting.owner_energy import OTHER_OWNERS, OwnerEnergy
from energy_agent.core.boundary import is_gpu
from energy_agent.core.energy import REQUEST, Method, State, Steps, Tokens, WorkloadFacts
from energy_agent.core.snapshot import StepCount, TokenCount, WorkloadEnergy
from energy_agent.core.workloads.job_identity import tenant_of
from energy_agent.ledger.rows.kinds import INT64_MAX
from energy_agent.ledger.rows.totals import ENDED, Totals

NAMESPACES_MAX = 1_000
_HELD = (State.ACTIVE, State.IDLE)
UNATTRIBUTED = {s: s.unattributed_reason for s in State if s.unattributed_reason is not None}


@dataclass(slots=True)
class DeviceTotals:
    """A device's totals in uJ; every reason is there from the start."""

    by_method: dict[Method, int] = field(default_factory=dict)
    unallocated: int = 0
    unattributed: dict[str, int] = field(default_factory=lambda: dict.fromkeys(UNATTRIBUTED.values(), 0))

    def add(self, state: State, method: Method, uj: int) -> None:
        """Add a share of its energy."""
        self.by_method[method] = self.by_method.get(method, 0) + uj
        if state is State.UNALLOCATED:
            self.unallocated += uj
        elif state in UNATTRIBUTED:
            self.unattributed[UNATTRIBUTED[state]] += uj


@dataclass(slots=True)
class CommittedTotals:
    """The totals at one moment. Every joule of a device is in it once; a workload's on GPUs are in its namespace's as well."""

    totals: Totals
    devices: dict[str, DeviceTotals] = field(default_factory=dict)
    namespace_uj: dict[str, int] = field(default_factory=dict)
    owner_uj: dict[tuple[str, str], int] = field(default_factory=dict)
    workload_uj: dict[str, dict[tuple[str, State, Method], int]] = field(default_factory=dict)
    """Energy by workload, of each by device, state and method."""

    def energy(self, workloads: Iterable[str], devices: Collection[str]) -> Iterator[WorkloadEnergy]:
        """Energy of workloads on devices."""
        for name in workloads:
            for (device, state, method), uj in self.workload_uj.get(name, {}).items():
                if device in devices:
                    yield WorkloadEnergy(name, device, state, method, uj)

    def gpu_ns(self, workloads: Collection[str]) -> dict[tuple[str, State], int]:
        """Device time held by workloads."""
        timed = self.workload_uj.keys() | {name for name, _ in self.totals.gpu_ns}
        gpu_ns = {(name, state): 0 for name in workloads if name in timed for state in _HELD}
        return gpu_ns | {key: ns for key, ns in self.totals.gpu_ns.items() if key[0] in workloads}

    def tokens(self, workloads: Collection[str]) -> Iterator[TokenCount]:
        """Tokens of workloads, and of those that never held a device (a gateway): whether they have ended is not known here."""
        for (name, model, phase), count in self.totals.tokens.items():
            if phase != REQUEST and name != ENDED and (name in workloads or name not in self.workload_uj):
                yield TokenCount(name, model, phase, count)

    def steps(self, workloads: Collection[str]) -> Iterator[StepCount]:
        """Steps of workloads."""
        for (name, phase), count in self.totals.steps.items():
            if name in workloads:
                yield StepCount(name, phase, count)


@dataclass(slots=True)
class RecordedTotals:
    """Namespaces and owners of the workloads in `totals`, which each commit of the journal changes.

    A workload that ended leaves with a commit; its energy stays with its namespace and owner.
    """

    totals: Totals = field(default_factory=Totals)
    _namespace_of: dict[str, str] = field(default_factory=dict)  # of each workload that is known; "" where it has none
    _devices_of: dict[str, dict[str, Method]] = field(default_factory=dict)
    """GPUs with a sensor that a workload was seen to hold, and how their energy is measured."""
    _ended_uj: dict[str, int] = field(default_factory=dict)  # energy of ended workloads by namespace
    _owners: OwnerEnergy = field(default_factory=OwnerEnergy)
    _namespaces: set[str] = field(default_factory=set)
    _leaving: dict[str, int | None] = field(default_factory=dict)
    """With the commit under way: energy on GPUs by workload; None where no sensor saw any."""
    _full: set[str] = field(default_factory=set)  # workloads of which a count stands at the largest

    @classmethod
    def of(cls, totals: Totals, facts: Iterable[WorkloadFacts], states: Mapping[str, str]) -> "RecordedTotals":
        """As the journal has it; `states` is the energy of ended workloads, by a list of namespace and owner.

        Raises:
            ValueError: a state of energy of ended workloads is not one.
        """
        recorded = cls(totals)
        for key, text in states.items():
            recorded._restore_ended(json.loads(key), int(text))
        for fact in facts:
            recorded.learn(fact)
        for device, workload, _, method in totals.energy:
            if workload and is_gpu(device):
                recorded.see(device, workload, method)
        recorded._full = set(recorded._full_counts())
        return recorded

    def _restore_ended(self, key: object, uj: int) -> None:
        match key:
            case [str(namespace)]:
                self._ended_uj[namespace] = uj
                self._namespaces.add(namespace)
            case [str(namespace), str(owner)]:
                self._owners.restore((namespace, owner), uj)
            case _:
                raise ValueError("expected a namespace and an owner")

    def learn(self, fact: WorkloadFacts) -> None:
        """What a workload has used belongs to its namespace and owner. The first that are known stay: no sum may fall."""
        namespace = fact.labels.get("namespace", "")
        if namespace and not self._namespace_of.get(fact.workload):
            is_named = namespace in self._namespaces or len(self._namespaces) < NAMESPACES_MAX
            self._namespace_of[fact.workload] = namespace if is_named else OTHER_OWNERS
            self._namespaces.add(self._namespace_of[fact.workload])
        mine = self._namespace_of.setdefault(fact.workload, "")
        if owner := fact.labels.get("owner", ""):
            self._owners.join(fact.workload, (mine, owner), tenant_of(fact.kind, fact.labels))

    def see(self, device: str, workload: str, method: Method = Method.COUNTER) -> None:
        """A workload holds a GPU that has a sensor; its counters are there, at 0, before its first joule."""
        self._devices_of.setdefault(workload, {}).setdefault(device, method)

    def sums(self) -> CommittedTotals:
        """The totals by device, workload, namespace and owner."""
        sums, by_device = CommittedTotals(self.totals), dict[tuple[str, State, Method], int]()
        workload_uj, gpus_uj = sums.workload_uj, dict.fromkeys(self._devices_of, 0)
        for workload, devices in self._devices_of.items():
            workload_uj[workload] = {(device, state, method): 0 for device, method in devices.items() for state in _HELD}
        for (device, workload, state, method), uj in self.totals.energy.items():
            key = (device, state, method)
            by_device[key] = by_device.get(key, 0) + uj
            if workload:
                if workload in workload_uj:
                    workload_uj[workload][key] = uj
                else:
                    workload_uj[workload] = {key: uj}
                if is_gpu(device):
                    gpus_uj[workload] = gpus_uj.get(workload, 0) + uj
        for (device, state, method), uj in by_device.items():
            sums.devices.setdefault(device, DeviceTotals()).add(state, method, uj)
        sums.namespace_uj = dict(self._ended_uj)
        for workload, uj in gpus_uj.items():
            if namespace := self._namespace_of.get(workload):
                sums.namespace_uj[namespace] = sums.namespace_uj.get(namespace, 0) + uj
        sums.owner_uj = self._owners.sums(gpus_uj)
        return sums

    def find_full(self, tokens: Iterable[Tokens], steps: Iterable[Steps]) -> set[str]:
        """Workloads of which one of these counts has just stopped at the largest that the ledger stores."""
        counted = {count.workload for count in tokens} | {count.workload for count in steps}
        full = {name for name in self._full_counts() if name in counted} - self._full
        self._full |= full
        return full

    def _full_counts(self) -> Iterator[str]:
        for counts in (self.totals.tokens, self.totals.steps):
            yield from (key[0] for key, count in counts.items() if count >= INT64_MAX)

    def workloads(self) -> Collection[str]:
        """All workloads that are not forgotten."""
        totals = self.totals
        named = {key[0]: None for part in (totals.gpu_ns, totals.tokens, totals.steps) for key in part if key[0] != ENDED}
        return (self._namespace_of | dict.fromkeys(self._devices_of, "") | named).keys()

    def states_without(self, workloads: Collection[str]) -> dict[str, str]:
        """States of the journal that change with the commit with which these workloads leave."""
        self._leaving = {workload: 0 if workload in self._devices_of else None for workload in workloads}
        for (device, workload, *_), uj in self.totals.energy.items() if workloads else ():
            if workload in self._leaving and is_gpu(device):
                self._leaving[workload] = uj + (self._leaving[workload] or 0)
        states = {json.dumps([key]): str(uj) for key, uj in self._ended_with_leaving().items()}
        of_owners = self._owners.states_without(self._leaving).items()
        return states | {json.dumps(key): "" if uj is None else str(uj) for key, uj in of_owners}

    def forget(self) -> None:
        """The commit is done: forget the workloads that left with it. One that returns begins at 0."""
        self._ended_uj |= self._ended_with_leaving()
        self._owners.leave(self._leaving)
        for name in self._leaving:
            self._namespace_of.pop(name, None)
            self._devices_of.pop(name, None)
        self._leaving = {}

    def _ended_with_leaving(self) -> dict[str, int]:
        sums: dict[str, int] = {}
        for name, uj in self._leaving.items():
            if uj is not None and (key := self._namespace_of.get(name)):
                sums[key] = sums.get(key, self._ended_uj.get(key, 0)) + uj
        return sums
