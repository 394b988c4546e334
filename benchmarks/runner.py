"""The command of every benchmark: options from the signature of its `run`, rows as tables or JSON, exit code from the bars.

A benchmark is a module with a function `run`. Each parameter is an option of the same name; positional ones are `*names`.
`run` returns rows, or one row. A row whose `ok` is False missed a bar.
"""

import argparse
import inspect
import json
import sys
from collections.abc import Iterable
from importlib import import_module
from itertools import groupby
from typing import Any, get_args

from energy_agent.core.errors import UsageError

Row = dict[str, Any]


def call(name: str, words: list[str]) -> int:
    """Run a benchmark with the options of its command line; 1 where it missed a bar, 2 where it cannot run with them."""
    module = import_module(f"benchmarks.{name}")
    parser = argparse.ArgumentParser(
        f"python -m benchmarks {name}", description=module.__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for option in inspect.signature(module.run).parameters.values():
        _add(parser, option)
    parser.add_argument("--json", action="store_true", help="print the rows as JSON")
    options = vars(parser.parse_args(words))
    as_json, names = options.pop("json"), options.pop("names", ())
    rows: list[Row] = []
    try:
        result: Row | Iterable[Row] = module.run(*names, **options)
        for row in [result] if isinstance(result, dict) else result:
            rows.append(row)
    except UsageError as error:
        print(f"{parser.prog}: {error}", file=sys.stderr)
        return 2
    finally:  # a run of hours that fails in its last case has measured the others
        if rows:
            print(json.dumps(rows, default=str) if as_json else table(rows), flush=True)
    short = not all(row.get("ok", True) for row in rows)
    print("fell short" if short else "all bars held", file=sys.stderr if as_json else sys.stdout, flush=True)
    return int(short)


def _add(parser: argparse.ArgumentParser, option: inspect.Parameter) -> None:
    if option.kind is option.VAR_POSITIONAL:
        parser.add_argument(option.name, nargs="*")
        return
    if option.annotation is bool:
        parser.add_argument(f"--{option.name.replace('_', '-')}", action="store_true")
        return
    inner = [kind for kind in get_args(option.annotation) if kind not in (type(None), ...)]
    more: Row = {"required": True} if option.default is option.empty else {"default": option.default}
    if isinstance(option.default, tuple):
        more |= {"nargs": "+"} | ({"choices": option.default} if inner == [str] else {})
    kind = inner[0] if inner else option.annotation
    text = "required" if option.default is option.empty else f"default: {option.default}".replace("%", "%%")
    parser.add_argument(f"--{option.name.replace('_', '-')}", type=kind, help=text, **more)


def table(rows: Iterable[Row]) -> str:
    """Successive rows with the same columns as one table; a single row as one line per column."""
    blocks = []
    for columns, group in groupby(rows, key=tuple):
        cells = [[_cell(value) for value in row.values()] for row in group]
        if len(cells) == 1:
            blocks += [f"{name:<32} {value}" for name, value in zip(columns, cells[0], strict=True)]
            continue
        widths = [max(map(len, column)) for column in zip(columns, *cells, strict=True)]
        blocks += ["  ".join(map(str.ljust, line, widths)).rstrip() for line in (columns, *cells)]
    return "\n".join(blocks)


def _cell(value: object) -> str:
    if value is None or isinstance(value, bool):
        return {None: "-", True: "yes", False: "NO"}[value]
    if isinstance(value, dict):
        return ", ".join(f"{name} {_cell(each)}" for name, each in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(map(_cell, value))
    return f"{value:.5g}" if isinstance(value, float) else str(value)


def say(text: str) -> None:
    """Print progress, apart from the result."""
    print(text, file=sys.stderr, flush=True)
