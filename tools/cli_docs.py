"""docs/cli.md: the `--help` page of every command, from the parsers themselves."""

import argparse
import os
from collections.abc import Iterator, Mapping

from wattlens.cli import build_parser

WIDTH = 80
_HEAD = """# Commands

Written by `make docs` from the program; do not edit. Exit codes: 0 done, 1 failed, 2 wrong usage or configuration, with a line
for each error. `--json` prints JSON on standard output. Standard output and exit code of `wattlens measure` are those of its
program; it has `--out FILE`. With the extra `completion`, `wattlens completion bash` prints a completion script; zsh and fish
have one too.

"""


def pages() -> dict[str, str]:
    """Command -> its page at 80 columns, each command before those below it."""
    os.environ["COLUMNS"] = str(WIDTH)
    return {parser.prog: parser.format_help() for parser in parsers(build_parser(["--help"]))}


def parsers(parser: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    """A parser and those of all commands below it."""
    yield parser
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            assert isinstance(action.choices, Mapping)
            for each in action.choices.values():
                yield from parsers(each)


def reference() -> str:
    """The whole of docs/cli.md."""
    commands = pages()
    listed = "".join(f"- [`{name}`](#{name.replace(' ', '-')})\n" for name in commands)
    return _HEAD + listed + "".join(f"\n## {name}\n\n```text\n{text}```\n" for name, text in commands.items())
