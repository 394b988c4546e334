"""Record shared energy by the last measurement, and settle it when the next measurement is available. Pure.

Energy is recorded every second, but the use of a shared device is measured every few seconds, afterwards. Until then an
interval is shared by the last measurement. The next measurement then shares the energy of the whole window, and the difference
is paid from later intervals; recorded energy is never reduced.

Laws: every interval is recorded whole and at once, and sums exactly; debts sum to 0; no recorded energy is negative. The debt
or credit of an owner that leaves is settled in its last interval as far as possible and then dropped.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

from energy_agent.core.meters.difference import mean_mw
from energy_agent.core.units import split_integer
from energy_agent.metering.sharing.policy import DeviceUse, SharedEnergy, SharingPolicy, WorkloadShare

SHARE_OF_LIMIT = 9
"""A board is taken to rest at no more than this part of its default limit: data-centre boards rest at 1/7 to 1/11 of it."""


@dataclass(slots=True)
class Resting:
    """The least mean power in mW that an interval of at least about a second drew."""

    least_mw: int | None = None

    def learn(self, energy_uj: int, duration_ns: int) -> None:
        """An interval."""
        power_mw = mean_mw(energy_uj, duration_ns)
        self.least_mw = power_mw if self.least_mw is None else min(self.least_mw, power_mw)

    def power_mw(self, limit_mw: int) -> int:
        """The resting power of a board with this default limit."""
        assumed_mw = limit_mw // SHARE_OF_LIMIT
        return assumed_mw if self.least_mw is None else min(assumed_mw, self.least_mw)


@dataclass(slots=True)
class Settlement:
    """Of one device. `owed_uj` has what each owner got too little (or, below 0, too much) so far."""

    owed_uj: dict[str, int] = field(default_factory=dict)
    _by_last_uj: dict[str, int] = field(default_factory=dict)  # what the last measurement gives each since then
    _energy_uj: int = 0
    _duration_ns: int = 0

    def divide(self, policy: SharingPolicy, shared: SharedEnergy, use: DeviceUse, *, closes: bool) -> list[WorkloadShare]:
        """The parts of an interval by what is known, with debts paid.

        `closes`: what is known was measured over the time since the last interval that closed, this one included; so this one
        pays what the whole window should have had.
        """
        parts = policy.divide(shared, use)
        if not policy.settles or shared.active is False:
            if closes:
                self.settle(policy, use)
            return parts
        due = _by_owner(parts)
        self._energy_uj += shared.energy_uj
        self._duration_ns += shared.duration_ns
        if closes:
            self._due(_by_owner(policy.divide(SharedEnergy(self._energy_uj, self._duration_ns), use)), due)
        else:
            for owner, uj in due.items():
                self._by_last_uj[owner] = self._by_last_uj.get(owner, 0) + uj
        if not any(self.owed_uj.values()):
            return parts
        self._keep(due)
        wanted = [uj + self.owed_uj.get(owner, 0) for owner, uj in due.items()]
        given = split_integer(shared.energy_uj, [max(0, uj) for uj in wanted])
        self.owed_uj = {owner: want - got for owner, want, got in zip(due, wanted, given, strict=True)}
        return _paid(parts, due, dict(zip(due, given, strict=True)))

    def settle(self, policy: SharingPolicy, use: DeviceUse) -> None:
        """A measurement has come, and no interval that it closes: what was recorded since the last one becomes debts."""
        if self._energy_uj and policy.settles:
            self._due(_by_owner(policy.divide(SharedEnergy(self._energy_uj, self._duration_ns), use)), {})
        self._begin()

    def window(self) -> tuple[int, int]:
        """Energy in uJ and time in ns since the last measurement."""
        return self._energy_uj, self._duration_ns

    def _due(self, right: dict[str, int], now: dict[str, int]) -> None:
        """Owe each what it should have had of the window, less what it was and, with `now`, is about to be given."""
        for owner in right.keys() | self._by_last_uj.keys():
            debt = right.get(owner, 0) - self._by_last_uj.get(owner, 0) - now.get(owner, 0)
            self.owed_uj[owner] = self.owed_uj.get(owner, 0) + debt
        self._begin()

    def _begin(self) -> None:
        self._by_last_uj, self._energy_uj, self._duration_ns = {}, 0, 0

    def forget(self) -> None:
        """Nobody shares any more."""
        if self.owed_uj or self._energy_uj:
            self.owed_uj = {}
            self._begin()

    def _keep(self, owners: Iterable[str]) -> None:
        """Release the debts of others, so that what is left sums to 0 again."""
        kept = {owner: self.owed_uj.get(owner, 0) for owner in owners}
        over = sum(kept.values())
        if over:
            sign = 1 if over > 0 else -1
            cuts = split_integer(abs(over), [max(0, sign * uj) for uj in kept.values()])
            kept = {owner: uj - sign * cut for (owner, uj), cut in zip(kept.items(), cuts, strict=True)}
        self.owed_uj = kept


def _by_owner(parts: Iterable[WorkloadShare]) -> dict[str, int]:
    energy_by_owner: dict[str, int] = {}
    for part in parts:
        energy_by_owner[part.owner] = energy_by_owner.get(part.owner, 0) + part.energy_uj
    return energy_by_owner


def _paid(parts: list[WorkloadShare], due: dict[str, int], given: dict[str, int]) -> list[WorkloadShare]:
    """The parts with what each owner is given, which its parts share as they shared what was due."""
    paid = []
    for owner, uj in given.items():
        owner_parts = [part for part in parts if part.owner == owner]
        shares = (
            split_integer(uj, [part.energy_uj for part in owner_parts])
            if due[owner]
            else split_integer(uj, [1] * len(owner_parts))
        )
        paid += [WorkloadShare(p.workload, p.state, share, p.time) for p, share in zip(owner_parts, shares, strict=True)]
    return paid
