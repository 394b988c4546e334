"""Power of a GPU while nothing runs on it, estimated from its own readings. Pure."""

from dataclasses import dataclass

from energy_agent.core.meters.difference import mean_mw

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
