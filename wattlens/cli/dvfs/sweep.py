"""`wattlens dvfs sweep`: measures a workload's time and power over clock and limit into a profile (docs/dvfs-test.md)."""

import os
import sys
from argparse import REMAINDER, ArgumentTypeError, Namespace
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from energy_agent.core.errors import UsageError, WattlensError
from wattlens.cli._command import Command, CommandOptions, print_lines, print_table
from wattlens.cli._options import (
    AGENT_URL,
    add_actuator_socket,
    add_agent_files,
    add_simulate,
    agent_access,
    duration,
    enter_simulated_node,
    number,
    share,
    strip_separator,
)

if TYPE_CHECKING:
    from dvfs.sweep.profile import SweepProfile
    from energy_agent.core.ports import Clock
    from wattlens.sweep.planning import PlanOptions
    from wattlens.sweep.run import SweepOptions
    from wattlens.sweep.work import Work

T = TypeVar("T", int, float)
_WAIT_S, _WAIT_FOR_PROGRAM_S, _WARM_UP_S = 15.0, 600.0, 30.0
_OF_THE_PLAN = ("knob", "clocks", "caps", "points", "seconds", "settle")


def _configure(add: CommandOptions) -> None:
    add.parser.usage = ("\n" + " " * 21).join(
        (
            "wattlens dvfs sweep [-h] --out FILE [--resume] [--workload NAME]...",
            "[--gpus N,N] [--name NAME] [--knob clock|power|both]",
            "[--clocks MHZ,MHZ | --points N] [--caps W,W]",
            "[--interval TIME] [--settle TIME] [--repeats N]",
            "[--precision SHARE]",
            "[--work steps|tokens] [--work-from URL --work-metric NAME]",
            "[--tokens-from URL] [--token-server NAME]",
            "[--actuator PATH] [--url URL] [--wait TIME]",
            "[--warm-up TIME]",
            "[--simulate [DIR]] [--json] [-- CMD ...]",
        )
    )
    add("--out FILE", "output file of the profile, written after every measurement", required=True)
    add("--resume", "continue the profile in --out with its own plan")
    add("--workload NAME", "workload, as the agent names it; may be repeated for several pods", action="append", default=[])
    add("--gpus N,N", "indices or UUIDs (default: the GPUs of the workload)")
    add("--name NAME", "name of the workload in the profile (default: the agent's, or the command)", default="")
    add("--knob", "setting to sweep; both: a grid (default: clock)", choices=("clock", "power", "both"))
    add("--clocks MHZ,MHZ", "SM clocks (default: from the GPU's knee to its maximum)", type=_list(int), default=())
    add("--caps W,W", "power limits (default: from the GPU's lowest to the original limit)", type=_list(float), default=())
    add("--points N", "number of values (default: 5, or 3 per setting in a grid)", type=number(int, 1, 50))
    add("--interval TIME", "length of a measurement (default: 20s)", dest="seconds", type=duration(5, 3600))
    add("--settle TIME", "wait between a setting and its measurement (default: 5s)", type=duration(1, 3600))
    add("--repeats N", "maximum number of measurements per setting (default: 5)", type=number(int, 2, 1000))
    add(
        "--precision 1%",
        "stop measuring a setting once the 95 %% intervals of its time and power are this narrow (default: 1%%)",
        type=share(above=True),
    )
    add(
        "--work WORK",
        "steps or tokens, as counted by the agent (default: the one available); with --work-from: unit of that counter",
    )
    add("--work-from URL", "metrics endpoint that counts the work")
    add("--work-metric NAME", "name of the counter at --work-from")
    add("--tokens-from URL", "metrics endpoint of an inference server")
    add(
        "--tokens-ca-file FILE",
        "CA certificates of an https:// endpoint of --tokens-from or --work-from (default: the system's)",
    )
    add("--token-server NAME", "kind of server (docs/tokens.md; default: vllm)", default="vllm")
    add_actuator_socket(add, "--actuator")
    add("--url URL", f"the agent's metrics endpoint (default {AGENT_URL})")
    add_agent_files(add)
    add(
        "--wait TIME",
        "maximum wait for the workload and its first work (default: 15s; with CMD 10m)",
        type=duration(high_s=1e6),
    )
    add("--warm-up TIME", "run time before the first measurement (default: 0s; with CMD 30s)", type=duration(0, 1e6))
    add_simulate(add, "sweep the simulated node that runs in DIR (see wattlens sim) instead of this machine's GPUs")
    add("--json", "print the profile instead of a table")
    add("command CMD", "command to run as the workload; the sweep ends it afterwards", nargs=REMAINDER)


