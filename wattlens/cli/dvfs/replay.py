"""`wattlens dvfs replay`: scores policies on a trace of requests (docs/dvfs-serving.md) or on tables of a training job."""

import argparse
import os
from importlib.util import find_spec
from pathlib import Path

from energy_agent.core.errors import UsageError
from wattlens.cli._options import Pairs, within
from wattlens.cli.dvfs import replay_table, replay_trace
from wattlens.cli.dvfs.replay_options import TABLE_OPTIONS, TRACE_OPTIONS


def configure(parser: argparse.ArgumentParser) -> None:
    """Options of `wattlens dvfs replay`. Those of one source default to None, so that `run` notices a stray one."""
    parser.usage = f"\n{' ' * 7}".join(
        (
            "wattlens dvfs replay [-h] --trace FILE [--model NAME] [--gpu NAME]",
            "       [--gpus N] [--engine NAME] [--boundness WORD] [--rate X]",
            "       [--from S] [--seconds S] [--ttft-ms MS] [--ttft-tokens N]",
            "       [--itl-ms MS] [--attainment PERCENT] [--replicas N]",
            "       [--policy NAME] [--option K=V]... [--no-hindsight] [--seed N]",
            "       [--chart FILE] [--json]",
            "wattlens dvfs replay (--table FILE | --profile FILE)",
            "       [--slowdown PERCENT] [--steps N] [--noise PERCENT] [--seeds N]",
            "       [--isotonic] [--policy NAME] [--seed N] [--chart FILE] [--json]",
        )
    )
    add = parser.add_argument
    add("--policy", metavar="NAME", help="whose turn it is (default: slo on a trace, progress on tables)")
    add("--seed", type=int, default=0, metavar="N", help="of everything drawn (default: 0)")
    add("--chart", type=_picture, metavar="FILE", help="draw it as SVG")
    add("--json", action="store_true", help="print JSON")
    trace = parser.add_argument_group("a trace of requests on a modelled LLM server")
    add = trace.add_argument
    add("--trace", type=Path, metavar="FILE", help="CSV of the Azure trace, JSON lines of Mooncake, or at_ms,prompt,output")
    add("--model", metavar="NAME", help="the model, or a JSON file that describes one (default: llama-8b)")
    add("--gpu", metavar="NAME", help="the board (default: h100-sxm)")
    add("--gpus", type=within(int, 1, 64), metavar="N", help="boards of a replica (default: as the model needs)")
    add("--engine", metavar="NAME", help="vllm-2024: the host takes its part of each step; lean: none (default: vllm-2024)")
    add(
        "--boundness",
        choices=("low", "mid", "high"),
        metavar="WORD",
        help="memory-boundness, which is assumed: low, mid or high (default: mid)",
    )
    add("--rate", type=within(float, 0.001, 1000), metavar="X", help="requests X times as fast (default: 1)")
    add("--from", type=within(float, 0, 1e9), metavar="S", help="leave out the first S seconds of the trace")
    add("--seconds", type=within(float, 0.001, 1e9), metavar="S", help="only S seconds of it")
    add("--ttft-ms", type=within(float, 1, 1e6), metavar="MS", help="limit of the first token (default: 500)")
    tokens = within(int, 1, 10_000_000)
    add("--ttft-tokens", type=tokens, metavar="N", help="let it grow for longer prompts, in proportion (default: one for all)")
    add("--itl-ms", type=within(float, 0.1, 1e5), metavar="MS", help="limit of the mean time between tokens (default: 50)")
    percent = within(float, 1, 100)
    add("--attainment", type=percent, metavar="PERCENT", help="share of requests within the limits by default (default: 99)")
    add("--replicas", type=within(int, 1, 256), metavar="N", help="instead of the fewest that attain it")
    add("--option", action=Pairs, metavar="K=V", help="of the policy (wattlens dvfs policy); may be repeated")
    add("--no-hindsight", action="store_true", default=None, help="leave out the best in hindsight, which takes longest")
    tables = parser.add_argument_group("tables of a training job")
    add = tables.add_argument
    add("--table", type=Path, metavar="FILE", help="a CSV with limit or clock, time and power, such as Zeus's summaries")
    add("--profile", type=Path, metavar="FILE", help="what wattlens dvfs sweep wrote")
    add("--slowdown", type=within(float, 0.1, 100), metavar="PERCENT", help="budget for the whole run (default: 3)")
    add("--steps", type=within(int, 1, 1_000_000), metavar="N", help="steps of a run (default: 3000)")
    add(
        "--noise",
        type=within(float, 0, 50),
        metavar="PERCENT",
        help="standard deviation of a step's time and power (default: 2)",
    )
    add("--seeds", type=within(int, 1, 10_000), metavar="N", help="runs of each table (default: 20)")
    add("--isotonic", action="store_true", default=None, help="iron out what noise of measurement made non-monotone")


def run(args: argparse.Namespace) -> int:
    """Replay; 0 when done, whichever policy is best."""
    sources = [name for name in ("trace", "table", "profile") if getattr(args, name) is not None]
    if len(sources) != 1:
        raise UsageError(
            "dvfs replay: give --trace, --table or --profile"
            if not sources
            else f"dvfs replay: --{sources[0]} and --{sources[1]} exclude each other"
        )
    ours, stray = (TRACE_OPTIONS, TABLE_OPTIONS) if args.trace is not None else (TABLE_OPTIONS, TRACE_OPTIONS)
    for name in stray:
        if getattr(args, name) is not None:
            raise UsageError(f"dvfs replay: --{name.replace('_', '-')} does not go with --{sources[0]}")
    for name, default in ours.items():
        if getattr(args, name) is None:
            setattr(args, name, default)
    return replay_trace.run(args) if args.trace is not None else replay_table.run(args)


def _picture(text: str) -> Path:
    """Check before a long replay that the file can be written after it."""
    path = Path(text)
    if path.suffix.lower() != ".svg":
        raise argparse.ArgumentTypeError(f"{text}: the picture is SVG; name it so")
    if path.is_dir() or not os.access(path.absolute().parent, os.W_OK):
        raise argparse.ArgumentTypeError(f"{text}: cannot be written")
    if find_spec("matplotlib") is None:
        raise argparse.ArgumentTypeError("needs matplotlib; install wattlens[reports]")
    return path
