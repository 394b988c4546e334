"""`wattlens doctor --sensors`: the sensors of each GPU, measured from their own answers."""

from collections.abc import Mapping
from typing import Any

import wattlens
from energy_agent.core.errors import WattlensError
from energy_agent.metering.sensor_profile import SensorTick, absent, profile
from energy_agent.node.sensor_file import SCHEMA
from wattlens.doctor import child
from wattlens.terminal_line import seconds_passed

_NAMES = {
    "tick_ms": ("counter update period", "ms"),
    "tick_jitter_ms": ("jitter of updates", "ms"),
    "tick_max_ms": ("longest update period", "ms"),
    "counter_step_mj": ("counter resolution", "mJ"),
    "counter_to_power_ratio": ("counter / power", ""),
    "power_window_ms": ("power averaging window", "ms"),
    "power_age_ms": ("mean age of power", "ms"),
}


def measure(environ: Mapping[str, str], seconds: float) -> dict[str, Any]:
    """Watch every GPU for `seconds` under the current load. GPUs that hang are named and excluded, and the watch restarts.

    Raises:
        WattlensError: NVML as a whole does not respond.
    """
    hung: dict[int, str] = {}
    while True:
        try:
            return _measured(environ, seconds, hung)
        except child.ChildError as failed:
            if failed.index is None or failed.index in hung:
                raise
            hung[failed.index] = failed.reason


def _measured(environ: Mapping[str, str], seconds: float, hung: Mapping[int, str]) -> dict[str, Any]:
    node: dict[str, Any] = {"driver": "", "nvml": ""}
    gpus: dict[int, dict[str, Any]] = {i: {"index": i} | absent(reason).as_json() for i, reason in hung.items()}
    task = ["watch", f"--seconds={seconds}", *(f"--exclude={i}" for i in hung)]
    with seconds_passed("watching the sensors", seconds) as show_progress:
        for message in child.ask(task, environ):
            show_progress("")
            match message["k"]:
                case "nvml":
                    node = {"driver": message["driver"], "nvml": message["nvml"]}
                case "fatal":
                    raise WattlensError(f"NVML {message['call']}: {message['reason']}; see wattlens doctor")
                case "board":
                    gpus[message["index"]] = {k: message[k] for k in ("index", "uuid", "name")}
                case "gone":
                    gpus.setdefault(message["index"], {"index": message["index"]}).update(absent(message["reason"]).as_json())
                case "changes":
                    gpus[message["index"]] |= _profiled(message)
    found = [gpus[i] for i in sorted(gpus)]
    simulated = bool(environ.get("WATTLENS_SIM"))
    head = {"schema": SCHEMA, "wattlens": wattlens.__version__, "simulated": simulated, "seconds": seconds}
    return head | node | {"boards": found}


def _profiled(message: Mapping[str, Any]) -> dict[str, Any]:
    if message["reason"]:
        return absent(message["reason"]).as_json()
    found = profile([SensorTick(*row) for row in message["rows"]]).as_json()
    return found | {"power": "instant" if message["instant"] else "PowerUsage, a one-second mean on most GPUs"}


def text(measured: Mapping[str, Any]) -> str:
    """The profile for people: a block a board, boards that differ only by chance not merged, since each has its own errors."""
    lines = [f"Sensors over {measured['seconds']:g} s, driver {measured['driver']}; [ ] are 95 % bounds"]
    for gpu in measured["boards"]:
        lines += ["", f"GPU {gpu['index']}  {gpu.get('name', '')}"]
        reasons: dict[str, list[str]] = {}
        for key, (name, unit) in _NAMES.items():
            value = gpu[key]
            if "absent" in value:
                reasons.setdefault(value["absent"], []).append(name)
                continue
            digits = 4 if not unit else 0 if unit == "mJ" else 1
            bounds = f"[{value['low']:.{digits}f}, {value['high']:.{digits}f}]"
            lines.append(f"  {name:<24}{value['value']:>9.{digits}f} {unit:<3} {bounds:<18} n={value['n']}")
        if gpu["counter_model"] != "undecided":
            lines.append(f"  {'counter':<24}{_MODELS[gpu['counter_model']]}")
            lines.append(f"  {'':<24}({gpu['counter_model_reason']})")
        else:
            reasons.setdefault(gpu["counter_model_reason"], []).append("type of the counter")
        for reason, names in reasons.items():
            lines.append(f"  absent: {', '.join(names)}")
            lines.append(f"    since {reason}")
    return "\n".join([*lines, ""])


_MODELS = {"full": "counts all energy", "sampled": "sums samples of power"}
