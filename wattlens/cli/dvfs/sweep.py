"""`wattlens dvfs sweep`: measures a workload's time and power over clock and limit into a profile (docs/dvfs-sweep.md)."""

import argparse
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from energy_agent.core.errors import UsageError, WattlensError
from wattlens.cli._command import add_simulate, simulated_node, table

if TYPE_CHECKING:
    from dvfs.sweep.profile import Profile
    from energy_agent.core.ports import Clock
    from wattlens.sweep.planning import PlanOptions
    from wattlens.sweep.run import SweepOptions
    from wattlens.sweep.work import Work

T = TypeVar("T", int, float)
DEFAULT_URL = "http://127.0.0.1:9479/metrics"
_WAIT_S, _WAIT_FOR_PROGRAM_S, _WARM_UP_S = 15.0, 600.0, 30.0
_OF_THE_PLAN = ("knob", "clocks", "caps", "points", "seconds", "settle")


def configure(parser: argparse.ArgumentParser) -> None:
    """Options of `wattlens dvfs sweep`."""
    parser.usage = ("\n" + " " * 21).join(
        (
            "wattlens dvfs sweep [-h] --out FILE [--resume] [--workload NAME]...",
            "[--gpus N,N] [--name NAME] [--knob clock|power|both]",
            "[--clocks MHZ,MHZ | --points N] [--caps W,W]",
            "[--seconds S] [--settle S] [--repeats N] [--precision P]",
            "[--work steps|tokens] [--work-from URL --work-metric NAME]",
            "[--tokens-from URL] [--token-server NAME]",
            "[--actuator PATH] [--url URL] [--wait S] [--warm-up S]",
            "[--simulate [DIR]] [--json] [-- CMD ...]",
        )
    )
    add = parser.add_argument
    add("--out", type=Path, required=True, metavar="FILE", help="the profile; kept whole on disk after every stretch")
    add("--resume", action="store_true", help="go on with the profile in --out, by its own plan")
    add("--workload", action="append", default=[], metavar="NAME", help="as the agent calls it; once more for each further pod")
    add("--gpus", metavar="N,N", help="indices or UUIDs (default: those of the workload)")
    add("--name", default="", help="what the profile calls the workload (default: as the agent does, or the command)")
    add("--knob", choices=("clock", "power", "both"), help="what is set; both: a grid (default: clock)")
    add("--clocks", metavar="MHZ,MHZ", help="SM clocks (default: spread from the knee of the GPU to its highest)")
    add("--caps", metavar="W,W", help="power limits (default: spread from the board's lowest to the one found)")
    add("--points", type=int, metavar="N", help="how many to spread (default: 5, of a grid 3 a knob)")
    add("--seconds", type=float, metavar="S", help="length of a stretch (default: 20)")
    add("--settle", type=float, metavar="S", help="time between a setting and its stretch (default: 5)")
    add("--repeats", type=int, metavar="N", help="stretches of each setting at most (default: 5)")
    add(
        "--precision",
        metavar="1%",
        help="a setting is known once the 95 %% intervals of time and power are this (default: 1%%)",
    )
    add("--work", help="steps or tokens, as the agent counts them (default: what there is); with --work-from its name")
    add("--work-from", metavar="URL", help="a metrics page that counts the work")
    add("--work-metric", metavar="NAME", help="the counter on it")
    add("--tokens-from", metavar="URL", help="the metrics page of an LLM server")
    add("--token-server", default="vllm", metavar="NAME", help="its kind (docs/tokens.md; default: vllm)")
    socket = "the actuator's socket (default: /run/wattlens/actuator/actuator.sock as root)"
    add("--actuator", type=Path, metavar="PATH", help=socket)
    add("--url", default=DEFAULT_URL, metavar="URL", help=f"the agent's page (default {DEFAULT_URL})")
    add("--ca-file", type=Path, metavar="FILE", help="authorities that may have signed the agent's certificate")
    add("--cert-file", type=Path, metavar="FILE", help="our certificate, where the agent asks for one")
    add("--key-file", type=Path, metavar="FILE", help="its key, where it is not in the same file")
    add("--user-file", type=Path, metavar="FILE", help="one line user:password, for basic auth")
    add("--token-file", type=Path, metavar="FILE", help="one line, a bearer token")
    add("--wait", type=float, metavar="S", help="for the workload and its first work (default: 15; for CMD 600)")
    add("--warm-up", type=float, metavar="S", help="let it run before the first stretch (default: 0; CMD 30)")
    add_simulate(parser, "on the simulated node that runs in DIR (see wattlens sim) instead of this machine's GPUs")
    add("--json", action="store_true", help="print the profile instead of a table")
    add("command", nargs=argparse.REMAINDER, metavar="CMD", help="a program to start as the workload, and to end afterwards")


