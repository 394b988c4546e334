"""`wattlens top`: what the GPUs of a node draw, why and for whom, live."""

from argparse import Namespace

from energy_agent.core.errors import UsageError
from wattlens.cli._command import Command, CommandOptions
from wattlens.cli._options import AGENT_URL, add_agent_files, add_simulate, agent_access, duration, simulated_node


def _configure(add: CommandOptions) -> None:
    add(
        "--url URL", f"the agent's metrics endpoint (default {AGENT_URL}; if no agent responds there, top starts a private one)"
    )
    add_simulate(add, "start a private agent on the simulated node that runs in DIR (see wattlens sim)")
    add("--once", "print one snapshot and exit (the default if standard output is not a terminal)")
    add("--json", "print JSON: one document with --once, otherwise one line per interval")
    add("--interval TIME", "time between readings (default 1s)", type=duration(0.2, 60), default="1s")
    add_agent_files(add)


def _run(args: Namespace) -> int:
    from wattlens.top.run import TopOptions, run_top

    if args.simulate is not None and args.url is not None:
        raise UsageError("--url: cannot be combined with --simulate, which starts a private agent")
    access, may_start = agent_access(args, AGENT_URL)
    if args.simulate is not None and not may_start:
        raise UsageError("--simulate: starts a private agent and cannot be combined with credentials or certificates")
    return run_top(TopOptions(access, simulated_node(args.simulate), args.once, args.json, args.interval, may_start))


SPEC = Command("show live power, energy and workloads of this node's GPUs", _configure, _run)
