"""`wattlens config check`: whether a configuration is right, and what of it will not work on this node."""

import argparse
import json
from pathlib import Path

from energy_agent.core.errors import UsageError
from wattlens.cli._command import Command, as_sentence


def _configure(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(metavar="ACTION", dest="action", required=True)
    text = "check a file before the agent reads it"
    check = actions.add_parser("check", help=text, description=as_sentence(text))
    check.add_argument("file", type=Path, metavar="FILE", help="the agent's configuration")
    check.add_argument("--json", action="store_true", help="print JSON")


def _run(args: argparse.Namespace) -> int:
    from wattlens.agent.config_check import check

    try:
        warnings = check(args.file)
    except UsageError as error:
        if not args.json:
            raise
        errors = str(error).splitlines()
        print(json.dumps({"file": str(args.file), "ok": False, "error": errors[0], "errors": errors, "warnings": []}, indent=1))
        return error.exit_code
    if args.json:
        rows = [{"key": key, "warning": text} for key, text in warnings]
        print(json.dumps({"file": str(args.file), "ok": True, "error": None, "errors": [], "warnings": rows}, indent=1))
        return 0
    print(f"{args.file}: OK" + ("; on this node now:" if warnings else ""))
    for key, text in warnings:
        print(f"  {key}: {text}")
    return 0


SPEC = Command("check a configuration file of the agent", _configure, _run)
