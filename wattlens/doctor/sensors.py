"""`wattlens doctor --sensors`: the sensors of each GPU, measured from their own readings; a capture file for the simulator."""

import gzip
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import wattlens
from energy_agent.core.errors import UsageError
from energy_agent.metering.sensors.profile import no_profile, profile
from energy_agent.metering.sensors.traces import Row, SensorTraces
from energy_agent.node.sensor_file import SCHEMA
from wattlens.doctor import child
from wattlens.doctor.capturing import write_new
from wattlens.doctor.sensor_plot import draw
from wattlens.doctor.watching import SIGNALS
from wattlens.top.screen import has_unicode
from wattlens.top.text import Line

_NAMES = {
    "tick_ms": ("counter update period", "ms"),
    "tick_jitter_ms": ("  jitter", "ms"),
    "tick_max_ms": ("  longest", "ms"),
    "counter_step_mj": ("  resolution", "mJ"),
    "counter_sampled": ("  type", ""),
    "power_clock": ("instant power updates", ""),
    "power_tick_ms": ("  period", "ms"),
    "power_jitter_ms": ("  jitter", "ms"),
    "power_phase_ms": ("  lag behind the counter", "ms"),
    "window_ms": ("  averaging window", "ms"),
    "counter_to_power_ratio": ("  counter / power", ""),
    "counter_to_module_ratio": ("  counter / module power", ""),
    "counter_scope": ("  counter includes", ""),
    "average_clock": ("average power updates", ""),
    "average_tick_ms": ("  period", "ms"),
    "average_jitter_ms": ("  jitter", "ms"),
    "average_phase_ms": ("  lag behind the counter", "ms"),
    "average_window_ms": ("  boxcar", "ms"),
    "average_tau_ms": ("  exponential, constant", "ms"),
}
_WORDS = {
    "counter": "with the counter", "own": "on its own clock", "read": "at every read", "power": "with instant power",
    "gpu": "the GPU", "module": "the GPU's module",
    0.0: "counts all energy", 1.0: "sums samples of power",
}  # fmt: skip


@dataclass
class MeasuredSensors:
    """What a run of the doctor measured: `node`, and by GPU its description and the changes of each sensor."""

    head: dict[str, Any]
    gpus: dict[int, dict[str, Any]] = field(default_factory=dict)
    changes: dict[int, dict[str, list[Row]]] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """Without the changes."""
        return self.head | {"boards": [self.gpus[i] for i in sorted(self.gpus)]}


def measure(environ: Mapping[str, str], seconds: float, gpu: int | None = None, *, single: bool = False) -> MeasuredSensors:
    """Watch every GPU, or one, for `seconds` under the current load.

    GPUs that hang are named and excluded, and the watch restarts.

    Raises:
        UsageError: no such GPU, or with `single` several.
        WattlensError: NVML as a whole does not respond.
    """
    only = [] if gpu is None else [f"--gpu={gpu}"]

    def take(exclude: list[str]) -> MeasuredSensors:
        task = ["watch", f"--seconds={seconds}", *exclude, *only]
        head = {"schema": SCHEMA, "wattlens": wattlens.__version__, "simulated": bool(environ.get("WATTLENS_SIM"))}
        sensors = MeasuredSensors(head | {"seconds": seconds, "fields": SIGNALS})
        for message in child.measure(task, environ, "watching the sensors", seconds):
            index = message.get("index", -1)
            match message["k"]:
                case "nvml":
                    sensors.head |= {"driver": message["driver"], "nvml": message["nvml"]}
                    if gpu is not None and gpu >= message["count"]:
                        raise UsageError(f"--sensors: expected a GPU from 0 to {message['count'] - 1}, got {gpu}")
                    if single and gpu is None and message["count"] > 1:
                        raise UsageError(
                            f"--out: a file has one GPU and this node has {message['count']}: choose one, --sensors GPU"
                        )
                case "board":
                    sensors.gpus[index] = {k: message[k] for k in ("index", "uuid", "name")}
                case "gone":
                    sensors.gpus.setdefault(index, {"index": index}).update(no_profile(message["reason"]).as_json())
                case "changes":
                    rows = sensors.changes.setdefault(index, {}).setdefault(message["sensor"], [])
                    rows += [(after, by, value) for after, by, value in message["rows"]]
                case "watched":
                    changes = sensors.changes.setdefault(index, {})
                    traces = SensorTraces(
                        message["read_ms"], *(changes.get(s) for s in ("energy", "instant", "average", "module"))
                    )
                    sensors.gpus[index] |= {"read_ms": round(message["read_ms"], 3), **profile(traces).as_json()}
                    sensors.gpus[index]["not_supported"] = message["absent"]
        return sensors

    sensors, hung = child.without_hung_gpus(take)
    sensors.gpus |= {index: {"index": index} | no_profile(failed.reason).as_json() for index, failed in hung.items()}
    return sensors


