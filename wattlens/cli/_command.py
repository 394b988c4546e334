"""What a subcommand is: one file beside this one with a `SPEC`; heavy imports live inside `run`."""

import argparse
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import NoReturn

from energy_agent.core.text import printable


@dataclass(frozen=True, slots=True)
class Command:
    """A subcommand. Its name is its module's name (`_` becomes `-`); `run` returns the exit code."""

    summary: str  # one line, for `wattlens --help`
    configure: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace], int]


class Parser(argparse.ArgumentParser):
    """A parser whose errors are one line, as all of ours are; subcommands inherit it."""

    def error(self, message: str) -> NoReturn:
        """Say what is wrong and end with 2, the code of wrong usage."""
        print(f"{self.prog}: {message}; see {self.prog} --help", file=sys.stderr)
        sys.exit(2)


def sentence(text: str) -> str:
    """A summary as a description: `show it` -> `Show it.`"""
    return text[0].upper() + text[1:] + "."


def table(rows: list[tuple[str, ...]]) -> None:
    """Print rows in columns, the first as their heads."""
    widths = [max(len(r[i]) for r in rows) for i in range(len(rows[0]))]
    for row in rows:
        print(printable("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()))
