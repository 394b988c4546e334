"""GPUs of a plant under random levels of power, watched as the doctor does; and what their sensors really are."""

import math
import os
import random
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from energy_agent.devices.nvml.library import RealNvml
from energy_agent.metering.sensors.traces import SensorTraces
from energy_agent.runtime.clock import SimulatedClock
from energy_agent.sim.gpu.boards import BoardSpec, board
from energy_agent.sim.gpu.build import library_path
from energy_agent.sim.gpu.plant import Plant
from energy_agent.sim.gpu.sensor_capture import captured_sensors
from wattlens.doctor.watching import GpuWatcher, watch

_CLOCKS = {0: "counter", 1: "own", 2: "read", 3: "power"}


def watch_gpus(
    folder: Path,
    specs: Sequence[BoardSpec],
    seed: int,
    seconds: float = 60.0,
    *,
    levels_s: tuple[float, float] = (0.2, 3.0),
    intensity: tuple[float, float] = (0.0, 1.0),
    idle: Callable[[Plant], None] = lambda plant: None,
) -> list[GpuWatcher]:
    """Watch GPUs whose load has levels of log-uniform length; needs WATTLENS_SIM to name `folder`."""
    folder.mkdir(exist_ok=True)
    draw = random.Random(f"levels/{seed}")
    with Plant.create(folder / "plant", specs, seed=seed, manual=True, start_utc_ns=10**18) as plant:
        nvml, clock = RealNvml(library_path()), SimulatedClock(folder / "plant")
        nvml.init()
        watched = {i: GpuWatcher(nvml, nvml.device_by_index(i), clock, lambda _: None) for i in range(len(specs))}
        slots = [plant.attach_process(i, os.getpid(), memory_b=0) for i in watched]
        due_ns = [clock.boot_ns()] * len(specs)

        def load() -> None:
            for i in watched:
                while due_ns[i] < clock.boot_ns() + 20_000_000:  # the next level waits before the last one ends
                    ms = round(1000 * math.exp(draw.uniform(*map(math.log, levels_s))))
                    level = draw.uniform(*intensity)
                    plant.submit(i, slots[i], reference_ns=ms * 10**6, memory_boundness=1.0, intensity=level)
                    due_ns[i] += ms * 10**6
            idle(plant)

        assert watch(watched, clock, seconds, idle=load) == {}
        nvml.shutdown()
    return [watched[i] for i in range(len(specs))]


def traces_of(watcher: GpuWatcher) -> SensorTraces:
    return SensorTraces(
        watcher.read_ms, *(watcher.changes.get(sensor) for sensor in ("energy", "instant", "average", "module"))
    )


def true_sensors(spec: BoardSpec) -> Mapping[str, float | str]:
    """What a perfect doctor reports: two clocks that cannot be distinguished from outside have one name."""
    values = {**board(spec.sku).values, "counter_sampled": float(spec.counter_model == "sampled")}
    values |= {k: float(v) for k, v in (("tick_ms", spec.tick_ms), ("tick_jitter_ms", spec.tick_jitter_ms)) if v is not None}
    values |= (captured_sensors(spec.capture) if spec.capture else {}) | dict(spec.overrides)
    has_counter, has_instant, has_average = (bool(values[f"has_{name}"]) for name in ("counter", "instant", "average"))
    power = {0: "tick", 1: "power", 2: "read"}[int(values["power_clock"])]
    average = {0: "tick", 1: "average", 2: "read", 3: power}[int(values["average_clock"])]
    truth: dict[str, float | str] = {name: values[name] for name in ("has_counter", "has_instant", "has_average")}
    if has_counter:
        truth |= {name: values[name] for name in ("tick_ms", "tick_jitter_ms", "counter_sampled")}
    if has_instant:
        truth |= _clock("power", power, values, {"tick": "counter"} if has_counter else {}) | {"window_ms": values["window_ms"]}
    if has_average:
        sources = ({power: "power"} if has_instant else {}) | ({"tick": "counter"} if has_counter else {})
        truth |= _clock("average", average, values, sources)
        if values["average_tau_ms"]:
            truth["average_tau_ms"] = values["average_tau_ms"]
        else:
            truth["average_window_ms"] = values["average_window_ms"] or 10 * values["tick_ms"]
    return truth


def _clock(sensor: str, source: str, values: Mapping[str, float], sources: Mapping[str, str]) -> dict[str, float | str]:
    if source == "read" or source in sources:
        return {f"{sensor}_clock": "read" if source == "read" else sources[source]}
    period, jitter = ("tick_ms", "tick_jitter_ms") if source == "tick" else (f"{source}_tick_ms", f"{source}_jitter_ms")
    return {f"{sensor}_clock": "own", f"{sensor}_tick_ms": values[period], f"{sensor}_jitter_ms": values[jitter]}
