"""Every simulator fault on one GPU of eight: effect on the other GPUs, on `/metrics`, and on recovery.

Run from the repository's root: python -m benchmarks faults [--hang-s 60] [--only KIND]

The metrics endpoint is scraped five times per second. For each fault:

- cadence: the longest time between two readings of any other GPU, in periods (1 s); 2 is one missed reading;
- page: the slowest scrape;
- absent: how long after the fault the GPU's power series is gone, where the fault takes it away; the bar is two periods;
- reported: time until source_down_info or gpu_absent_info names the GPU and the cause;
- back: time from clearing the fault until the same agent process exports the series again.
"""

import time
from dataclasses import dataclass, field

from benchmarks.runner import Row
from benchmarks.running import AgentProcess, Series, running_agent, simulated
from energy_agent.sim.node import SimulatedNode

GPU = 3
PERIOD_S = 1.0
SETTLE_S = 4.0
BACK_S = 60.0
LATEST_S = 60.0  # for a reason, on a machine that is busy


@dataclass(frozen=True, slots=True)
class GpuFault:
    """A fault, its duration, and the metrics that it must remove."""

    kind: str
    seconds: float
    cause: str  # the required health cause, "" if the GPU stays healthy
    call: str = ""
    value: int = 0
    power_gone: bool = True


CASES = (
    GpuFault("lost", 8, "GPU_IS_LOST"),
    GpuFault("hang", 60, "hangs"),
    GpuFault("hang", 8, "hangs", call="nvmlDeviceGetTemperatureV"),
    GpuFault("unknown_error", 6, "UNKNOWN"),
    GpuFault("reset_required", 6, "RESET_REQUIRED"),
    GpuFault("timeout", 6, "TIMEOUT"),
    GpuFault("not_supported", 14, "NOT_SUPPORTED", call="nvmlDeviceGetClockInfo", power_gone=False),
    GpuFault("no_permission", 14, "NO_PERMISSION", call="nvmlDeviceGetUtilizationRates", power_gone=False),
    GpuFault("stuck_sensor", 8, "stuck", value=0),
    GpuFault("stuck_sensor", 8, "stuck", value=1),
    GpuFault("counter_reset", 4, "", power_gone=False),
    GpuFault("xid", 4, "", value=79, power_gone=False),
    GpuFault("mig", 8, "NOT_SUPPORTED", value=2, power_gone=False),
    GpuFault("latency", 6, "", value=40, power_gone=False),
    GpuFault("driver_mismatch", 6, "", power_gone=False),
)


@dataclass(slots=True)
class ResponseMonitor:
    """Reads /metrics five times per second."""

    uuid: str
    slowest_s: float = 0.0
    unanswered: int = 0
    readings: dict[str, float] = field(default_factory=dict)
    longest: float = 0.0
    page: Series = field(default_factory=dict)

    def look(self, agent: AgentProcess) -> None:
        """One scrape."""
        began = time.monotonic()
        try:
            self.page = agent.page(timeout_s=2.0)
        except OSError:
            self.unanswered += 1
        self.slowest_s = max(self.slowest_s, time.monotonic() - began)
        for (name, labels), value in self.page.items():
            device = dict(labels).get("device")
            if name == "wattlens_source_last_success_timestamp_seconds" and device and device != self.uuid:
                before = self.readings.get(device, value)
                self.longest = max(self.longest, (value - before) / PERIOD_S)
                self.readings[device] = value
        time.sleep(max(0.0, 0.2 - (time.monotonic() - began)))

    def power(self) -> bool:
        """Whether `/metrics` has the GPU's power."""
        return any(n == "wattlens_gpu_power_watts" and ("uuid", self.uuid) in k for n, k in self.page)

    def has_cause(self, cause: str) -> bool:
        """Return whether the response names the GPU and the cause."""
        for name, labels in self.page:
            if name in ("wattlens_source_down_info", "wattlens_gpu_absent_info"):
                labels_by_name = dict(labels)
                if self.uuid in (labels_by_name.get("device"), labels_by_name.get("uuid")) and cause in labels_by_name.get(
                    "reason", ""
                ):
                    return True
        return False


def run(hang_s: float = 60.0, only: tuple[str, ...] = tuple(dict.fromkeys(case.kind for case in CASES))) -> list[Row]:
    """All cases on one node with one agent."""
    nodes = {"description": "faults", "seed": 5, "boards": [{"count": 8, "sku": "H100-SXM5-80GB"}], "workloads": [
        {"name": "train", "kind": "training", "gpus": [0, 1, 2], "step_s": 0.4},
        {"name": "note", "kind": "burst", "gpus": [GPU], "on_s": 0.5, "off_s": 0.4, "jitter": 0.5, "restart": "on-failure"},
    ]}  # fmt: skip
    with simulated(nodes) as (base, node), running_agent(node, base / "state") as agent:
        time.sleep(SETTLE_S)
        return [_case(case, hang_s, node, agent) for case in CASES if case.kind in only]


def _case(case: GpuFault, hang_s: float, node: SimulatedNode, agent: AgentProcess) -> Row:
    with node.plant() as plant:
        watch = ResponseMonitor(plant.uuid(GPU))
    pid = agent.pid
    for _ in range(10):
        watch.look(agent)
    seconds = hang_s if case.kind == "hang" and not case.call else case.seconds
    node.fault(GPU, case.kind, call=case.call, value=case.value)
    began, absent_s, is_cause_shown = time.monotonic(), None, not case.cause
    while (past_s := time.monotonic() - began) < seconds or (not is_cause_shown and past_s < LATEST_S):
        watch.look(agent)
        if absent_s is None and not watch.power():
            absent_s = time.monotonic() - began
        is_cause_shown = is_cause_shown or watch.has_cause(case.cause)
    node.clear(GPU)
    cleared, back_s = time.monotonic(), None
    while time.monotonic() - cleared < BACK_S and back_s is None:
        watch.look(agent)
        if watch.power() and not (case.cause and watch.has_cause(case.cause)):
            back_s = time.monotonic() - cleared
    for _ in range(10):
        watch.look(agent)
    alive = agent.process is not None and agent.process.poll() is None and agent.pid == pid
    gone_right = (absent_s is not None and absent_s <= 2 * PERIOD_S + 0.3) if case.power_gone else absent_s is None
    ok = watch.longest <= 2.3 and watch.slowest_s <= 1.0 and not watch.unanswered and gone_right and is_cause_shown
    ok = ok and back_s is not None and alive
    name = f"{case.kind}{f' {case.call}' if case.call else ''}{f' {case.value}' if case.value else ''} {seconds:g} s"
    return {
        "fault": name, "cadence_periods": watch.longest, "page_s": watch.slowest_s, "absent_s": absent_s,
        "told": is_cause_shown,
        "back_s": back_s, "same_agent": alive, "ok": ok,
    }  # fmt: skip
