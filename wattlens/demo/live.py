"""Readings of the demo's agent for `wattlens top`, with the names of the scenario, and in a line."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from energy_agent.core.text import printable
from wattlens.top.frame import TopFrame
from wattlens.top.history import MetricsHistory
from wattlens.top.metrics import MetricsResponse


@dataclass(slots=True)
class NamedHistory(MetricsHistory):
    """Frames in which workloads have the scenario's names; `names` are by the agent's name."""

    names: Mapping[str, str] = field(default_factory=dict)

    def add(self, response: MetricsResponse) -> TopFrame:
        """The frame to show after this response."""
        frame = MetricsHistory.add(self, response)
        return replace(
            frame,
            gpus=tuple(replace(gpu, workloads=tuple(map(self._name, gpu.workloads))) for gpu in frame.gpus),
            workloads=tuple(replace(workload, name=self._name(workload.name)) for workload in frame.workloads),
        )

    def _name(self, workload: str) -> str:
        return printable(self.names.get(workload, workload))


def describe(frame: TopFrame, workload: str) -> str:
    """Power of all GPUs, and tokens of a workload."""
    power_w = frame.node.power_w
    power = "all GPUs: no reading" if power_w is None else f"all GPUs {power_w:,.0f} W"
    for each in frame.workloads:
        if each.name == workload and each.tokens_per_s and each.j_per_token:
            return f"{power}   {workload}: {each.tokens_per_s:,.0f} tokens/s, {each.j_per_token:.3f} J/token"
    return f"{power}   {workload}: no tokens measured now"
