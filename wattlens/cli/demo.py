"""`wattlens demo`: the whole chain on a simulated node, in about a minute."""

import argparse
from pathlib import Path

from energy_agent.core.errors import UsageError
from wattlens.cli._command import Command


def _configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--seconds", type=float, default=60.0, metavar="S", help="how long to watch (default 60)")
    parser.add_argument("--serve", action="store_true", help="go on until SIGTERM, without summary, for dashboards to look at")
    parser.add_argument(
        "--out", type=Path, default=Path("demo-out"), metavar="DIR", help="everything is written below it (default demo-out)"
    )
    parser.add_argument(
        "--scenario", default="h100-node", metavar="NAME", help="a shipped scenario or a file (default h100-node)"
    )
    parser.add_argument("--seed", type=int, metavar="N", help="another run of the same scenario")
    parser.add_argument(
        "--listen", default="127.0.0.1:9479", metavar="ADDR:PORT", help="where /metrics is served (default 127.0.0.1:9479)"
    )
    parser.add_argument(
        "--country", metavar="ISO3", help="grid of this country for the report, such as DEU (default: no carbon figure)"
    )
    parser.add_argument("--no-live", action="store_true", help="a line every few seconds instead of the live view")
    parser.add_argument("--json", action="store_true", help="the summary as JSON on standard output")  # fmt: skip


def _run(args: argparse.Namespace) -> int:
    from wattlens.demo.run import DemoOptions, run_demo

    if not 10 <= args.seconds <= 86400:
        raise UsageError(f"--seconds {args.seconds:g} is not from 10 to 86400")
    seconds = None if args.serve else args.seconds
    return run_demo(
        DemoOptions(seconds, args.out, args.scenario, args.listen, args.seed, not args.no_live, args.country, args.json)
    )


SPEC = Command("show the whole chain on a simulated 8-GPU node: the real agent, a live view, a summary", _configure, _run)
