"""The definition of a subcommand: one file in this package with a `SPEC`; heavy imports live inside `run`."""

import argparse
import difflib
import re
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NoReturn

from energy_agent.core.text import printable


@dataclass(frozen=True, slots=True)
class Command:
    """A subcommand. Its name is its module's name (`_` becomes `-`); `run` returns the exit code."""

    summary: str  # one line, for `wattlens --help`
    configure: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace], int]


_PLAIN: Final = (
    (re.compile(r"^argument "), ""),
    (re.compile(r"^the following arguments are required: "), "missing "),
    (re.compile(r"^one of the arguments (.*) is required"), r"expected one of \1"),
    (re.compile(r"invalid int value: "), "expected a whole number, got "),
    (re.compile(r"invalid float value: "), "expected a number, got "),
    (re.compile(r"expected (one|at least one) argument$"), "expected a value"),
    (re.compile(r"not allowed with argument "), "cannot be combined with "),
)
"""What argparse writes, in words that other errors use."""


class Parser(argparse.ArgumentParser):
    """A parser with one-line errors that name option, expectation and value, and the help page of their own subcommand.

    Attributes:
        groups: titles of groups of subcommands, with the names in each, for the help page; {}: one list.
        elsewhere: words that are actions of other commands, and these commands.
        separator: an argument that stands for each `--`, which argparse would drop; "": it may.
    """

    groups: Mapping[str, Sequence[str]] = {}
    elsewhere: Mapping[str, str] = {}
    separator: str = ""

    def error(self, message: str) -> NoReturn:
        """Print the line and end with 2, the code of wrong usage."""
        for pattern, plain in _PLAIN:
            message = pattern.sub(plain, message)
        print(f"{self.prog}: {printable(message)}; see {self.prog} --help", file=sys.stderr)
        sys.exit(2)

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Parse; a subcommand refuses what it does not know by itself, so that the error names its own help page."""
        if self.separator:
            args = [self.separator if word == "--" else word for word in args]
        parsed, rest = super().parse_known_args(args, namespace)
        if rest:
            self.error(self._describe_unknown(rest))
        return parsed, rest

    def format_help(self) -> str:
        """The help page, with subcommands under the titles of their groups."""
        if not self.groups:
            return super().format_help()
        formatter = self._get_formatter()
        formatter.add_usage(self.usage, self._actions, self._mutually_exclusive_groups)
        formatter.add_text(self.description)
        commands = next(a for a in self._actions if isinstance(a, argparse._SubParsersAction))
        left = {action.dest: action for action in commands._get_subactions()}
        for title, names in self.groups.items():
            formatter.start_section(title)
            formatter.add_arguments([left.pop(name) for name in names if name in left])
            formatter.end_section()
        formatter.start_section("Other")
        formatter.add_arguments(left.values())
        formatter.end_section()
        formatter.start_section("Options")
        formatter.add_arguments([action for action in self._actions if action is not commands])
        formatter.end_section()
        formatter.add_text(self.epilog)
        return formatter.format_help()

    def _describe_unknown(self, rest: list[str]) -> str:
        word = next((each for each in rest if each.startswith("-") and each != "--"), None)
        if word is None:
            return f"unexpected argument {rest[0][:80]!r}"
        option = word.partition("=")[0][:80]
        known = [name for name, action in self._option_string_actions.items() if action.help != argparse.SUPPRESS]
        return f"unknown option {option}{suggest(option, known)}"

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        choices = action.choices
        if choices is None or value in choices:
            return
        names = [str(each) for each in choices]
        if isinstance(action, argparse._SubParsersAction):
            what = str(action.metavar or "action").lower()
            near = f"; see {self.elsewhere[value]}" if value in self.elsewhere else suggest(str(value), names)
            raise argparse.ArgumentError(None, f"unknown {what} {str(value)[:80]!r}{near}")
        hint = suggest(str(value), names)
        raise argparse.ArgumentError(action, f"expected {one_of(names)}, got {str(value)[:80]!r}{hint}")


def suggest(word: str, known: Iterable[str]) -> str:
    """`; did you mean 'top'?`; "" where nothing is near."""
    near = difflib.get_close_matches(word, list(known), 1)
    return f"; did you mean {near[0]}?" if near else ""


def one_of(names: Sequence[str]) -> str:
    """`a, b or c`."""
    return " or ".join(filter(None, (", ".join(names[:-1]), names[-1])))


def as_sentence(text: str) -> str:
    """A summary as a description: `show it` -> `Show it.`"""
    return text[0].upper() + text[1:] + "."


def print_table(rows: list[tuple[str, ...]]) -> None:
    """Print rows in columns, the first as their heads."""
    widths = [max(len(r[i]) for r in rows) for i in range(len(rows[0]))]
    for row in rows:
        print(printable("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()))
