"""The error budget of a latency: how many of the last requests missed it, of those that may. Pure.

The share that may miss is 1 - attainment, over the last 1,000 requests and the last hour, whichever has fewer. Google's SRE
workbook ("Alerting on SLOs") calls the quotient the budget consumed.
"""

from dataclasses import dataclass

REQUESTS = 1000
_HOUR_S = 3600.0
_DEBT = 3.0  # windows, at most
_PARTS = 50  # pieces of the window: it is exact to a fiftieth of it


@dataclass(frozen=True, slots=True)
class ErrorBudget:
    """Requests and misses in the window.

    Args:
        parts: begin in s, requests and misses of pieces of the window, oldest first.
        debt: misses since the start beyond those that may be. It outlasts the window, so that a server which misses the SLO
            even at its highest clock does not get a new budget again and again. It is limited, and so is what can be saved up.
    """

    parts: tuple[tuple[float, float, float], ...] = ()
    debt: float = 0.0

    def add(self, now_s: float, count: float, missed: float, allowed: float) -> "ErrorBudget":
        """With the requests of an interval that ends now."""
        parts, window = self.parts, allowed * REQUESTS
        if count > 0:
            since_s, requests, late = parts[-1] if parts else (now_s, REQUESTS, 0.0)
            if requests < REQUESTS / _PARTS and now_s - since_s < _HOUR_S / _PARTS:
                parts = (*parts[:-1], (since_s, requests + count, late + missed))
            else:
                parts = (*parts, (now_s, count, missed))
        total = sum(part[1] for part in parts)
        while len(parts) > 1 and (now_s - parts[0][0] > _HOUR_S or total - parts[0][1] >= REQUESTS):
            total -= parts[0][1]
            parts = parts[1:]
        return ErrorBudget(parts, min(_DEBT * window, max(-window, self.debt + missed - allowed * count)))

    @property
    def count(self) -> float:
        """Requests in the window."""
        return sum(part[1] for part in self.parts)

    @property
    def missed(self) -> float:
        """Those that missed the limit."""
        return sum(part[2] for part in self.parts)

    def spent_ratio(self, allowed: float) -> float:
        """Share of the budget that is spent, 1 in debt; a single miss is chance, so both are one miss larger. 0 of nothing."""
        return max(float(self.debt > 1.0), self.missed / (allowed * self.count + 1.0))
