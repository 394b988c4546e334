"""`wattlens doctor --acceptance`: compare the agent on a node with the node's raw counters. Read-only: changes no setting."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any, Final, Literal

import wattlens
from energy_agent.config.agent import Config
from energy_agent.core.errors import WattlensError
from energy_agent.core.ports import Clock
from energy_agent.core.units import NS_PER_S
from energy_agent.runtime.clock import clock_for
from energy_agent.runtime.process_cost import cost_of
from wattlens.agent_access import AgentAccess
from wattlens.doctor import sensors
from wattlens.doctor.acceptance.comparison import Bounds, compare
from wattlens.doctor.acceptance.engine import (
    EngineOwner,
    EngineReader,
    compare_engine,
    configured_engines,
    find_owner,
    open_engine,
)
from wattlens.doctor.acceptance.follow import ComparisonReadings, agent_reading, observe, sweep_s
from wattlens.doctor.acceptance.result import (
    AcceptanceResult,
    AgentResult,
    EngineResult,
    Estimate,
    GpuResult,
    reason_text,
    word,
)
from wattlens.doctor.acceptance.result_file import with_criteria
from wattlens.doctor.finding import NvmlAnswers
from wattlens.doctor.overhead import SETTLE_S, added, order, run_blocks, running_reader
from wattlens.doctor.probing import probe
from wattlens.gpus.listener import ListenerError, descendants, server_processes
from wattlens.top.agent import TopAgent, TopReader, is_answering, open_agent
from wattlens.top.metrics import MetricsResponse

REQUIRED: Final = (
    "gpu_energy_joules_total", "gpu_energy_edge_uncertainty_joules", "gpu_energy_gap_bound_joules_total",
    "source_last_success_timestamp_seconds", "ledger_commits_total", "reader_restarts_total",
)  # fmt: skip
"""Families that the agent has to export; its configuration may exclude them."""
SENSORS_S: Final = (5.0, 60.0)
_IDLE_PAIRS, _IDLE_BLOCK_S = 3, (1.0, 10.0)
_AGENT_RUNS = "not measurable while the node's agent runs; stop the agent and repeat the command"


@dataclass(frozen=True, slots=True)
class AcceptanceOptions:
    """Options of the command line.

    Args:
        access: the agent's metrics endpoint.
        may_start: start a private agent if none responds there.
        simulate: folder of the simulated node; None for this machine.
        seconds: length of the comparison.
        engines: URLs of inference engines.
        label: the user's own text in the result.
    """

    access: AgentAccess
    may_start: bool
    simulate: Path | None
    seconds: float
    engines: Sequence[str] = ()
    label: str = ""


@dataclass(frozen=True, slots=True)
class AgentCost:
    """CPU seconds and resident memory of the agent's processes at an instant of the node's boot clock."""

    boot_ns: int
    cpu_s: float
    memory_b: int
    cost_from: Literal["/proc", "/metrics"]


def measure(options: AcceptanceOptions, config: Config, environ: Mapping[str, str]) -> AcceptanceResult:
    """Run every step; takes `seconds` and about a fifth more.

    Raises:
        UsageError: an option is wrong.
        WattlensError: NVML or the agent does not respond, or they see different GPUs.
    """
    answers, clock = probe(environ), clock_for(environ)
    if answers.fatal is not None:
        raise WattlensError(f"NVML {answers.fatal.call}: {answers.fatal.reason}; see wattlens doctor")
    if not answers.devices:
        raise WattlensError("no GPU responds; see wattlens doctor")
    engines = [open_engine(url, clock) for url in dict.fromkeys(options.engines)] or configured_engines(config.tokens, clock)
    procfs = config.node.procfs
    roots = [procfs] if options.simulate is None else [options.simulate / "proc", procfs]
    owners = [find_owner(engine.url, answers, roots) for engine in engines]
    profile, sensors_reason = _sensor_profile(environ, options.seconds)
    runs = not options.may_start or (options.simulate is None and is_answering(options.access))
    idle = {i: Estimate(reason=_AGENT_RUNS) for i in answers.devices}
    if not runs:
        idle = idle_power(environ, answers, options.seconds)
    named = [(engine, owner) for engine, owner in zip(engines, owners, strict=True) if owner.workload]
    settings = {"tokens": [engine.source | {"workload": owner.workload} for engine, owner in named]}
    simulate = None if runs else options.simulate
    with open_agent(options.access, simulate, may_start=not runs, settings=settings) as agent:
        reader = TopReader.of(agent)
        first = reader.read_first()
        _check_agent(first, answers, simulated=bool(environ.get("WATTLENS_SIM")))
        began = agent_cost(agent, first, clock)
        readings = observe(reader, environ, clock, options.seconds, list(answers.troubles), engines)
        ended = agent_cost(agent, readings.responses[-1] if readings.responses else first, clock)
    gpus = _gpus(answers, readings, idle, profile)
    return with_criteria(
        AcceptanceResult(
            kind="acceptance",
            schema=1,
            key="",
            wattlens=word(wattlens.__version__),
            label=options.label,
            simulated=bool(environ.get("WATTLENS_SIM")),
            day=datetime.now(UTC).date().isoformat(),
            driver=word(answers.driver),
            nvml=word(answers.nvml),
            seconds=float(options.seconds),
            gpus=gpus,
            agent=_agent(agent, first, readings, began, ended),
            engines=_engines(engines, owners, readings),
            engines_reason="" if engines else _no_engine(readings),
            sensors_reason=sensors_reason,
        )
    )


def _sensor_profile(environ: Mapping[str, str], seconds: float) -> tuple[dict[int, dict[str, Any]], str]:
    """Parameters of each GPU's sensors by index, or the reason for their absence."""
    try:
        measured = sensors.measure(environ, min(max(seconds / 10, SENSORS_S[0]), SENSORS_S[1]))
    except WattlensError as error:
        return {}, reason_text(str(error))
    return measured.gpus, ""


