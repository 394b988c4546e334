"""`wattlens init`: a commented configuration of the agent, with every key and its default."""

import argparse
import os
from pathlib import Path

from energy_agent.core.errors import UsageError
from wattlens.cli._command import Command


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
    flags = os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | (os.O_TRUNC if args.force else os.O_EXCL)
    try:
        with os.fdopen(os.open(path, flags, 0o644), "w", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise UsageError(f"{path} is there already; name another with --out, or write over it with --force") from None
    except OSError as error:
        raise UsageError(f"cannot write {path}: {error.strerror}") from None
    print(f"{path}: every key with its default, as comments. Then: wattlens config check {path}")
    return 0


SPEC = Command("write a commented configuration of the agent", _configure, _run)
