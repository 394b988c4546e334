"""What the agent costs: CPU time and memory of its processes, and the power that its readings add to idle GPUs."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from energy_agent.core.errors import WattlensError
from energy_agent.core.ports import Clock
from energy_agent.reader.child import ReaderOptions
from energy_agent.runtime.process_cost import cost_of
from wattlens.doctor.acceptance.result import Estimate, reason_text
from wattlens.doctor.facts import NvmlAnswers
from wattlens.doctor.overhead import ReaderLoad, added, order, run_blocks
from wattlens.gpus.listener import ListenerError, descendants, server_processes
from wattlens.top.agent import TopAgent
from wattlens.top.metrics import MetricsResponse

_PAIRS: Final = 3
_BLOCK_S: Final = (1.0, 10.0)


@dataclass(frozen=True, slots=True)
class AgentCost:
    """CPU seconds and resident memory of the agent's processes at an instant of the node's boot clock."""

    boot_ns: int
    cpu_s: float
    memory_b: int
    cost_from: Literal["/proc", "/metrics"]


def agent_processes(agent: TopAgent) -> set[int]:
    """Pids of the agent and its children; empty where they cannot be seen."""
    if agent.process is not None:
        return descendants({agent.process.pid})
    try:
        return descendants(server_processes(agent.access.url))
    except ListenerError:
        return set()


def agent_cost(agent: TopAgent, response: MetricsResponse, clock: Clock) -> AgentCost:
    """The cost by /proc, or where the processes cannot be seen by the agent's own metrics."""
    costs = [cost for pid in agent_processes(agent) if (cost := cost_of("agent", pid)) is not None]
    boot_ns = clock.boot_ns()
    if costs:
        return AgentCost(boot_ns, sum(c.cpu_ns for c in costs) / 1e9, sum(c.resident_b for c in costs), "/proc")
    return metrics_cost(response, boot_ns)


def metrics_cost(response: MetricsResponse, boot_ns: int) -> AgentCost:
    """The cost by the agent's own metrics."""
    cpu_s = response.total("process_cpu_seconds_total") or 0.0
    return AgentCost(boot_ns, cpu_s, round(response.total("process_resident_memory_bytes") or 0), "/metrics")


def idle_power(environ: Mapping[str, str], answers: NvmlAnswers, seconds: float) -> dict[int, Estimate]:
    """Power that the agent's reader adds to each idle GPU, in W, by blocks with and without it; by index.

    `seconds` is the length of the comparison, to which that of the blocks is proportional.
    """
    idle = _idle(answers)
    if not idle:
        return dict.fromkeys(answers.devices, Estimate(reason="no GPU is idle"))
    block_s = min(max(seconds / 60, _BLOCK_S[0]), _BLOCK_S[1])
    options = ReaderOptions(1_000_000_000, 1_000_000_000, 5_000_000_000, environ)
    try:
        blocks, _, _ = run_blocks(environ, order(_PAIRS, 0), block_s, min(2.0, block_s), lambda: ReaderLoad(options))
    except WattlensError as error:
        return dict.fromkeys(answers.devices, Estimate(reason=reason_text(str(error))))
    return {i: _estimate(added(blocks, [i])) if i in idle else Estimate(reason="not idle") for i in answers.devices}


def _idle(answers: NvmlAnswers) -> Collection[int]:
    return [i for i, device in answers.devices.items() if not device.sample.processes and not device.sample.gpu_percent]


def _estimate(measured: Mapping[str, Any]) -> Estimate:
    value = measured["added_w"]
    if "absent" in value:
        return Estimate(reason=reason_text(value["absent"]))
    return Estimate(value["value"], value["lower"], value["upper"])
