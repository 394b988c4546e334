"""The load of a server: what arrives, relative to what it can serve at a clock. Pure.

While requests wait, a server serves as many as it can: the clock cycles that each takes then show its capacity. At a lower
clock a request takes no more of them, and fewer where it waits for memory. So the load there is an upper bound.
"""

from dataclasses import dataclass

_RECENT_S = 120.0  # of arrivals, before older ones count half
_FADE = 0.9  # what is known of the capacity then, too: in a quarter of an hour without a queue it is forgotten
_RECENT = 300.0  # requests that were served while others waited, before older ones count half
_ENOUGH = 100.0  # of these; fewer show nothing


@dataclass(frozen=True, slots=True)
class ServerLoad:
    """What a server was seen to do.

    Args:
        seconds, arrived: time, and requests that arrived in it.
        megacycles, served: clock cycles while requests waited, and the requests that were served in them.
    """

    seconds: float = 0.0
    arrived: float = 0.0
    megacycles: float = 0.0
    served: float = 0.0

    def add(self, seconds: float, served: float, grown: int, busy_mhz: int | None) -> "ServerLoad":
        """With a period: requests served, growth of the queue, and the clock if requests waited all the time."""
        time_s, arrived = self.seconds + seconds, max(0.0, self.arrived + served + grown)
        megacycles, at_capacity = self.megacycles, self.served
        if busy_mhz is not None:
            megacycles, at_capacity = megacycles + seconds * busy_mhz, at_capacity + served
        if time_s > _RECENT_S:
            time_s, arrived = time_s / 2, arrived / 2
            megacycles, at_capacity = _FADE * megacycles, _FADE * at_capacity
        if at_capacity > _RECENT:
            megacycles, at_capacity = megacycles / 2, at_capacity / 2
        return ServerLoad(time_s, arrived, megacycles, at_capacity)

    def at(self, mhz: int) -> float:
        """Upper bound of the load at a clock, 1 where as much arrives as can be served; 0 while it is not known."""
        if self.served < _ENOUGH or not self.seconds:
            return 0.0
        return self.arrived / self.seconds * self.megacycles / self.served / mhz
