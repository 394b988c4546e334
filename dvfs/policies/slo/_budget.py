"""The error budget of a latency: how many of the last requests missed it, of those that may. Pure.

The share that may miss is 1 - attainment, over the last hour. Over the last 1,000 requests it is twice that: misses come in
bursts of traffic, and after each of them the clock would stay high, although the hour has budget left. Google's SRE workbook
("Alerting on SLOs") calls the quotient the budget consumed, and lets a short window consume it faster than a long one too.
"""

from dataclasses import dataclass, field
from math import inf

REQUESTS = 1000
_HOUR_S = 3600.0
_BURN = 2.0  # times the share that may miss, in the short window; with conversations, 3 and 6 save as much and 1 a tenth less
_PARTS = 50  # pieces of a window: it is exact to a fiftieth of it


@dataclass(frozen=True, slots=True)
class RequestWindow:
    """The last requests, by number and by time. `parts`: begin in s, requests and misses of its pieces, oldest first."""

    requests: float
    seconds: float
    parts: tuple[tuple[float, float, float], ...] = ()

    def add(self, now_s: float, count: float, missed: float) -> "RequestWindow":
        """With the requests of an interval that ends now."""
        parts = self.parts
        since_s, requests, late = parts[-1] if parts else (-inf, 0.0, 0.0)
        if requests < self.requests / _PARTS and now_s - since_s < self.seconds / _PARTS:
            parts = (*parts[:-1], (since_s, requests + count, late + missed))
        else:
            parts = (*parts, (now_s, count, missed))
        total = sum(part[1] for part in parts)
        while len(parts) > 1 and (now_s - parts[0][0] > self.seconds or total - parts[0][1] >= self.requests):
            total -= parts[0][1]
            parts = parts[1:]
        return RequestWindow(self.requests, self.seconds, parts)

    def spent_ratio(self, allowed: float) -> float:
        """Misses relative to those that may be; a single miss is chance, so there may be one more. 0 of nothing."""
        return sum(part[2] for part in self.parts) / (allowed * sum(part[1] for part in self.parts) + 1.0)


@dataclass(frozen=True, slots=True)
class ErrorBudget:
    """Both windows."""

    short: RequestWindow = field(default_factory=lambda: RequestWindow(REQUESTS, inf))
    long: RequestWindow = field(default_factory=lambda: RequestWindow(inf, _HOUR_S))

    def add(self, now_s: float, count: float, missed: float) -> "ErrorBudget":
        """With the requests of an interval that ends now."""
        return ErrorBudget(self.short.add(now_s, count, missed), self.long.add(now_s, count, missed))

    def spent_ratio(self, allowed: float) -> float:
        """Share of the budget that is spent, in the window where it is larger."""
        return max(self.short.spent_ratio(_BURN * allowed), self.long.spent_ratio(allowed))
