"""`wattlens agent`: the node agent, and `release`/`resume` to free the driver for an update or a GPU reset."""

from argparse import Namespace

from energy_agent.core.errors import UsageError
from wattlens.cli._command import Command, CommandOptions
from wattlens.cli._options import add_simulate, duration, simulated_node


def _configure(add: CommandOptions) -> None:
    add(
        "action",
        "run: run the agent (default); release: release the driver for a while; resume: read again now",
        nargs="?",
        choices=("run", "release", "resume"),
        default="run",
    )
    add("--config FILE", "YAML file; every key has a default")
    add("--state DIR", "journal and segments (default: /var/lib/wattlens as root, else the XDG state folder)")
    add("--listen ADDR:PORT", "address of /metrics (default: web.listen of the file, else 127.0.0.1:9479)")
    add("--web-config FILE", "TLS and basic auth, in exporter-toolkit's web-config format")
    add_simulate(add, "read the simulated node that runs in DIR (see wattlens sim) instead of this machine's GPUs")
    add(
        "--for TIME",
        "with release: for how long, such as 90s, 10m or 2h (default 10m)",
        dest="for_s",
        type=duration(1, 24 * 3600),
    )


def _run(args: Namespace) -> int:
    from wattlens.agent.run import AgentOptions, run_agent
    from wattlens.state_folder import default_state_dir

    state = args.state or default_state_dir()
    _check(args)
    if args.action == "run":
        simulate = simulated_node(args.simulate)
        return run_agent(AgentOptions(args.config, args.state, args.listen, simulate, args.web_config))
    from energy_agent.node.release import RELEASE_FILE, request
    from energy_agent.runtime.clock import RealClock

    seconds = round(args.for_s or 600) if args.action == "release" else 0
    if not (state / "agent.lock").exists():
        raise UsageError(f"no agent uses the state folder {state}; choose another with --state")
    try:
        request(state, seconds, RealClock())
    except OSError as error:
        raise UsageError(f"cannot write {state / RELEASE_FILE}: {error.strerror}") from None
    if seconds:
        print(f"The agent will release the driver within 2 s and read again in {seconds} s.")
    else:
        print("The agent will read again within 2 s.")
    return 0


def _check(args: Namespace) -> None:
    """Options that would be ignored: a person who gave one believes that it holds; raises UsageError."""
    if args.action != "release" and args.for_s is not None:
        raise UsageError("--for: expected together with release: wattlens agent release --for 10m")
    if args.action != "run":
        for option in ("config", "listen", "web_config", "simulate"):
            if getattr(args, option) is not None:
                raise UsageError(
                    f"--{option.replace('_', '-')}: cannot be combined with {args.action}; the agent is selected by --state"
                )


SPEC = Command("run the node agent: read GPUs, keep the ledger, serve /metrics", _configure, _run)
