"""`wattlens dvfs replay`: scores policies on a trace of requests (docs/dvfs-test.md) or on tables of a training job."""

import argparse
import os
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

from energy_agent.core.errors import UsageError
from wattlens.cli._options import Pairs, duration, number, share
from wattlens.cli.dvfs import replay_random, replay_table, replay_trace

Options = dict[str, tuple[Any, dict[str, Any]]]
"""Options of one source: the default, and how argparse reads it."""
TRACE_OPTIONS: Final[Options] = {
    "model": ("llama-8b", {"metavar": "NAME", "help": "name of the model, or a JSON file that describes it"}),
    "gpu": ("h100-sxm", {"metavar": "NAME", "help": "GPU model"}),
    "gpus": (
        None,
        {"type": number(int, 1, 64), "metavar": "N", "help": "GPUs per replica (default: as the model needs)"},
    ),
    "engine": ("vllm-2024", {"choices": ("vllm-2024", "lean", "random"), "metavar": "NAME", "help": (
        "vllm-2024: each step includes host time; lean: no host time; random: a server and GPU drawn with --seed"
    )}),
    "boundness": (
        "mid",
        {
            "choices": ("low", "mid", "high"), "metavar": "WORD",
            "help": "assumed memory-boundness: low, mid or high",
        },
    ),
    "rate": (1.0, {"type": number(float, 0.001, 1000), "metavar": "X", "help": "factor on the request rate"}),
    "skip": ("0s", {"type": duration(0), "metavar": "TIME", "help": "skip the start of the trace, such as 30m"}),
    "for": (None, {"type": duration(), "metavar": "TIME", "help": "length of the part to replay, such as 10m"}),
    "ttft_ms": (500.0, {"type": number(float, 1, 1e6), "metavar": "MS", "help": "limit of the time to first token"}),
    "ttft_tokens": (
        None,
        {
            "type": number(int, 1, 10_000_000), "metavar": "N",
            "help": "raise that limit in proportion for prompts longer than N tokens (default: one limit for all)",
        },
    ),
    "itl_ms": (50.0, {"type": number(float, 0.1, 1e5), "metavar": "MS", "help": "limit of the mean time between tokens"}),
    "attainment": (
        "99%",
        {
            "type": share(0.01, percent=True), "metavar": "SHARE",
            "help": "share of requests within the limits at the default clocks",
        },
    ),
    "replicas": (None, {"type": number(int, 1, 256), "metavar": "N", "help": (
        "number of replicas (default: the fewest that reach that share)"
    )}),
    "option": ({}, {"action": Pairs, "metavar": "K=V", "help": (
        "option of the policy (see wattlens dvfs policy); may be repeated"
    )}),
    "no_hindsight": (
        False,
        {"action": "store_true", "help": "skip the best clocks in hindsight, which take longest to compute"},
    ),
}  # fmt: skip
TABLE_OPTIONS: Final[Options] = {
    "slowdown": ("3%", {"type": share(0.001, percent=True), "metavar": "SHARE", "help": "slowdown budget of the whole run"}),
    "steps": (3000, {"type": number(int, 1, 1_000_000), "metavar": "N", "help": "steps per run"}),
    "noise": (
        "2%",
        {
            "type": share(0, 0.5, percent=True),
            "metavar": "SHARE",
            "help": "standard deviation of a step's time and power",
        },
    ),
    "seeds": (20, {"type": number(int, 1, 10_000), "metavar": "N", "help": "runs per table"}),
    "isotonic": (False, {"action": "store_true", "help": "smooth out measurement noise that makes a table non-monotone"}),
}


