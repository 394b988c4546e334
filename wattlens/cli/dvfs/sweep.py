"""`wattlens dvfs sweep`: measures a workload's time and power over clock and limit into a profile (docs/dvfs-test.md)."""

import argparse
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from energy_agent.core.errors import UsageError, WattlensError
from wattlens.cli._command import print_table
from wattlens.cli._options import (
    AGENT_FILES,
    AGENT_URL,
    add_actuator_socket,
    add_agent_files,
    add_simulate,
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


def configure(parser: argparse.ArgumentParser) -> None:
    """Options of `wattlens dvfs sweep`."""
    parser.usage = ("\n" + " " * 21).join(
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
    add = parser.add_argument
    add("--out", type=Path, required=True, metavar="FILE", help="output file of the profile, written after every measurement")
    add("--resume", action="store_true", help="continue the profile in --out with its own plan")
    add(
        "--workload",
        action="append",
        default=[],
        metavar="NAME",
        help="workload, as the agent names it; may be repeated for several pods",
    )
    add("--gpus", metavar="N,N", help="indices or UUIDs (default: the GPUs of the workload)")
    add("--name", default="", help="name of the workload in the profile (default: the agent's, or the command)")
    add("--knob", choices=("clock", "power", "both"), help="setting to sweep; both: a grid (default: clock)")
    add(
        "--clocks",
        type=_list(int),
        default=(),
        metavar="MHZ,MHZ",
        help="SM clocks (default: from the GPU's knee to its maximum)",
    )
    add(
        "--caps",
        type=_list(float),
        default=(),
        metavar="W,W",
        help="power limits (default: from the GPU's lowest to the original limit)",
    )
    add("--points", type=number(int, 1, 50), metavar="N", help="number of values (default: 5, or 3 per setting in a grid)")
    what = "length of a measurement (default: 20s)"
    add("--interval", dest="seconds", type=duration(5, 3600), metavar="TIME", help=what)
    what = "wait between a setting and its measurement (default: 5s)"
    add("--settle", type=duration(1, 3600), metavar="TIME", help=what)
    add("--repeats", type=number(int, 2, 1000), metavar="N", help="maximum number of measurements per setting (default: 5)")
    add(
        "--precision",
        type=share(above=True),
        metavar="1%",
        help="stop measuring a setting once the 95 %% intervals of its time and power are this narrow (default: 1%%)",
    )
    add(
        "--work",
        help="steps or tokens, as counted by the agent (default: the one available); with --work-from: unit of that counter",
    )
    add("--work-from", metavar="URL", help="metrics endpoint that counts the work")
    add("--work-metric", metavar="NAME", help="name of the counter at --work-from")
    add("--tokens-from", metavar="URL", help="metrics endpoint of an inference server")
    add(
        "--tokens-ca-file",
        type=Path,
        metavar="FILE",
        help="CA certificates of an https:// endpoint of --tokens-from or --work-from (default: the system's)",
    )
    add("--token-server", default="vllm", metavar="NAME", help="kind of server (docs/tokens.md; default: vllm)")
    add_actuator_socket(parser, "--actuator")
    add("--url", default=AGENT_URL, metavar="URL", help=f"the agent's metrics endpoint (default {AGENT_URL})")
    add_agent_files(parser)
    add(
        "--wait",
        type=duration(high_s=1e6),
        metavar="TIME",
        help="maximum wait for the workload and its first work (default: 15s; with CMD 10m)",
    )
    add(
        "--warm-up",
        type=duration(0, 1e6),
        metavar="TIME",
        help="run time before the first measurement (default: 0s; with CMD 30s)",
    )
    add_simulate(parser, "sweep the simulated node that runs in DIR (see wattlens sim) instead of this machine's GPUs")
    add("--json", action="store_true", help="print the profile instead of a table")
    add("command", nargs=argparse.REMAINDER, metavar="CMD", help="command to run as the workload; the sweep ends it afterwards")


def run(args: argparse.Namespace) -> int:
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
    for line in summary(profile):
        print(line)


def _options(args: argparse.Namespace) -> "SweepOptions":
    from dvfs.actuator.client import default_socket
    from energy_agent.runtime.clock import clock_for
    from wattlens.agent_access import AgentAccess
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
        AgentAccess(args.url, *(getattr(args, name) for name in AGENT_FILES)),
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


def _plan(args: argparse.Namespace) -> "PlanOptions":
    from wattlens.sweep.planning import PlanOptions

    said = [name for name in _OF_THE_PLAN if getattr(args, name) not in (None, ())]
    if args.resume and said:
        raise UsageError(f"--{said[0]}: cannot be combined with --resume, which continues the plan in {args.out}")
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


def _work(args: argparse.Namespace, clock: "Clock") -> "Work | None":
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


def _list(made: Callable[[str], T]) -> Callable[[str], tuple[T, ...]]:
    def parse(text: str) -> tuple[T, ...]:
        try:
            values = tuple(made(part) for part in text.split(","))
        except ValueError:
            values = ()
        if not values or len(values) > 100 or not all(0 < each < 1e5 for each in values):
            raise argparse.ArgumentTypeError(f"expected numbers such as 1005,1200,1410, got {text!r}")
        return tuple(dict.fromkeys(values))

    return parse
