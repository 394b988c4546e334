"""The GPUs and workload of a sweep, and the settings that they allow. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass

from dvfs.knees import Knee, find
from dvfs.sweep.next_setting import clocks, grid, limits
from dvfs.sweep.profile import Key
from energy_agent.core.errors import UsageError
from wattlens.sweep.gpu import GpuDescription, describe_gpus, on_gpus
from wattlens.top.metrics import MetricsResponse

POINTS, POINTS_OF_BOTH = 5, 3


@dataclass(frozen=True, slots=True)
class TargetRequest:
    """GPUs and workloads from the command line. Empty: not given."""

    gpus: tuple[str, ...] = ()  # indices or UUIDs
    workloads: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class SweepTarget:
    """GPUs of one model and the workloads on them; the first workload's progress is measured."""

    gpus: tuple[GpuDescription, ...]
    workloads: tuple[str, ...]

    @property
    def uuids(self) -> tuple[str, ...]:
        """Of the boards."""
        return tuple(gpu.uuid for gpu in self.gpus)


def target(before: MetricsResponse, after: MetricsResponse, request: TargetRequest, *, named_work: bool) -> SweepTarget | str:
    """Return the target of the sweep, or why it is still unknown. `named_work`: progress does not come from the agent.

    Raises:
        UsageError: waiting cannot help.
    """
    descriptions, on = describe_gpus(after), on_gpus(before, after)
    chosen = _select_gpus(descriptions, request.gpus)
    names = request.workloads
    missing = [name for name in names if name not in on]
    if missing:
        workload_list = ", ".join(sorted(on)) or "none"
        return f"workload {missing[0]!r} not found on the GPUs of this node; workloads: {workload_list}"
    if not names:
        names = tuple(sorted(name for name, uuids in on.items() if not chosen or uuids & {b.uuid for b in chosen}))
        if len(names) > 1:
            or_gpus = "" if chosen else " or its GPUs with --gpus"
            return f"several workloads run here: {', '.join(names)}; select one with --workload{or_gpus}"
        if not names and (not chosen or not named_work):
            return "the agent reports no workload on " + ("these GPUs" if chosen else "a GPU of this node")
    gpu_uuids = {uuid for name in names for uuid in on.get(name, ())}
    devices = tuple(gpu for gpu in descriptions if gpu.uuid in gpu_uuids) if names else chosen
    if chosen and set(devices) != set(chosen):
        indices = ",".join(str(gpu.index) for gpu in devices)
        raise UsageError(f"{', '.join(names)}: uses GPUs {indices}, and a sweep needs all of them: --gpus {indices}")
    uuids = {gpu.uuid for gpu in devices}
    others = sorted(name for name, more in on.items() if name not in names and more & uuids)
    if others:
        return f"{others[0]} also uses these GPUs and would be slowed down: stop it, or add --workload {others[0]}"
    _fit(devices)
    return SweepTarget(devices, names)


def _select_gpus(descriptions: Sequence[GpuDescription], gpus: Sequence[str]) -> tuple[GpuDescription, ...]:
    selected = []
    for name in gpus:
        gpu = next((b for b in descriptions if name in (b.uuid, str(b.index))), None)
        if gpu is None:
            raise UsageError(f"--gpus: expected one of {', '.join(str(b.index) for b in descriptions)}, got {name!r}")
        selected.append(gpu)
    return tuple(selected)


def _fit(devices: Sequence[GpuDescription]) -> None:
    partitioned = next((gpu for gpu in devices if gpu.mig), None)
    if partitioned is not None:
        raise UsageError(
            f"GPU {partitioned.index} is in MIG mode: other workloads may use its instances; a sweep needs whole GPUs"
        )
    kinds = {(gpu.sku, gpu.limit_w) for gpu in devices}
    if len(kinds) > 1:
        descriptions = ", ".join(f"GPU {b.index} {b.sku} at {b.limit_w} W" for b in devices)
        raise UsageError(f"expected GPUs of one model with one power limit, got {descriptions}")


def settings(
    gpu: GpuDescription,
    knees: Sequence[Knee],
    knob: str,
    points: int | None,
    some_clocks: Sequence[int],
    some_caps: Sequence[float],
) -> tuple[Key, ...]:
    """Return the settings to measure: the named ones, else a spread over the knob's useful range.

    Raises:
        UsageError: the GPU does not report its range, its knee is unknown, or a setting is not valid.
    """
    both = knob == "both"
    n = points or (POINTS_OF_BOTH if both else POINTS)
    chosen_clocks = tuple(some_clocks) or (_clocks(gpu, knees, n) if knob in ("clock", "both") else ())
    chosen_caps = tuple(some_caps) or (_caps(gpu, n) if knob in ("power", "both") else ())
    if gpu.limit_w is not None and chosen_caps and max(chosen_caps) > gpu.limit_w:
        raise UsageError(f"--caps: expected at most the current power limit, {gpu.limit_w:g} W, got {max(chosen_caps):g}")
    return grid(chosen_clocks, chosen_caps)


def _clocks(gpu: GpuDescription, knees: Sequence[Knee], points: int) -> tuple[int, ...]:
    knee = find(knees, gpu.sku)
    if knee is None:
        raise UsageError(f"the knee of {gpu.sku!r} is unknown (wattlens dvfs policy); select clocks with --clocks MHZ,MHZ")
    if gpu.clock_max_mhz is None or gpu.clock_max_mhz <= knee.knee_mhz:
        raise UsageError(
            f"{gpu.sku} reports no clock above its knee of {knee.knee_mhz} MHz; select clocks with --clocks MHZ,MHZ"
        )
    return clocks(knee.knee_mhz, gpu.clock_max_mhz, points)


def _caps(gpu: GpuDescription, points: int) -> tuple[float, ...]:
    if gpu.limit_w is None or gpu.limit_min_w is None:
        raise UsageError(f"{gpu.sku} does not report its power limits, so they cannot be swept")
    if gpu.limit_w <= gpu.limit_min_w:
        raise UsageError(f"the current power limit, {gpu.limit_w:g} W, is already the lowest of {gpu.sku}")
    return limits(gpu.limit_min_w, gpu.limit_w, points)
