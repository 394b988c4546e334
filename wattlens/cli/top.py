"""`wattlens top`: what the GPUs of a node draw, why and for whom, live, from its agent's page."""

import argparse

from energy_agent.core.errors import UsageError
from wattlens.cli._command import Command
from wattlens.cli._options import AGENT_FILES, AGENT_URL, add_agent_files, add_simulate, simulated_node, within


def _configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--url", metavar="URL", help=f"the agent's page (default {AGENT_URL})")
    add_simulate(parser, "start an agent on the simulated node that runs in DIR (see wattlens sim), and end it afterwards")
    parser.add_argument("--once", action="store_true", help="print one page and end, as also where output is no terminal")
    parser.add_argument("--json", action="store_true", help="JSON: one document with --once, else a line every interval")
    parser.add_argument(
        "--interval", type=within(float, 0.2, 60), default=1.0, metavar="S", help="seconds between readings (default 1)"
    )
    add_agent_files(parser)


def _run(args: argparse.Namespace) -> int:
    from wattlens.scrape.access import Access
    from wattlens.top.run import TopOptions, run_top

    if args.simulate is not None and args.url is not None:
        raise UsageError("--simulate starts an agent of its own: leave --url out")
    files = [getattr(args, name) for name in AGENT_FILES]
    if args.simulate is not None and any(files):
        raise UsageError("--simulate starts an agent of its own: leave credentials and certificates out")
    access = Access(args.url or AGENT_URL, *files)
    return run_top(TopOptions(access, simulated_node(args.simulate), args.once, args.json, args.interval))


SPEC = Command("show live what the node's GPUs draw, why and for whom", _configure, _run)
