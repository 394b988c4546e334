"""`wattlens dashboards`: build and check the committed files; push them and annotations to a Grafana."""

import argparse
import json
import sys
from pathlib import Path
from typing import Any, Final

from energy_agent.core.errors import UsageError
from energy_agent.core.extras import install_hint
from wattlens.cli._command import Command
from wattlens.cli.dashboards import annotate, push

_REMOTE: Final[dict[str, Any]] = {"push": push, "annotate": annotate}


def _configure(group: argparse.ArgumentParser) -> None:
    actions = group.add_subparsers(metavar="ACTION", required=True)
    build = actions.add_parser("build", help="write the files", description="Write dashboards, rules and metric reference.")
    build.add_argument("--out", type=Path, default=Path(), metavar="DIR", help="output folder (default: the current folder)")
    build.add_argument(
        "--otlp",
        action="store_true",
        help="also write recording rules that give GPU metrics sent by OTLP the names that the dashboards read",
    )
    build.add_argument(
        "--runbooks", default="", metavar="URL", help="address of docs/alerts.md on your network; alerts link to it"
    )
    build.set_defaults(action=_build)
    check = actions.add_parser(
        "check",
        help="check the committed files",
        description=(
            "Check that the committed files match the code, that the catalogue has every metric in them, that every "
            "query parses and that dashboards follow the linter's rules. Exits with 1 otherwise."
        ),
    )
    check.add_argument(
        "--dir", type=Path, default=Path(), metavar="DIR", help="root of the repository (default: the current folder)"
    )
    check.set_defaults(action=_check)
    remote = []
    for name, module in _REMOTE.items():
        parser = actions.add_parser(name, help=module.SUMMARY, description=module.DESCRIPTION)
        module.configure(parser)
        parser.set_defaults(action=module.run)
        remote.append(parser)
    for each in (build, check, *remote):
        each.add_argument("--json", action="store_true", help="print JSON")


def _run(arguments: argparse.Namespace) -> int:
    try:
        return int(arguments.action(arguments))
    except ModuleNotFoundError as error:
        raise UsageError(f"building dashboards needs {error.name}; install: {install_hint('dev')}") from None


def _build(arguments: argparse.Namespace) -> int:
    from dashboards.build.build import build

    try:
        paths = build(arguments.out, otlp=arguments.otlp, runbooks=arguments.runbooks)
        written = [str(path) for path in paths]
    except OSError as error:
        raise UsageError(f"--out: cannot write {error.filename}: {error.strerror}") from None
    print(json.dumps({"written": written}) if arguments.json else "\n".join(written))
    return 0


def _check(arguments: argparse.Namespace) -> int:
    from dashboards.build.build import artefacts, check

    problems = check(arguments.dir)
    if arguments.json:
        print(json.dumps({"files": sorted(artefacts()), "problems": problems}))
    else:
        for problem in problems:
            print(problem, file=sys.stderr)
        if not problems:
            print(
                f"{len(artefacts())} files match the code; every metric is known, every query parses, and the linter has "
                "no findings"
            )
    return 1 if problems else 0


SPEC = Command("build Grafana dashboards and alert rules, and push them", _configure, _run)
