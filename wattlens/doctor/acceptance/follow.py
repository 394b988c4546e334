"""Read the raw energy counters, the agent and its engines side by side for some minutes."""

import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

from energy_agent.core.errors import WattlensError
from energy_agent.core.ports import Clock
from energy_agent.core.units import NS_PER_S
from energy_agent.runtime.threads import start_thread
from wattlens.doctor import child
from wattlens.doctor.acceptance.comparison import AgentReading, CounterReadings
from wattlens.doctor.acceptance.engine import EngineReader
from wattlens.top.agent import TopReader
from wattlens.top.metrics import MetricsResponse
from wattlens.top.run import PollingThread

_STEP_NS: Final = NS_PER_S // 10
"""A larger change of UTC against the boot clock is a step: readings before and after it cannot be compared."""


@dataclass(slots=True)
class ComparisonReadings:
    """All readings.

    Args:
        counters: by UUID.
        indices: of each GPU by UUID.
        gone: why a GPU stopped responding, by UUID.
        responses: of the agent, in order of time.
        failures: texts of failed responses.
        from_ns, to_ns: UTC of the first and the last reading of the counters.
    """

    counters: dict[str, CounterReadings] = field(default_factory=dict)
    indices: dict[str, int] = field(default_factory=dict)
    gone: dict[str, str] = field(default_factory=dict)
    responses: list[MetricsResponse] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    from_ns: int = 0
    to_ns: int = 0

    def of_gpu(self, uuid: str) -> list[AgentReading]:
        """The agent's readings of a GPU, each once."""
        readings: list[AgentReading] = []
        for response in self.responses:
            reading = agent_reading(response, uuid)
            if reading is not None and (not readings or reading.t_ns > readings[-1].t_ns):
                readings.append(reading)
        return readings


def observe(
    reader: TopReader,
    environ: Mapping[str, str],
    clock: Clock,
    seconds: float,
    skip: Sequence[int],
    engines: Sequence[EngineReader],
) -> ComparisonReadings:
    """Observe for `seconds` of the clock; `skip` are GPUs that do not respond.

    Raises:
        WattlensError: NVML does not respond, a GPU hangs, or UTC was set meanwhile.
    """
    readings = ComparisonReadings()
    uuids: dict[int, str] = {}
    offset_ns: int | None = None
    task = ["counter", f"--seconds={seconds}", *(f"--exclude={i}" for i in skip)]
    messages = child.measure(task, environ, "comparing the agent with the raw counters", clock.real_seconds(seconds))
    with _polling(reader, clock, engines) as polling:
        for message in messages:
            match message["k"]:
                case "board":
                    uuids[message["index"]] = message["uuid"]
                    readings.indices[message["uuid"]] = message["index"]
                    readings.counters[message["uuid"]] = CounterReadings(scale=1000)
                case "gone":
                    readings.gone[uuids.get(message["index"], "")] = f"{message['call']}: {message['reason']}"
                case "counters":
                    for index, before_ns, after_ns, energy_mj in message["rows"]:
                        readings.counters[uuids[index]].add(before_ns, after_ns, energy_mj)
                        readings.from_ns, readings.to_ns = readings.from_ns or before_ns, after_ns
                    offset_ns = _check_offset(offset_ns, message["utc_ns"] - message["boot_ns"])
            _take(polling, readings)
    _take(polling, readings)
    return readings


def _check_offset(first_ns: int | None, offset_ns: int) -> int:
    if first_ns is not None and abs(offset_ns - first_ns) > _STEP_NS:
        raise WattlensError("UTC was set during the measurement; repeat it")
    return offset_ns


@contextmanager
def _polling(reader: TopReader, clock: Clock, engines: Sequence[EngineReader]) -> Iterator[PollingThread]:
    """Read the agent and the engines about once per second of the clock."""
    interval_s = max(0.05, clock.real_seconds(1.0))
    polling = PollingThread(reader, interval_s, lambda: None)
    threads = [threading.Thread(target=polling.run, name="agent", daemon=True)]
    threads += [
        threading.Thread(target=engine.run, args=(polling.ended, interval_s), name="engine", daemon=True) for engine in engines
    ]
    for thread in threads:
        start_thread(thread)
    try:
        yield polling
    finally:
        polling.ended.set()
        end_s = time.monotonic() + 5.0
        for thread in threads:
            thread.join(max(0.0, end_s - time.monotonic()))


def _take(polling: PollingThread, readings: ComparisonReadings) -> None:
    while not polling.results.empty():
        result = polling.results.get()
        if isinstance(result, str):
            readings.failures.append(result)
        else:
            readings.responses.append(result)


def agent_reading(response: MetricsResponse, uuid: str) -> AgentReading | None:
    """What a response has of a GPU; None where the GPU did not answer the agent."""
    energy_j = response.of_gpu("gpu_energy_joules_total", uuid)
    edge_j = response.of_gpu("gpu_energy_edge_uncertainty_joules", uuid)
    rows = response.rows("source_last_success_timestamp_seconds")
    read_s = next(
        (v for series_labels, v in rows if series_labels.get("source") == "nvml" and series_labels.get("device") == uuid), None
    )
    gap_j = response.of_gpu("gpu_energy_gap_bound_joules_total", uuid)
    if energy_j is None or edge_j is None or gap_j is None or read_s is None or not response.of_gpu("gpu_up", uuid):
        return None
    return AgentReading(round(read_s * NS_PER_S), round(sweep_s(response) * NS_PER_S), energy_j, edge_j, gap_j)


def sweep_s(response: MetricsResponse) -> float:
    """How long the agent's last reading of all GPUs took; 0 where that is not known."""
    rows = response.rows("source_poll_seconds")
    return next(
        (v for series_labels, v in rows if series_labels.get("source") == "nvml" and not series_labels.get("device")), 0.0
    )
