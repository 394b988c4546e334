"""`wattlens sim`: the simulated GPU node, started, used, disturbed, looked at and stopped."""

import os
import shlex
import signal
import time
from argparse import REMAINDER, Namespace, RawDescriptionHelpFormatter
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from energy_agent.core.errors import UsageError, WattlensError
from wattlens.cli._command import Command, CommandOptions, print_json
from wattlens.cli._options import duration, duration_text, strip_separator
from wattlens.cli.sim import meters

if TYPE_CHECKING:
    from energy_agent.sim.node import SimulatedNode


def _add_start(add: CommandOptions) -> None:
    add("scenario SCENARIO", "name of a shipped scenario (see wattlens sim list) or path of a YAML file")
    add("--rate R", "simulated seconds per real second, at most 20 (default: the scenario's)", type=float)
    add("--seed N", "seed (default: the scenario's)", type=int)
    add("--foreground", "stay in the foreground; Ctrl-C stops the node")


def _add_command(add: CommandOptions) -> None:
    add.parser.usage = "wattlens sim run [-h] [--dir DIR] -- CMD ..."
    add("command CMD", "the program and its arguments", nargs=REMAINDER)


def _add_fault(add: CommandOptions) -> None:
    add.parser.epilog = meters.fault_rows()
    add.parser.formatter_class = RawDescriptionHelpFormatter
    add("gpu GPU", "GPU or meter, such as gpu2 or meter:main")
    add("kind FAULT", "kind of fault, listed below")
    add("--call NAME", "limit the fault to this NVML function, such as nvmlDeviceGetPowerUsage", default="")
    add("--value N", "value of the fault, see below", type=int, default=0)
    add(
        "--for TIME",
        "wait this long (simulated time, such as 10s), then clear it and return; default: return at once",
        dest="for_s",
        type=duration(high_s=86_400),
    )


def _add_cleared(add: CommandOptions) -> None:
    add("gpu GPU", "GPU or meter, such as gpu2 or meter:main")
    add("kind FAULT", "kind of fault, see wattlens sim fault (default: all)", nargs="?", default="")


def _add_json(add: CommandOptions) -> None:
    add("--json", "print JSON")


def _action(
    summary: str, run: Callable[[Namespace], int], declare: Callable[[CommandOptions], None] = lambda _: None
) -> Command:
    def configure(add: CommandOptions) -> None:
        add("--dir DIR", "folder of the node (default: one per user)")
        declare(add)

    return Command(summary, configure, run)


def _start(args: Namespace) -> int:
    from energy_agent.sim.node import SimulatedNode

    if args.foreground:
        signal.signal(signal.SIGTERM, signal.default_int_handler)
    node = SimulatedNode.start(args.scenario, args.dir, seed=args.seed, rate=args.rate)
    if not args.foreground:
        _show_start(node, args.scenario)
        where = f" --dir {shlex.quote(str(node.directory))}" if args.dir else ""
        print(f"show: wattlens sim status{where}\nuse:  wattlens sim run{where} -- CMD\nstop: wattlens sim stop{where}")
        return 0
    with node:
        try:
            _show_start(node, args.scenario)
            print("Ctrl-C stops it", flush=True)
            while node.running:
                time.sleep(0.2)
        except KeyboardInterrupt:
            return 0
    raise WattlensError(f"the simulated node exited; see {node.directory / 'daemon.log'}")


def _show_start(node: "SimulatedNode", name: str) -> None:
    state = node.state()
    print(f"simulated node: {name}, rate {state['rate']:g}, in {node.directory}")
    for workload in state["workloads"]:
        page = f"  {workload['metrics_url']}" if workload["metrics_url"] else ""
        gpus = ",".join(map(str, workload["gpus"]))
        print(f"  {workload['name']:20} {workload['kind']:9} gpu {gpus:10} {workload['phase']}{page}")
    used = {gpu for workload in state["workloads"] for gpu in workload["gpus"]}
    with node.plant() as plant:
        free = [str(gpu) for gpu in range(plant.count) if gpu not in used]
    if used and free:
        print(f"  {'no workload':20} {'':9} gpu {','.join(free)}")


def _exec(args: Namespace) -> int:
    node = _attached(args)
    command = strip_separator(args.command)
    if not command:
        raise UsageError("sim run: no command given; usage: wattlens sim run -- COMMAND")
    try:
        os.execvpe(command[0], command, os.environ | node.environ())  # noqa: S606 - no shell is meant
    except OSError as error:
        raise UsageError(f"sim run: cannot run {command[0]!r}: {error.strerror}") from error


def _env(args: Namespace) -> int:
    for name, value in _attached(args).environ().items():
        print(f"export {name}={shlex.quote(value)}")
    return 0


def _fault(args: Namespace) -> int:
    node, meter = _attached(args), meters.meter_of(args.gpu)
    kind = meters.fault_kind(meter, args.kind, args.call, args.value)
    seconds = args.for_s
    if seconds is not None and kind.once:
        raise UsageError(f"--for: cannot be combined with fault {args.kind!r}, which happens once")
    name, put, clear = _target(node, args.gpu)
    put(args.kind, args.call, args.value)
    waits = f"; will be cleared after {duration_text(seconds)} (Ctrl-C clears it now)" if seconds else ""
    print(f"{name}: {args.kind} set{waits}", flush=True)
    if seconds is not None:
        try:
            time.sleep(seconds / float(node.state()["rate"]))
        finally:  # Ctrl-C ends the fault too
            clear(args.kind)
        print(f"{name}: {args.kind} cleared")
    return 0