def _check_agent(first: MetricsResponse, answers: NvmlAnswers, *, simulated: bool) -> None:
    """Raises WattlensError where the agent reads other GPUs than those that NVML shows here."""
    labels = next((labels for labels, _ in first.rows("node_info")), None)
    if labels is None:
        raise WattlensError("the metrics endpoint is not that of a Wattlens agent")
    if (labels.get("simulated") == "true") != simulated:
        kinds = ("real", "simulated")
        raise WattlensError(f"expected an agent on {kinds[simulated]} GPUs, got one on {kinds[not simulated]} GPUs")
    agent_uuids = {labels.get("uuid") for labels, _ in first.rows("gpu_up")}
    if not agent_uuids & {device.info.uuid for device in answers.devices.values()}:
        raise WattlensError("the agent reads none of this node's GPUs")


def _gpus(
    answers: NvmlAnswers, readings: ComparisonReadings, idle: Mapping[int, Estimate], profile: Mapping[int, Mapping[str, Any]]
) -> tuple[GpuResult, ...]:
    results: list[GpuResult] = []
    missing = [name for name in REQUIRED if not any(next(response.rows(name), None) for response in readings.responses)]
    for index, device in sorted(answers.devices.items()):
        uuid = device.info.uuid
        counter = readings.counters.get(uuid)
        result = GpuResult(
            index, word(device.info.name), word(device.info.architecture),
            reason="no energy counter", idle_added_w=idle.get(index, Estimate(reason="not measured")),
            sensors=_parameters(profile.get(index)),
        )  # fmt: skip
        if counter is not None and counter.values:
            result = replace(
                result, **{"reason": ""} | compare(readings.of_gpu(uuid), counter, readings.from_ns, readings.to_ns)
            )
        if missing and readings.responses:
            result = replace(result, reason=f"the agent does not export wattlens_{missing[0]}")
        if uuid in readings.gone:
            result = replace(result, reason=reason_text(readings.gone[uuid]))
        results.append(result)
    for index, trouble in sorted(answers.troubles.items()):
        reason = reason_text(f"{trouble.call}: {trouble.reason}")
        results.append(GpuResult(index, "unknown", "unknown", reason=reason))
    return tuple(results)


