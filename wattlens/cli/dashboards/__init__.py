"""`wattlens dashboards`: build and check the committed files; push them and annotations to a Grafana."""

import sys
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path

from energy_agent.core.errors import UsageError
from energy_agent.core.extras import install_hint
from wattlens.cli._command import Command, CommandOptions, print_json
from wattlens.cli.dashboards import annotate, push


def _configure_build(add: CommandOptions) -> None:
    add("--out DIR", "output folder (default: the current folder)", default=Path())
    add("--otlp", "also write recording rules that give GPU metrics sent by OTLP the names that the dashboards read")
    add("--runbooks URL", "address of docs/alerts.md on your network; alerts link to it", default="")
    add("--json", "print JSON")


def _configure_check(add: CommandOptions) -> None:
    add("--dir DIR", "root of the repository (default: the current folder)", default=Path())
    add("--json", "print JSON")


def _with_hint(run: Callable[[Namespace], int]) -> Callable[[Namespace], int]:
    """Run it, and name the extra that is not installed."""

    def guarded(arguments: Namespace) -> int:
        try:
            return run(arguments)
        except ModuleNotFoundError as error:
            raise UsageError(f"building dashboards needs {error.name}; install: {install_hint('dev')}") from None

    return guarded


def _build(arguments: Namespace) -> int:
    from dashboards.build.build import build

    try:
        paths = build(arguments.out, otlp=arguments.otlp, runbooks=arguments.runbooks)
        written = [str(path) for path in paths]
    except OSError as error:
        raise UsageError(f"--out: cannot write {error.filename}: {error.strerror}") from None
    if arguments.json:
        print_json({"written": written}, None)
    else:
        print("\n".join(written))
    return 0


def _check(arguments: Namespace) -> int:
    from dashboards.build.build import artefacts, check

    problems = check(arguments.dir)
    if arguments.json:
        print_json({"files": sorted(artefacts()), "problems": problems}, None)
    else:
        for problem in problems:
            print(problem, file=sys.stderr)
        if not problems:
            print(
                f"{len(artefacts())} files match the code; every metric is known, every query parses, and the linter has "
                "no findings"
            )
    return 1 if problems else 0


SPEC = Command(
    "build Grafana dashboards and alert rules, and push them",
    actions={
        "build": Command(
            "write the files", _configure_build, _with_hint(_build), description="Write dashboards, rules and metric reference."
        ),
        "check": Command(
            "check the committed files",
            _configure_check,
            _with_hint(_check),
            description=(
                "Check that the committed files match the code, that the catalogue has every metric in them, that every "
                "query parses and that dashboards follow the linter's rules. Exits with 1 otherwise."
            ),
        ),
        "push": Command(push.SUMMARY, push.configure, _with_hint(push.run), description=push.DESCRIPTION),
        "annotate": Command(annotate.SUMMARY, annotate.configure, _with_hint(annotate.run), description=annotate.DESCRIPTION),
    },
)
