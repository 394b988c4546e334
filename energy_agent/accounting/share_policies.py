"""The label `share` of a workload: the policies by which it shares its devices. Pure.

The ledger stores it as a label of the workload with the time from which it applies, so that a report can group energy by the
method of attribution.
"""

from collections.abc import Collection
from dataclasses import dataclass, field, replace

from energy_agent.core.energy import WorkloadFacts

SHARE = "share"


@dataclass(slots=True)
class SharePolicyLabels:
    """Sharing policies of the workloads that have a device now."""

    _by_device: dict[str, tuple[str, frozenset[str]]] = field(default_factory=dict)  # policy and owners
    _policies: dict[str, dict[str, str]] = field(default_factory=dict)  # workload -> device -> policy

    def update(self, device: str, policy: str, workloads: Collection[str]) -> list[str]:
        """Take note of who holds a device by which policy; returns those of them whose fact may have changed."""
        now = (policy, frozenset(workloads) if policy else frozenset())
        before = self._by_device.get(device, ("", frozenset()))
        if now == before:
            return []
        self._by_device[device] = now
        for workload in before[1] - now[1]:
            del self._policies[workload][device]
            if not self._policies[workload]:
                del self._policies[workload]
        for workload in now[1]:
            self._policies.setdefault(workload, {})[device] = policy
        return sorted(now[1])

    def apply(self, fact: WorkloadFacts, previous: WorkloadFacts | None) -> WorkloadFacts:
        """Return the fact with its current sharing policies joined by `+`, or with the previous label if none is current."""
        policies = self._policies.get(fact.workload)
        share = previous.labels.get(SHARE) if previous is not None else None
        if policies:
            share = "+".join(sorted(set(policies.values())))
        if share is None or fact.labels.get(SHARE) == share:
            return fact
        return replace(fact, labels={**fact.labels, SHARE: share})
