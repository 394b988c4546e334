"""`wattlens init`: a configuration of the agent, a short one to start with or one with every option."""

import argparse
import re
from pathlib import Path

from wattlens.cli._command import Command
from wattlens.cli._options import quoted, write_new


def _configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--out", default="agent.yaml", metavar="FILE", help="file to write; - is standard output (default agent.yaml)"
    )
    parser.add_argument("--listen", type=_listen, metavar="ADDR:PORT", help="address of /metrics (default 127.0.0.1:9479)")
    parser.add_argument("--full", action="store_true", help="write every option with its default and meaning, commented out")
    parser.add_argument("--force", action="store_true", help="overwrite an existing file")


def _run(args: argparse.Namespace) -> int:
    from energy_agent.config.agent import Web
    from energy_agent.config.template import starter, template
    from wattlens.agent.config_check import about_this_machine

    facts = about_this_machine()
    text = template(facts, args.listen) if args.full else starter(args.listen or Web().listen, facts)
    if args.out == "-":
        print(text, end="")
        return 0
    path = Path(args.out)
    write_new(path, text.encode(), force=args.force)
    what = "every option with its default, commented out" if args.full else "a configuration to start with"
    print(f"{path}: {what}. Next: wattlens config check {path}")
    return 0


def _listen(text: str) -> str:
    from energy_agent.config.formats import LISTEN

    if not re.fullmatch(LISTEN, text):
        raise argparse.ArgumentTypeError(f"expected ADDRESS:PORT such as 0.0.0.0:9479, got {quoted(text)}")
    return text


SPEC = Command("write a configuration file for the agent", _configure, _run)