def run(args: argparse.Namespace) -> int:
    """Sweep; 0 when the plan is done, 128 + N after signal N."""
    from wattlens.sweep.hold import EndedError
    from wattlens.sweep.run import Sweep
    from wattlens.sweep.shown import Progress

    options = _options(args)
    progress = Progress(in_place=sys.stderr.isatty() and not options.command)
    sweep = Sweep(options, progress)
    code = 0
    try:
        sweep.run()
    except EndedError as ended:
        code = 128 + ended.number
        progress.say(f"wattlens: ended by {ended}; everything is as found" + _kept(sweep.profile, options.out))
    except WattlensError as error:
        if sweep.profile is None:
            raise
        raise WattlensError(f"{error}{_kept(sweep.profile, options.out)}") from None
    finally:
        progress.clear()
    if sweep.profile is not None and (code == 0 or sweep.profile.points):
        _print(sweep.profile, as_json=args.json)
    return code


def _kept(profile: "Profile | None", out: Path) -> str:
    return "" if profile is None else f"; {len(profile.stretches)} stretches are in {out}, --resume goes on with it"


def _print(profile: "Profile", *, as_json: bool) -> None:
    from dvfs.sweep.profile import dump
    from wattlens.sweep.shown import rows, summary

    if as_json:
        print(dump(profile), end="")
        return
    table(rows(profile))
    for line in summary(profile):
        print(line)


def _options(args: argparse.Namespace) -> "SweepOptions":
    from dvfs.actuator.client import default_socket
    from energy_agent.runtime.clock import clock_for
    from wattlens.scrape.access import Access
    from wattlens.sweep.run import SweepOptions
    from wattlens.sweep.target import Wanted

    command = tuple(args.command[1:] if args.command[:1] == ["--"] else args.command)
    node = simulated_node(args.simulate)
    if node is not None:
        from energy_agent.sim.node import SimulatedNode

        os.environ.update(SimulatedNode.attach(node).environ())
    clock = clock_for(os.environ)
    plan = _plan(args)
    work = _work(args, clock)
    wait_s = _positive("--wait", args.wait, _WAIT_FOR_PROGRAM_S if command else _WAIT_S)
    warm_up_s = (_WARM_UP_S if command else 0.0) if args.warm_up is None else args.warm_up
    if not 0 <= warm_up_s < 1e6:
        raise UsageError(f"--warm-up {warm_up_s:g} is no time")
    return SweepOptions(
        args.out,
        Access(args.url, args.ca_file, args.user_file, args.token_file, args.cert_file, args.key_file),
        args.actuator or default_socket(),
        clock,
        plan,
        Wanted(tuple(filter(None, (args.gpus or "").split(","))), tuple(args.workload)),
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

    said = [name for name in _OF_THE_PLAN if getattr(args, name) is not None]
    if args.resume and said:
        raise UsageError(f"--resume goes on by the plan in {args.out}: leave --{said[0]} out")
    clocks, caps = _list("--clocks", args.clocks, int), _list("--caps", args.caps, float)
    knob = args.knob or ("both" if clocks and caps else "power" if caps else "clock")
    if (clocks and knob == "power") or (caps and knob == "clock"):
        raise UsageError(f"--knob {knob} sets no {'clocks' if clocks else 'limits'}: say --knob both, or leave it out")
    for option, value, low, high in (
        ("--points", args.points, 1, 50),
        ("--seconds", args.seconds, 5, 3600),
        ("--settle", args.settle, 1, 3600),
        ("--repeats", args.repeats, 2, 1000),
    ):
        if value is not None and not low <= value <= high:
            raise UsageError(f"{option} {value:g} is not from {low} to {high}")
    return PlanOptions(
        knob, clocks, caps, args.points, args.seconds, args.settle, args.repeats, _ratio("--precision", args.precision)
    )


def _work(args: argparse.Namespace, clock: "Clock") -> "Work | None":
    from wattlens.sweep.work import MetricPage, ServerPage

    if (args.work_from is None) != (args.work_metric is None):
        raise UsageError("--work-from and --work-metric go together: a page, and the counter on it")
    if args.work_from is not None and args.tokens_from is not None:
        raise UsageError("--work-from and --tokens-from: give one of them")
    if args.work_from is not None:
        return MetricPage(args.work_from, args.work_metric, clock, args.work or "")
    if args.work not in (None, "steps", "tokens"):
        raise UsageError(f"--work {args.work!r}: the agent counts steps and tokens; of another page say --work-from")
    return None if args.tokens_from is None else ServerPage(args.tokens_from, args.token_server, clock)


def _list(option: str, text: str | None, made: Callable[[str], T]) -> tuple[T, ...]:
    if text is None:
        return ()
    try:
        found = tuple(made(part) for part in text.split(","))
    except ValueError:
        found = ()
    if not found or len(found) > 100 or not all(0 < each < 1e5 for each in found):
        raise UsageError(f"{option} {text!r} is no list of numbers, such as 1005,1200,1410")
    return tuple(dict.fromkeys(found))


def _ratio(option: str, text: str | None) -> float | None:
    if text is None:
        return None
    try:
        value = float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    except ValueError:
        value = 0.0
    if not 0 < value < 1:
        raise UsageError(f"{option} {text!r} is no share, such as 1% or 0.01")
    return value


def _positive(option: str, value: float | None, otherwise: float) -> float:
    if value is None:
        return otherwise
    if not 0 < value < 1e6:
        raise UsageError(f"{option} {value:g} is no time")
    return value
