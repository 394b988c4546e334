"""`wattlens completion`: a script that lets a shell complete commands, options and their values."""

import argparse

from energy_agent.core.errors import UsageError
from energy_agent.core.extras import install_hint
from wattlens.cli._command import Command, CommandOptions


def _configure(add: CommandOptions) -> None:
    add("shell", "shell; the script's first lines show where to save it", choices=("bash", "zsh", "fish"))


def _run(args: argparse.Namespace) -> int:
    from wattlens.cli import build_parser

    try:
        import shtab
    except ImportError as error:
        raise UsageError(f"completion scripts need {error.name}; install: {install_hint('completion')}") from None
    parser = build_parser(["--help"])
    _complete_files(parser)
    print(shtab.complete(parser, args.shell))
    return 0


def _complete_files(parser: argparse.ArgumentParser) -> None:
    """Complete free values by file names."""
    from shtab import FILE

    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for command in action.choices.values():
                _complete_files(command)
        elif action.choices is None and action.nargs != 0:
            action.complete = FILE  # type: ignore[attr-defined]


SPEC = Command("print a completion script for bash, zsh or fish", _configure, _run)