def write_capture(path: Path, measured: MeasuredSensors) -> None:
    """Write the capture file of one GPU: what --json prints without UUID, and the changes in us since the first reading.

    Raises:
        UsageError: the GPU did not respond, or the file cannot be written.
    """
    (index,) = measured.gpus
    changes = measured.changes.get(index, {})
    if not changes:
        raise UsageError(f"--out: GPU {index} has no reading")
    first_ns = min(rows[0][0] for rows in changes.values() if rows)
    in_us = {s: [[(a - first_ns) // 1000, (b - first_ns) // 1000, v] for a, b, v in rows] for s, rows in changes.items()}
    board = {k: v for k, v in measured.gpus[index].items() if k not in ("index", "uuid")} | {"changes": in_us}
    text = json.dumps(measured.head | {"boards": [board]}, separators=(",", ":"))
    write_new(path, gzip.compress(text.encode(), mtime=0))


def describe(measured: MeasuredSensors, width: int = 78) -> list[Line]:
    """The profile for people: per GPU its parameters with bounds, what is absent and why, and a plot."""
    head = measured.head
    simulated = "SIMULATED GPUs; " if head["simulated"] else ""
    lines: list[Line] = [[("", f"{simulated}sensors over {head['seconds']:g} s, driver {head['driver']}; [ ] are 95 % bounds")]]
    for index, gpu in sorted(measured.gpus.items()):
        read = f", a read every {gpu['read_ms']:.1f} ms" if "read_ms" in gpu else ""
        lines += [[], [("bold", f"GPU {index}  {gpu.get('name', '')}"), ("", read)], *_parameters(gpu)]
        lines += draw(measured.changes.get(index, {}), width, unicode=has_unicode())
    return lines


def _parameters(gpu: Mapping[str, Any]) -> list[Line]:
    lines: list[Line] = []
    reasons: dict[str, list[str]] = {}
    for key, (name, unit) in _NAMES.items():
        estimate = gpu["sensors"].get(key) or gpu[key]
        if "absent" in estimate:
            reasons.setdefault(estimate["absent"], []).append(key)
        elif estimate["value"] in _WORDS and key in ("power_clock", "average_clock", "counter_sampled", "counter_scope"):
            lines.append([("", f"  {name:<24}"), ("bold", f" {_WORDS[estimate['value']]}"), ("dim", f"  n={estimate['n']}")])
        else:
            digits = 4 if not unit else 0 if unit == "mJ" else 1
            bounds = f"[{estimate['low']:.{digits}f}, {estimate['high']:.{digits}f}]"
            text = f" {estimate['value']:>9.{digits}f} {unit:<3} {bounds:<18}"
            lines.append([("", f"  {name:<24}"), ("bold", text), ("dim", f" n={estimate['n']}")])
    for reason, names in reasons.items():
        lines.append([("dim", f"  absent: {', '.join(names)}: {reason}")])
    return lines
