"""A serving policy at the engine: each period it sees what the agent would read, and chooses the clock of the next one.

The only part of this model that knows `dvfs`.
"""

from collections.abc import Sequence
from itertools import pairwise

import benchmarks.baselines
import dvfs.policies
from benchmarks.vllm_plant.cells import LatencyLimits, ServingCell
from benchmarks.vllm_plant.engine import EngineMetrics, LatencyHistogram, bucket_edges
from benchmarks.vllm_plant.systems import SYSTEMS, clock_settings
from dvfs.knees import Knee
from dvfs.types import DeviceObservation, DvfsPolicy, Observation, Setting, SteeringSettings, WorkCounters
from energy_agent.core import plugin
from energy_agent.core.errors import UsageError
from energy_agent.core.workloads.tokens import Latencies

PACKAGES = (dvfs.policies, benchmarks.baselines)
_NS = 1_000_000_000
_START_NS = 1000 * _NS  # time since boot at the start of the engine
_STALE_S, _STALE_PERIODS = 5.0, 3


def find_policy(name: str) -> DvfsPolicy:
    """The policy or baseline with this name.

    Raises:
        UsageError: no such policy.
    """
    for package in PACKAGES:
        if isinstance(spec := plugin.discover(package).get(name), DvfsPolicy):
            return spec
    raise UsageError(f"--policy: expected a policy of a group, got {name!r}")


class PlantPolicy:
    """A policy that steers the engine of a cell."""

    def __init__(self, spec: DvfsPolicy, cell: ServingCell, limits: LatencyLimits) -> None:
        self._spec, self._gpus, self._settings = spec, SYSTEMS[cell.system].gpus, clock_settings(cell.system)
        # A prefill pool has no time between tokens, and a decode pool no first token.
        ttft_s = None if cell.role == "decode" else limits.ttft_s
        itl_s = None if cell.role == "prefill" else limits.itl_s
        self._terms = SteeringSettings(ttft_s=ttft_s, itl_s=itl_s, attainment_ratio=cell.attainment)
        # The range of the engine is the range of the search, whatever the GPU.
        knee = Knee("plant", ("plant",), self._settings[0], "assumed", "lowest clock of the engine")
        stale_s = max(_STALE_S, _STALE_PERIODS * cell.period_s)
        self._config = spec.configure({"stale_s": stale_s} if "stale_s" in spec.options else {}, (knee,))
        self._state = spec.start()

    def choose(self, metrics: EngineMetrics, mhz: int) -> int:
        """The clock in MHz for the next period, after one at `mhz`."""
        decision, self._state = self._spec.decide(self._observe(metrics, mhz), self._state, self._config)
        if decision.action == "hold":
            return mhz
        top = self._settings[-1]
        wanted_mhz = max((setting.sm_clock_max_mhz or top for setting in decision.settings.values()), default=top)
        # Between two clocks the higher one: a lower one might miss a limit.
        return next((setting for setting in self._settings if setting >= wanted_mhz), top)

    def _observe(self, metrics: EngineMetrics, mhz: int) -> Observation:
        now_ns, top = _START_NS + round(metrics.time_s * _NS), self._settings[-1]
        energy_uj = round(metrics.energy_j * 1e6 / self._gpus)
        devices = tuple(
            DeviceObservation(
                f"plant-{n}", "plant", now_ns, sm_clock_mhz=mhz, event_reasons=0, energy_uj=energy_uj, sm_clock_max_mhz=top
            )
            for n in range(self._gpus)
        )
        return Observation(
            "plant", now_ns, devices, _count_work(metrics, now_ns), progress_expected=True, workload="plant",
            open_arrivals=True, terms=self._terms, clocks_mhz=tuple(self._settings),
            in_force={} if mhz >= top else {device.uuid: Setting(sm_clock_max_mhz=mhz) for device in devices},
        )  # fmt: skip


def _count_work(metrics: EngineMetrics, now_ns: int) -> WorkCounters:
    ttft_edges, itl_edges = bucket_edges()
    itl = _latencies(metrics.itl, itl_edges)
    return WorkCounters(
        now_ns, tokens=round(metrics.generated_tokens), queue=round(metrics.waiting), latency_sum_s=itl.sum_s,
        latency_count=itl.count, prompt_tokens=round(metrics.prompt_tokens), requests=round(metrics.requests),
        running=round(metrics.running), ttft=_latencies(metrics.ttft, ttft_edges), itl=itl,
        tpot=_latencies(metrics.request_itl, itl_edges),
    )  # fmt: skip


def _latencies(histogram: LatencyHistogram, edges: Sequence[float]) -> Latencies:
    cumulative = [0, *(round(count) for count, _ in zip(histogram.buckets, edges, strict=False)), round(histogram.count)]
    return Latencies(tuple(edges), tuple(high - low for low, high in pairwise(cumulative)), histogram.sum_s)
