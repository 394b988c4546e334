"""`wattlens init`: a configuration of the agent, a short one to start with or one with every option."""

import re
from argparse import ArgumentTypeError, Namespace
from pathlib import Path

from wattlens.cli._command import Command, CommandOptions
from wattlens.cli._options import quoted, write_new


def _configure(add: CommandOptions) -> None:
    add("--out FILE", "file to write; - is standard output (default agent.yaml)", default="agent.yaml", type=str)
    add("--listen ADDR:PORT", "address of /metrics (default 127.0.0.1:9479)", type=_listen)
    add("--full", "write every option with its default and meaning, commented out")
    add("--force", "overwrite an existing file")


def _run(args: Namespace) -> int:
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
        raise ArgumentTypeError(f"expected ADDRESS:PORT such as 0.0.0.0:9479, got {quoted(text)}")
    return text


SPEC = Command("write a configuration file for the agent", _configure, _run)