def _clear(args: Namespace) -> int:
    node = _attached(args)
    if args.kind:
        meters.fault_kind(meters.meter_of(args.gpu), args.kind, "", 0)
    name, _, clear = _target(node, args.gpu)
    clear(args.kind)
    print(f"{name}: {args.kind or 'all faults'} cleared")
    return 0


def _target(node: "SimulatedNode", text: str) -> tuple[str, Callable[[str, str, int], None], Callable[[str], None]]:
    """Name of a GPU or meter, and what sets and clears a fault of it."""
    from energy_agent.sim.building import site
    from energy_agent.sim.gpu.faults import parse_gpu

    meter = meters.meter_of(text)
    if meter is not None:
        return (
            text,
            lambda kind, _, value: site.fault(node, meter, kind, value),
            lambda kind: site.clear(node, meter, kind),
        )
    with node.plant() as plant:
        gpu = parse_gpu(text, plant.count)
    return (
        f"gpu{gpu}",
        lambda kind, call, value: node.fault(gpu, kind, call=call, value=value),
        lambda kind: node.clear(gpu, kind),
    )


def _status(args: Namespace) -> int:
    node = _attached(args)
    status = node_status(node)
    if args.json:
        print_json(status)
        return 0
    print(f"simulated node in {node.directory}, simulated time {status['elapsed_s']:.1f} s, rate {status['rate']:g}")
    print(f"{'gpu':>3} {'true J':>12} {'sensed J':>12} {'power W':>8} {'clock MHz':>9} {'limit W':>8} {'temp C':>6}  faults")
    for gpu in status["gpus"]:
        faults = ", ".join(f["kind"] + (f" {f['call']}" if f["call"] else "") for f in gpu["faults"]) or "-"
        print(
            f"{gpu['gpu']:>3} {gpu['true_j']:>12.1f} {gpu['sensed_j']:>12.1f} {gpu['power_w']:>8.1f} {gpu['sm_clock_mhz']:>9}"
            f" {gpu['power_limit_w']:>8.0f} {gpu['temperature_c']:>6.1f}  {faults}"
        )
    meters.show_building(status.get("facility"))
    for workload in status["workloads"]:
        counters = workload["counters"]
        details = ", ".join(
            f"{k} {v}" for k, v in counters.items() if isinstance(v, int) and k not in {"pid", "started_ns", "updated_ns"}
        )
        gpus = ",".join(map(str, workload["gpus"]))
        print(f"{workload['name']}: {workload['phase']}, pid {workload['pid']}, gpu {gpus}; {details}")
    return 0


def node_status(node: "SimulatedNode") -> dict[str, Any]:
    """The truth of a node as plain data: energy since its start in J, power, clocks, faults and workloads."""
    from dataclasses import asdict

    from energy_agent.core.units import UJ_PER_J
    from energy_agent.sim.gpu.faults import NODE_WIDE
    from energy_agent.sim.node import elapsed_s

    state, faults = node.state(), node.faults()
    with node.plant() as plant:
        gpus = []
        for index in range(plant.count):
            truth = plant.truth(index)
            gpus.append(
                {
                    "gpu": index,
                    "uuid": plant.uuid(index),
                    "true_j": truth.true_uj / UJ_PER_J,
                    "sensed_j": truth.sensed_uj / UJ_PER_J,
                    "unseen_j": truth.unseen_uj / UJ_PER_J,
                    "gain": truth.gain,
                    "power_w": truth.power_w,
                    "power_limit_w": truth.power_limit_mw / 1000,
                    "sm_clock_mhz": truth.sm_clock_mhz,
                    "locked_mhz": list(truth.locked_mhz),
                    "temperature_c": truth.temperature_c,
                    "pids": [s.pid for s in truth.slots if s.live],
                    "faults": [asdict(f) for f in faults if f.gpu == index or f.kind in NODE_WIDE],
                }
            )
        elapsed = elapsed_s(state, plant)
    return {
        "directory": str(node.directory),
        "elapsed_s": elapsed,
        "rate": state["rate"],
        "seed": state["seed"],
        "gpus": gpus,
        "workloads": node.workloads(),
        **({"facility": building} if (building := meters.building_status(node)) is not None else {}),
    }


def _stop(args: Namespace) -> int:
    node = _attached(args)
    node.stop()
    print(f"stopped the simulated node in {node.directory}")
    return 0


def _list(args: Namespace) -> int:
    from energy_agent.sim import scenario

    descriptions = {name: scenario.load(name).description for name in scenario.shipped()}
    if args.json:
        print_json(descriptions)
    else:
        for name, description in descriptions.items():
            print(f"{name:12} {description}")
    return 0


def _attached(args: Namespace) -> "SimulatedNode":
    from energy_agent.sim.node import SimulatedNode

    return SimulatedNode.attach(args.dir)


SPEC = Command(
    "run a simulated GPU node and inject faults",
    actions={
        "start": _action("start a simulated GPU node in the background", _start, _add_start),
        "run": _action("run an NVML client on the node", _exec, _add_command),
        "env": _action('print the environment of the node, for eval "$(wattlens sim env)" in a shell', _env),
        "fault": _action("set a fault on a GPU, or on a meter of the building, while the node runs", _fault, _add_fault),
        "clear": _action("clear one kind of fault on a GPU or meter, or all faults", _clear, _add_cleared),
        "status": _action("show the true state of the node: energy, power, clocks, faults, workloads", _status, _add_json),
        "stop": _action("stop the node and its workloads", _stop),
        "list": _action("list the shipped scenarios", _list, _add_json),
    },
)
