"""`wattlens top`: what the GPUs of a node draw, why and for whom, live."""

import argparse

from energy_agent.core.errors import UsageError
from wattlens.cli._command import Command
from wattlens.cli._options import AGENT_FILES, AGENT_URL, add_agent_files, add_simulate, duration, simulated_node


def _configure(parser: argparse.ArgumentParser) -> None:
    what = f"the agent's metrics endpoint (default {AGENT_URL}; if no agent responds there, top starts a private one)"
    parser.add_argument("--url", metavar="URL", help=what)
    add_simulate(parser, "start a private agent on the simulated node that runs in DIR (see wattlens sim)")
    what = "print one snapshot and exit (the default if standard output is not a terminal)"
    parser.add_argument("--once", action="store_true", help=what)
    parser.add_argument(
        "--json", action="store_true", help="print JSON: one document with --once, otherwise one line per interval"
    )
    parser.add_argument(
        "--interval", type=duration(0.2, 60), default="1s", metavar="TIME", help="time between readings (default 1s)"
    )
    add_agent_files(parser)


def _run(args: argparse.Namespace) -> int:
    from wattlens.agent_access import AgentAccess
    from wattlens.top.run import TopOptions, run_top

    if args.simulate is not None and args.url is not None:
        raise UsageError("--url: cannot be combined with --simulate, which starts a private agent")
    files = [getattr(args, name) for name in AGENT_FILES]
    if args.simulate is not None and any(files):
        raise UsageError("--simulate: starts a private agent and cannot be combined with credentials or certificates")
    access = AgentAccess(args.url or AGENT_URL, *files)
    simulate, may_start = simulated_node(args.simulate), args.url is None and not any(files)
    return run_top(TopOptions(access, simulate, args.once, args.json, args.interval, may_start))


SPEC = Command("show live power, energy and workloads of this node's GPUs", _configure, _run)
