"""Increase of counters that appear with their first event, which `increase` alone leaves out.

Prometheus takes the first sample of a series for where it begins, so a decision that was made once, or the joules that the
first look at paired blocks proves, would never be seen. A series that was not there at the window's begin counts in full, if
its GPU was scraped within the window while it was not there yet: a Prometheus that is younger than the counter tells nothing.
"""

from dashboards.board import RANGE, series
from energy_agent.core.signals import metric

_GPU = "cluster, job, instance, uuid"


def counted(name: str, window: str = RANGE) -> str:
    """Increase of a counter of the chosen GPUs over the window, its first value included."""
    return gained(series(name), series("dvfs_lease_active"), window)


def gained(counter: str, lease: str = metric("dvfs_lease_active"), window: str = "1m") -> str:
    """The same of selectors: `lease` is always there while a GPU may have the counter."""
    began = f"count_over_time({counter}[{window}]) < on ({_GPU}) group_left () count_over_time({lease}[{window}])"
    return f"(({counter} unless {counter} offset {window} and ({began})) or increase({counter}[{window}]))"