def _run(args: Namespace) -> int:
    """Sweep; 0 when the plan is done, 128 + N after signal N."""
    from wattlens.sweep.hold import EndedError
    from wattlens.sweep.run import SweepRun
    from wattlens.sweep.shown import SweepProgress

    options = _options(args)
    progress = SweepProgress(in_place=sys.stderr.isatty() and not options.command)
    sweep = SweepRun(options, progress)
    code = 0
    try:
        sweep.run()
    except EndedError as ended:
        code = 128 + ended.number
        progress.say(
            f"wattlens: ended by {ended}; every original setting is restored" + _describe_saved(sweep.profile, options.out)
        )
    except WattlensError as error:
        if sweep.profile is None:
            raise
        raise WattlensError(f"{error}{_describe_saved(sweep.profile, options.out)}") from None
    finally:
        progress.clear()
    if sweep.profile is not None and (code == 0 or sweep.profile.points):
        _print(sweep.profile, as_json=args.json)
    return code


def _describe_saved(profile: "SweepProfile | None", out: Path) -> str:
    return "" if profile is None else f"; {len(profile.stretches)} measurements are in {out}, continue with --resume"


def _print(profile: "SweepProfile", *, as_json: bool) -> None:
    from dvfs.sweep.profile import dump
    from wattlens.sweep.shown import rows, summary

    if as_json:
        print(dump(profile), end="")
        return
    print_table(rows(profile))
    print_lines(summary(profile))


def _options(args: Namespace) -> "SweepOptions":
    from dvfs.actuator.client import default_socket
    from energy_agent.runtime.clock import clock_for
    from wattlens.sweep.run import SweepOptions
    from wattlens.sweep.target import TargetRequest

    command = tuple(strip_separator(args.command))
    enter_simulated_node(args.simulate)
    clock = clock_for(os.environ)
    plan = _plan(args)
    work = _work(args, clock)
    wait_s = args.wait or (_WAIT_FOR_PROGRAM_S if command else _WAIT_S)
    warm_up_s = (_WARM_UP_S if command else 0.0) if args.warm_up is None else args.warm_up
    return SweepOptions(
        args.out,
        agent_access(args, AGENT_URL)[0],
        args.actuator or default_socket(),
        clock,
        plan,
        TargetRequest(tuple(filter(None, (args.gpus or "").split(","))), tuple(args.workload)),
        args.name,
        work,
        args.work if work is None else None,
        wait_s,
        warm_up_s,
        args.resume,
        command,
        dict(os.environ),
    )


def _plan(args: Namespace) -> "PlanOptions":
    from wattlens.sweep.planning import PlanOptions

    plan_flags = [name for name in _OF_THE_PLAN if getattr(args, name) not in (None, ())]
    if args.resume and plan_flags:
        raise UsageError(f"--{plan_flags[0]}: cannot be combined with --resume, which continues the plan in {args.out}")
    clocks, caps = args.clocks, args.caps
    knob = args.knob or ("both" if clocks and caps else "power" if caps else "clock")
    if (clocks and knob == "power") or (caps and knob == "clock"):
        raise UsageError(f"--knob {knob} sets no {'clocks' if clocks else 'limits'}: use --knob both, or omit it")
    return PlanOptions(
        knob,
        clocks,
        caps,
        args.points,
        args.seconds,
        args.settle,
        args.repeats,
        args.precision and float(args.precision),
    )


def _work(args: Namespace, clock: "Clock") -> "Work | None":
    from wattlens.sweep.work import metric_page, server_page

    if (args.work_from is None) != (args.work_metric is None):
        raise UsageError("--work-from and --work-metric: expected both (a metrics endpoint and one of its counters) or neither")
    if args.work_from is not None and args.tokens_from is not None:
        raise UsageError("--work-from: cannot be combined with --tokens-from")
    if args.work_from is not None:
        return metric_page(args.work_from, args.work_metric, clock, args.work or "", args.tokens_ca_file)
    if args.work not in (None, "steps", "tokens"):
        raise UsageError(f"--work: expected steps or tokens without --work-from, got {args.work!r}")
    return None if args.tokens_from is None else server_page(args.tokens_from, args.token_server, clock, args.tokens_ca_file)


def _list(convert: Callable[[str], T]) -> Callable[[str], tuple[T, ...]]:
    def parse(text: str) -> tuple[T, ...]:
        try:
            values = tuple(convert(part) for part in text.split(","))
        except ValueError:
            values = ()
        if not values or len(values) > 100 or not all(0 < each < 1e5 for each in values):
            raise ArgumentTypeError(f"expected numbers such as 1005,1200,1410, got {text!r}")
        return tuple(dict.fromkeys(values))

    return parse


COMMAND = Command("measure a workload's time and power at several clocks or power limits", _configure, _run)
