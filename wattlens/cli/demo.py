"""`wattlens demo`: the whole chain on a simulated node, in about a minute."""

from argparse import Namespace
from pathlib import Path

from wattlens.cli._command import Command, CommandOptions
from wattlens.cli._options import duration


def _configure(add: CommandOptions) -> None:
    add("--for TIME", "how long to run (default 60s)", dest="seconds", type=duration(10, 86_400), default="60s")
    add("--serve", "keep running without a summary, for Prometheus to scrape; stop with Ctrl-C")
    add("--out DIR", "folder for all output (default demo-out)", default=Path("demo-out"))
    add("--scenario NAME", "a shipped scenario or a file (default h100-node)", default="h100-node")
    add("--seed N", "seed (default: the scenario's)", type=int)
    add("--listen ADDR:PORT", "address of /metrics (default 127.0.0.1:9479)", default="127.0.0.1:9479")
    add("--country ISO3", "country of the simulated site's grid (default GBR)", default="GBR")
    add("--no-live", "print a line every few seconds instead of the live view")
    add('--json', "print the summary as JSON")  # fmt: skip


def _run(args: Namespace) -> int:
    from wattlens.demo.run import DemoOptions, run_demo

    seconds = None if args.serve else args.seconds
    return run_demo(
        DemoOptions(seconds, args.out, args.scenario, args.listen, args.seed, not args.no_live, args.country, args.json)
    )


SPEC = Command("run the agent on a simulated 8-GPU node, with a live view and a summary", _configure, _run)
