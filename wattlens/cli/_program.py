"""Finds the subcommand's file, parses, runs, and turns every expected error into one clear line."""

import argparse
import io
import os
import sys
from contextlib import suppress
from types import ModuleType
from typing import Final

import wattlens
from energy_agent.core import plugin
from energy_agent.core.errors import WattlensError
from energy_agent.core.text import printable_lines
from wattlens.cli._command import Command, Parser


def parse(arguments: list[str], commands: ModuleType) -> argparse.Namespace:
    """What `wattlens ARGUMENTS` asks for; `commands` is the package of the subcommands. Without arguments: the help page."""
    return build_parser(arguments, commands).parse_args(arguments or ["--help"])


def run(parsed: argparse.Namespace) -> int:
    """Run what was parsed; returns the exit code."""
    try:
        code = int(parsed.run(parsed))
        if sys.stdout is not None:  # as it is with `>&-`
            sys.stdout.flush()
        return code
    except WattlensError as error:
        print(printable_lines(f"wattlens: {error}"), file=sys.stderr)
        return error.exit_code
    except BrokenPipeError:  # `wattlens ... | head`
        _forget_output()
        return 1
    except OSError as error:  # a full disk, a folder without permission: the machine's fault, and no traceback helps
        where = f"{error.filename}: " if error.filename else ""
        print(printable_lines(f"wattlens: {where}{error.strerror or error}"), file=sys.stderr)
        _forget_output()
        return 1


def _forget_output() -> None:
    """Nobody can take what is still buffered, and Python tries again when it ends."""
    with suppress(AttributeError, io.UnsupportedOperation):  # as with `>&-`, or where a program replaced the output
        output = sys.stdout.fileno()
        os.dup2(os.open(os.devnull, os.O_WRONLY), output)


_GROUPS: Final = {
    "Measure": ("measure", "compare", "top", "usage", "job"),
    "Operate": ("init", "config", "agent", "doctor", "site", "dashboards"),
    "Steer": ("dvfs", "actuator"),
    "Report": ("report", "factors", "pue", "ledger", "slurm"),
    "Simulate": ("demo", "sim"),
    "Shell": ("completion",),
}


_ELSEWHERE: Final = {
    "import": "wattlens report import (CodeCarbon), wattlens ledger import (Prometheus) or wattlens factors import",
    "verify": "wattlens report verify or wattlens ledger verify",
}


def build_parser(arguments: list[str], commands: ModuleType) -> argparse.ArgumentParser:
    """The parser; only the named subcommand's module is imported, so that the agent starts light."""
    parser = Parser(
        prog="wattlens",
        description="Energy and efficiency observability for GPU fleets: every joule accounted for once.",
        epilog="Exit codes: 0 done, 1 failed, 2 wrong usage or configuration, 130 ended by Ctrl-C; measure: its program's.",
    )
    parser.add_argument("--version", action="version", version=f"wattlens {wattlens.__version__}")
    parser.groups = _GROUPS
    parser.elsewhere = _ELSEWHERE
    subparsers = parser.add_subparsers(metavar="COMMAND", required=True)
    names = plugin.names(commands)
    named = [n for n in names if n.replace("_", "-") == (arguments[0] if arguments else "")]
    for name in named or names:
        command: Command = plugin.load(commands, name)
        command.add_to(subparsers, name.replace("_", "-"))
    return parser
