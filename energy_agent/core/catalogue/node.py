"""The metric catalogue: every metric, by what it is of, in the order of /metrics.

Documentation, dashboards and rules take names only from here. A released name does not change. Units are base units, counters
end in `_total`, descriptions in `_info`. Cluster, node, model and pod are joined from the `_info` families, so that frequently
updated series have few labels.
"""

from typing import Final

from energy_agent.core.catalogue.dvfs import DVFS
from energy_agent.core.catalogue.gpu import GPUS
from energy_agent.core.catalogue.host import HOST
from energy_agent.core.catalogue.metric import Signal
from energy_agent.core.catalogue.process import COST, IDENTITY, READER, STATE
from energy_agent.core.catalogue.serving import INFERENCE
from energy_agent.core.catalogue.site import SITE
from energy_agent.core.catalogue.workloads import WORKLOADS

AGENT: Final = (*IDENTITY, *GPUS, *HOST, *WORKLOADS, *INFERENCE, *DVFS, *STATE, *READER, *COST)
"""What the agent exports."""
SITE_PROCESS: Final = (*IDENTITY, *STATE, *COST, *SITE)
"""What the site process exports: its meters are polled by it only, or a DaemonSet would count them once per node."""
CATALOGUE: Final[tuple[Signal, ...]] = (*AGENT, *SITE)

BY_NAME: Final = {signal.name: signal for signal in CATALOGUE}


def metric(name: str) -> str:
    """Full name of a signal; how dashboards and rules name one.

    Raises:
        LookupError: the catalogue has no such signal.
    """
    if name not in BY_NAME:
        raise LookupError(f"the metric catalogue does not export {name!r}")
    return BY_NAME[name].metric
