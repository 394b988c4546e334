"""Increase of counters that appear with their first event, which `increase` alone leaves out.

Prometheus takes the first sample of a series for where it begins, so a decision that was made once, or the joules that the
first look at paired blocks proves, would never be seen. A series that was not there at the window's begin counts in full, if
its GPU was scraped within the window while it was not there yet: a Prometheus that is younger than the counter tells nothing.
"""

from dashboards.board import RANGE, series
from dashboards.joins import AT


def counted(name: str, *matchers: str, window: str = RANGE) -> str:
    """Increase of a counter of a GPU over the window, its first value included."""
    counter, lease = series(name, *matchers), series("dvfs_lease_active")
    seen = f"count_over_time({counter}[{window}])"
    began = f"{seen} < on ({AT}, uuid) group_left () count_over_time({lease}[{window}])"
    return f"(({counter} unless {counter} offset {window} and ({began})) or increase({counter}[{window}]))"
