"""`wattlens config check`: whether a configuration is right, and what of it will not work on this node."""

from argparse import Namespace

from energy_agent.core.errors import UsageError
from wattlens.cli._command import Command, CommandOptions, print_check


def _configure(add: CommandOptions) -> None:
    add("file FILE", "the agent's configuration")
    add("--json", "print JSON")


def _run(args: Namespace) -> int:
    from wattlens.agent.config_check import check

    try:
        warnings = check(args.file)
    except UsageError as error:
        if not args.json:
            raise
        print_check(args.file, str(error).splitlines(), warnings=[])
        return error.exit_code
    if args.json:
        print_check(args.file, [], warnings=[{"key": key, "warning": text} for key, text in warnings])
        return 0
    print(f"{args.file}: OK" + ("; on this node now:" if warnings else ""))
    for key, text in warnings:
        print(f"  {key}: {text}")
    return 0


SPEC = Command(
    "check a configuration file of the agent",
    actions={"check": Command("check a file before the agent reads it", _configure, _run)},
)
