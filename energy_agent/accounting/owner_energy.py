"""Energy by owner, of a bounded number of owners. Pure.

A pod's labels name its owner, so a user who may create pods can name any number of owners. Tenants therefore share OWNERS_MAX
by max-min fairness: where there are more, the tenant with the most gives up one of its own, the one that ended first, else
the newest. The energy of that owner goes on in `(other)` of its namespace, so that the sum over owners stays the same.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

OWNERS_MAX = 1_000
OTHER_OWNERS = "(other)"
"""Where the energy of further owners and namespaces goes, so that a node of many short jobs keeps a bounded page."""

Owner = tuple[str, str]
"""Its namespace and name."""


@dataclass(slots=True)
class _Tenant:
    """Owners of one tenant, each in order: of their first workload, of their last one's end."""

    live: dict[Owner, None] = field(default_factory=dict)
    ended: dict[Owner, None] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.live) + len(self.ended)


@dataclass(slots=True)
class OwnerEnergy:
    """Whose energy a workload's is. A workload stays with the owner that it joined first."""

    limit: int = OWNERS_MAX
    _ended_uj: dict[Owner, int] = field(default_factory=dict)  # of workloads that left
    _of_workload: dict[str, Owner] = field(default_factory=dict)
    _living: dict[Owner, int] = field(default_factory=dict)  # how many workloads
    _tenants: dict[str, _Tenant] = field(default_factory=dict)
    _tenant_of: dict[Owner, str] = field(default_factory=dict)
    _moved: set[Owner] = field(default_factory=set)  # since the last commit

    def restore(self, owner: Owner, uj: int) -> None:
        """Add an owner whose workloads all ended; of one without a namespace the tenant is not known any more."""
        self._ended_uj[owner] = uj
        if owner[1] != OTHER_OWNERS:
            tenant = self._tenant_of[owner] = f"pod {owner[0]}" if owner[0] else ""
            self._tenants.setdefault(tenant, _Tenant()).ended[owner] = None

    def sums(self, gpus_uj: Mapping[str, int]) -> dict[Owner, int]:
        """Energy in uJ by owner, ended workloads included; `gpus_uj` is that of the workloads that are there, if metered."""
        sums = dict(self._ended_uj)
        for workload, uj in gpus_uj.items():
            if owner := self._of_workload.get(workload):
                sums[owner] = sums.get(owner, 0) + uj
        return sums

    def join(self, workload: str, owner: Owner, tenant: str) -> None:
        """Give a workload its owner.

        Args:
            workload: a workload that has none yet.
            owner: its namespace, one of a bounded number, and its name.
            tenant: the namespace, Slurm user or uid that names such owners; its owners share the limit.
        """
        if workload in self._of_workload:
            return
        if owner[0] != OTHER_OWNERS:
            self._place(owner, tenant)
        if owner not in self._tenant_of:
            owner = (owner[0], OTHER_OWNERS)
        self._of_workload[workload] = owner
        self._living[owner] = self._living.get(owner, 0) + 1

    def states_without(self, leaving: Mapping[str, int | None]) -> dict[Owner, int | None]:
        """Energy of ended workloads that changes when these leave, by owner; None: the owner has no series any more."""
        sums = {owner: self._ended_uj.get(owner) for owner in self._moved}
        for workload, uj in leaving.items():
            owner = self._of_workload.get(workload)
            if owner is not None and uj is not None:
                sums[owner] = uj + (sums.get(owner) or self._ended_uj.get(owner, 0))
        return sums

    def leave(self, leaving: Mapping[str, int | None]) -> None:
        """Forget workloads, as the last `states_without` was committed."""
        self._ended_uj |= {owner: uj for owner, uj in self.states_without(leaving).items() if uj is not None}
        self._moved.clear()
        for workload in leaving:
            owner = self._of_workload.pop(workload, None)
            if owner is None:
                continue
            self._living[owner] -= 1
            if not self._living[owner]:
                del self._living[owner]
                if owner in self._tenant_of:
                    tenant = self._tenants[self._tenant_of[owner]]
                    del tenant.live[owner]
                    tenant.ended[owner] = None

    def _place(self, owner: Owner, tenant: str) -> None:
        """Make an owner one of its tenant's living ones, where it may be."""
        if owner in self._living:
            return
        if owner in self._tenant_of:
            self._remove(owner)
        self._tenant_of[owner] = tenant
        self._tenants.setdefault(tenant, _Tenant()).live[owner] = None
        if len(self._tenant_of) > self.limit:
            largest = max(self._tenants, key=lambda name: (len(self._tenants[name]), name == tenant))
            largest_tenant = self._tenants[largest]
            excess = next(iter(largest_tenant.ended), None) or next(reversed(largest_tenant.live))
            self._remove(excess)
            self._move(excess)

    def _remove(self, owner: Owner) -> None:
        name = self._tenant_of.pop(owner)
        tenant = self._tenants[name]
        tenant.live.pop(owner, None)
        tenant.ended.pop(owner, None)
        if not len(tenant):
            del self._tenants[name]

    def _move(self, owner: Owner) -> None:
        """Go on with the energy of an owner in `(other)`."""
        other = (owner[0], OTHER_OWNERS)
        if (ended_uj := self._ended_uj.pop(owner, None)) is not None:
            self._ended_uj[other] = self._ended_uj.get(other, 0) + ended_uj
            self._moved |= {owner, other}
        if living := self._living.pop(owner, 0):
            self._living[other] = self._living.get(other, 0) + living
            self._of_workload |= {w: other for w, of in self._of_workload.items() if of == owner}
