"""Which pods a simulated node has at an instant: from the scenario, the phases of its workloads, and the time."""

import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from energy_agent.core.units import NS_PER_S
from energy_agent.sim.cluster.model import Pod
from energy_agent.sim.scenario import Scenario
from energy_agent.sim.supervisor import WorkloadProcess

_UID = re.compile(r"pod([0-9a-f]{8}(?:[_-][0-9a-f]{4}){3}[_-][0-9a-f]{12})")


@dataclass(frozen=True, slots=True)
class PodNow:
    """A pod and where it stands. `phase` is Pending, Running, Succeeded or Failed."""

    pod: Pod
    uid: str
    phase: str
    gpus: tuple[str, ...]  # UUIDs
    listed: bool  # by the kubelet


@dataclass(slots=True)
class Pods:
    """All pods of a node. Call `at` from one thread."""

    scenario: Scenario
    jobs: Sequence[WorkloadProcess]
    uuid: Callable[[int], str]
    _ended_s: dict[str, float] = field(default_factory=dict)

    def at(self, elapsed_ns: int) -> list[PodNow]:
        """Those that are there `elapsed_ns` of plant time after the start, and those that have ended."""
        if self.scenario.kubelet is None:
            return []
        by_name = {job.workload.name: job for job in self.jobs}
        pods = [self._now(pod, by_name, elapsed_ns / NS_PER_S) for pod in self.scenario.kubelet.pods]
        return [now for now in pods if now is not None]

    def _now(self, pod: Pod, jobs: Mapping[str, WorkloadProcess], now_s: float) -> PodNow | None:
        gpus, start_s, uid = pod.gpus, pod.start_s, _uid(self.scenario.seed, pod)
        if pod.workload is None:
            phase = "Pending" if now_s < start_s else "Running" if pod.end_s is None or now_s < pod.end_s else "Succeeded"
        else:
            job = jobs[pod.workload]
            gpus, start_s = job.workload.gpus, job.workload.start_s
            in_cgroup = _UID.search(job.cgroup)
            uid = in_cgroup[1].replace("_", "-") if in_cgroup else uid
            phase = {"running": "Running", "ended": "Succeeded", "failed": "Failed"}.get(job.phase, "Pending")
        if phase == "Pending" and now_s < start_s - pod.lead_s:
            return None
        if phase in ("Succeeded", "Failed"):
            ended_s = self._ended_s.setdefault(uid, now_s)
            listed = now_s - ended_s < pod.lingers_s
        else:
            self._ended_s.pop(uid, None)
            listed = True
        return PodNow(pod, uid, phase, tuple(self.uuid(gpu) for gpu in gpus), listed)


def _uid(seed: int, pod: Pod) -> str:
    text = hashlib.sha256(f"{seed}/{pod.namespace}/{pod.name}/{pod.start_s}".encode()).hexdigest()
    return "-".join((text[:8], text[8:12], text[12:16], text[16:20], text[20:32]))
