"""SLO attainment, as proven by histograms. Pure.

A bucket edge at or below the limit can prove that it is kept, one at or above that it is missed.

Judged over a window of 200 requests or 60 s, whichever is reached first, by the Wilson interval of the share within an edge.
"""

from bisect import bisect_right
from dataclasses import dataclass
from typing import Literal

from dvfs.policies._serving import wilson
from energy_agent.core.workloads.tokens import Latencies

REQUESTS = 200
WINDOW_S = 60.0

Verdict = Literal["kept", "missed", "open"]


@dataclass(frozen=True, slots=True)
class AttainmentWindow:
    """Start of the current attainment window, and the verdict of the last complete one."""

    since_s: float | None = None
    ttft: Latencies | None = None
    verdict: Verdict = "open"


def proven(histogram: Latencies, limit_s: float, share: float) -> Verdict:
    """Whether at least `share` of the observations are within the limit."""
    count = histogram.count
    below = bisect_right(histogram.edges, limit_s)  # buckets whose edge is at or below the limit
    if wilson(sum(histogram.counts[:below]), count)[0] >= share:
        return "kept"
    above = below if below and histogram.edges[below - 1] == limit_s else below + 1
    if above <= len(histogram.edges) and wilson(sum(histogram.counts[:above]), count)[1] < share:
        return "missed"
    return "open"


def judged(window: AttainmentWindow, now_s: float, ttft: Latencies, limit_s: float, share: float) -> AttainmentWindow:
    """Continue a window; when it is full, judge it and begin the next."""
    if window.since_s is None or window.ttft is None or window.ttft.edges != ttft.edges:
        return AttainmentWindow(now_s, ttft)
    try:
        seen = ttft.less(window.ttft)
    except ValueError:  # the server has restarted
        return AttainmentWindow(now_s, ttft)
    if seen.count < REQUESTS and now_s - window.since_s < WINDOW_S:
        return window
    verdict = proven(seen, limit_s, share) if seen.count else "open"
    return AttainmentWindow(now_s, ttft, verdict)