def configure(parser: argparse.ArgumentParser) -> None:
    """Options of `wattlens dvfs replay`. Those of one source default to None, so that `run` notices a stray one."""
    parser.usage = f"\n{' ' * 7}".join(
        (
            "wattlens dvfs replay [-h] --trace FILE [--model NAME] [--gpu NAME]",
            "       [--gpus N] [--engine NAME] [--boundness WORD] [--rate X]",
            "       [--skip TIME] [--for TIME] [--ttft-ms MS] [--ttft-tokens N]",
            "       [--itl-ms MS] [--attainment SHARE] [--replicas N]",
            "       [--policy NAME] [--option K=V]... [--no-hindsight] [--seed N]",
            "       [--chart FILE] [--json]",
            "wattlens dvfs replay --trace FILE --engine random [--seed N]",
            "       [--load SHARE] [--replicas N] [--prefill N] [--router NAME]",
            "       [--period TIME]",
            "       [--skip TIME] [--for TIME] [--ttft-ms MS] [--itl-ms MS]",
            "       [--attainment SHARE] [--policy NAME] [--json]",
            "wattlens dvfs replay (--table FILE | --profile FILE)",
            "       [--slowdown SHARE] [--steps N] [--noise SHARE] [--seeds N]",
            "       [--isotonic] [--policy NAME] [--seed N] [--chart FILE] [--json]",
        )
    )
    add = parser.add_argument
    add("--policy", metavar="NAME", help="policy to score (default: slo for a trace, progress for tables)")
    add("--seed", type=int, default=0, metavar="N", help="random seed (default: 0)")
    add("--chart", type=_picture, metavar="FILE", help="write a chart as SVG")
    add("--json", action="store_true", help="print JSON")
    trace = parser.add_argument_group("a trace of requests on a modelled LLM server")
    what = "CSV of the Azure trace, JSON lines of Mooncake, or at_ms,prompt,output"
    trace.add_argument("--trace", type=Path, metavar="FILE", help=what)
    random = parser.add_argument_group("the same with --engine random")
    tables = parser.add_argument_group("tables of a training job")
    what = "a CSV with power_limit or sm_clock, time and power, such as Zeus's summaries"
    tables.add_argument("--table", type=Path, metavar="FILE", help=what)
    tables.add_argument("--profile", type=Path, metavar="FILE", help="a profile of wattlens dvfs sweep")
    for group, options in ((trace, TRACE_OPTIONS), (random, replay_random.OPTIONS), (tables, TABLE_OPTIONS)):
        for name, (default, more) in options.items():
            said = (
                f" (default: {default.replace('%', '%%') if isinstance(default, str) else format(default, 'g')})"
                if default
                else ""
            )
            group.add_argument(f"--{name.replace('_', '-')}", default=None, **more | {"help": more["help"] + said})


def run(args: argparse.Namespace) -> int:
    """Replay; 0 when done, whichever policy is best."""
    sources = [name for name in ("trace", "table", "profile") if getattr(args, name) is not None]
    if len(sources) != 1:
        raise UsageError(
            "dvfs replay: expected --trace, --table or --profile"
            if not sources
            else f"dvfs replay: --{sources[0]}: cannot be combined with --{sources[1]}"
        )
    is_random = args.trace is not None and args.engine == "random"
    ours = (TRACE_OPTIONS | (replay_random.OPTIONS if is_random else {})) if args.trace is not None else TABLE_OPTIONS
    others = [name for name in TRACE_OPTIONS | replay_random.OPTIONS | TABLE_OPTIONS if name not in ours]
    refused = dict.fromkeys(others, f"cannot be combined with --{sources[0]}")
    if is_random:
        refused |= dict.fromkeys(replay_random.NOT_WITH, "cannot be combined with --engine random")
    elif args.trace is not None:
        refused |= dict.fromkeys(replay_random.OPTIONS, "needs --engine random")
    for name, why in refused.items():
        if getattr(args, name) is not None:
            raise UsageError(f"dvfs replay: --{name.replace('_', '-')}: {why}")
    for name, (default, more) in ours.items():
        if getattr(args, name) is None:
            convert = more.get("type")
            setattr(args, name, convert(default) if convert and isinstance(default, str) else default)
    if is_random:
        return replay_random.run(args)
    return replay_trace.run(args) if args.trace is not None else replay_table.run(args)


def _picture(text: str) -> Path:
    """Check before a long replay that the file can be written after it."""
    path = Path(text)
    if path.suffix.lower() != ".svg":
        raise argparse.ArgumentTypeError(f"expected the name of a file that ends in .svg, got {text}")
    if path.is_dir() or not os.access(path.absolute().parent, os.W_OK):
        raise argparse.ArgumentTypeError(f"cannot write {text}")
    if find_spec("matplotlib") is None:
        raise argparse.ArgumentTypeError("needs matplotlib; install: pip install 'wattlens[reports]'")
    return path
