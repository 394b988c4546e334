"""`wattlens demo`: the whole chain on a simulated node, in about a minute."""

import argparse
from pathlib import Path

from wattlens.cli._command import Command
from wattlens.cli._options import duration


def _configure(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--for", dest="seconds", type=duration(10, 86_400), default="60s", metavar="TIME", help="how long to run (default 60s)")
    add("--serve", action="store_true", help="keep running without a summary, for Prometheus to scrape; stop with Ctrl-C")
    add("--out", type=Path, default=Path("demo-out"), metavar="DIR", help="folder for all output (default demo-out)")
    add("--scenario", default="h100-node", metavar="NAME", help="a shipped scenario or a file (default h100-node)")
    add("--seed", type=int, metavar="N", help="seed (default: the scenario's)")
    add("--listen", default="127.0.0.1:9479", metavar="ADDR:PORT", help="address of /metrics (default 127.0.0.1:9479)")
    add("--country", default="GBR", metavar="ISO3", help="country of the simulated site's grid (default GBR)")
    add("--no-live", action="store_true", help="print a line every few seconds instead of the live view")
    add("--json", action="store_true", help="print the summary as JSON")  # fmt: skip


def _run(args: argparse.Namespace) -> int:
    from wattlens.demo.run import DemoOptions, run_demo

    seconds = None if args.serve else args.seconds
    return run_demo(
        DemoOptions(seconds, args.out, args.scenario, args.listen, args.seed, not args.no_live, args.country, args.json)
    )


SPEC = Command("run the agent on a simulated 8-GPU node, with a live view and a summary", _configure, _run)
