"""`wattlens init`: a commented configuration of the agent, with every key and its default."""

import argparse
from pathlib import Path

from wattlens.cli._command import Command
from wattlens.cli._options import write_new


def _configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--out", default="agent.yaml", metavar="FILE", help="where it is written; - is standard output (default agent.yaml)"
    )
    parser.add_argument("--force", action="store_true", help="write over a file that is there")


def _run(args: argparse.Namespace) -> int:
    from energy_agent.config.template import template
    from wattlens.agent.config_check import about_this_machine

    text = template(about_this_machine())
    if args.out == "-":
        print(text, end="")
        return 0
    path = Path(args.out)
    write_new(path, text.encode(), force=args.force)
    print(f"{path}: every key with its default, as comments. Then: wattlens config check {path}")
    return 0


SPEC = Command("write a commented configuration of the agent", _configure, _run)