def _parameters(measured: Mapping[str, Any] | None) -> dict[str, Estimate | str] | None:
    """Every parameter of the sensor profile: a value with its bounds, a word, or the reason for which it is absent."""
    if measured is None:
        return None
    estimates: dict[str, Estimate | str] = {}
    for name, parameter in (*measured.get("sensors", {}).items(), *measured.items()):
        match parameter:
            case {"absent": str(reason)}:
                estimates[name] = Estimate(reason=reason_text(reason))
            case {"value": str(value)}:
                estimates[name] = word(value)
            case {"value": value, "low": low, "high": high}:
                estimates[name] = Estimate(round(float(value), 6), round(float(low), 6), round(float(high), 6))
    return estimates


def _agent(
    agent: TopAgent, first: MetricsResponse, readings: ComparisonReadings, began: AgentCost, ended: AgentCost
) -> AgentResult:
    responses = [first, *readings.responses]
    version = next((labels.get("version", "") for labels, _ in first.rows("build_info")), "")
    commits, counts = (
        [response.total(name) or 0.0 for response in responses] for name in ("ledger_commits_total", "reader_restarts_total")
    )
    if began.cost_from != ended.cost_from:
        began = metrics_cost(first, began.boot_ns)
    passed_s = max(1, ended.boot_ns - began.boot_ns) / NS_PER_S
    sweeps = [sweep_s(response) for response in responses]
    return AgentResult(
        private=agent.process is not None,
        version=word(version),
        responses=len(readings.responses),
        failed=len(readings.failures),
        restarts=sum(after < before for before, after in pairwise(commits)),
        reader_restarts=round(sum(max(0.0, after - before) for before, after in pairwise(counts))),
        cpu_ratio=round(max(0.0, ended.cpu_s - began.cpu_s) / passed_s, 6),
        memory_b=ended.memory_b,
        cost_from=ended.cost_from,
        sweep_s=round(sum(sweeps) / len(sweeps), 6),
    )


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
    idle = [i for i, device in answers.devices.items() if not device.sample.processes and not device.sample.gpu_percent]
    if not idle:
        return dict.fromkeys(answers.devices, Estimate(reason="no GPU is idle"))
    block_s = min(max(seconds / 60, _IDLE_BLOCK_S[0]), _IDLE_BLOCK_S[1])
    kinds, settle_s = order(_IDLE_PAIRS, 0), min(SETTLE_S, block_s)
    try:
        blocks, _, _ = run_blocks(environ, kinds, block_s, settle_s, lambda: running_reader(environ, 1.0))
    except WattlensError as error:
        return dict.fromkeys(answers.devices, Estimate(reason=reason_text(str(error))))
    estimates = dict.fromkeys(answers.devices, Estimate(reason="not idle"))
    for i in idle:
        match added(blocks, [i])["added_w"]:
            case {"absent": reason}:
                estimates[i] = Estimate(reason=reason_text(reason))
            case {"value": value, "lower": lower, "upper": upper}:
                estimates[i] = Estimate(value, lower, upper)
    return estimates


def _engines(
    engines: Sequence[EngineReader], owners: Sequence[EngineOwner], readings: ComparisonReadings
) -> tuple[EngineResult, ...]:
    def counter_j(first: MetricsResponse, last: MetricsResponse, uuid: str) -> Bounds | None:
        ends = [agent_reading(response, uuid) for response in (first, last)]
        counter = readings.counters.get(uuid)
        if counter is None or counter.resets:
            return None
        bounds = [b for end in ends if end is not None and (b := counter.at(end.t_ns - end.took_ns, end.t_ns)) is not None]
        return (bounds[1][0] - bounds[0][1], bounds[1][1] - bounds[0][0]) if len(bounds) == 2 else None

    return tuple(
        compare_engine(engine, owner, readings.responses, counter_j, readings.indices)
        for engine, owner in zip(engines, owners, strict=True)
    )


def _no_engine(readings: ComparisonReadings) -> str:
    if any(next(response.rows("tokens_total"), None) for response in readings.responses[-1:]):
        return "the agent reads an engine whose address its metrics do not name; pass --engine URL"
    return "no engine: neither --engine nor `tokens` in --config names one"
