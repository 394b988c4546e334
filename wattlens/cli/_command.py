"""The definition of a subcommand: one file in this package with a `SPEC`; heavy imports live inside `run`."""

import argparse
import difflib
import json
import re
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, NoReturn

from energy_agent.core.text import printable

_PATHS: Final = ("CSV", "DIR", "FILE", "FOLDER", "KEYFILE", "PATH")


class CommandOptions:
    """Declares options and arguments as the help page shows them: `add("--out FILE", "file to write")`.

    Attributes:
        parser: the parser or the group of its options.
    """

    def __init__(self, parser: Any, inherited: Mapping[str, argparse.Action] = MappingProxyType({})) -> None:
        """`inherited`: options of the command above; the same option here does not reset what was given before the action."""
        self.parser, self._inherited = parser, inherited

    def __call__(self, usage: str, text: str, **more: Any) -> None:
        """Add one. Without a name for its value, or choices, an option is a flag; a FILE, DIR or other path is a Path.

        Args:
            usage: names and the value's name, such as `--json`, `--out FILE` or `source SOURCE`.
            text: its line on the help page.
            more: further arguments of `ArgumentParser.add_argument`.
        """
        *names, value = usage.split()
        if names and not value.startswith("-"):
            more["metavar"] = value
        else:
            names.append(value)
            if value.startswith("-") and "choices" not in more:
                more["action"] = "store_true"
        if value in _PATHS:
            more.setdefault("type", Path)
        option = self.parser.add_argument(*names, help=text, **more)
        above = self._inherited.get(option.dest)
        if above is not None and (above.type, above.default) == (option.type, option.default):
            option.default = argparse.SUPPRESS

    def group(self, title: str) -> "CommandOptions":
        """Options under a title of their own."""
        return CommandOptions(self.parser.add_argument_group(title), self._inherited)

    def exclusive(self, *, required: bool = False) -> "CommandOptions":
        """Options of which one excludes the others."""
        return CommandOptions(self.parser.add_mutually_exclusive_group(required=required), self._inherited)


@dataclass(frozen=True, slots=True)
class Command:
    """A command. Its name is its module's name (`_` becomes `-`).

    Attributes:
        summary: one line, for the help page of the command above it.
        configure: declares its options.
        run: returns the exit code; None: one of `actions` is required.
        actions: the commands below it, by name.
        without: what happens without an action, for the help page.
        description: for its own help page; "": the summary.
    """

    summary: str
    configure: Callable[[CommandOptions], None] = lambda _: None
    run: Callable[[argparse.Namespace], int] | None = None
    actions: Mapping[str, "Command"] = field(default_factory=dict)
    description: str = ""
    without: str | None = None

    def add_to(self, commands: Any, name: str, inherited: Mapping[str, argparse.Action] = MappingProxyType({})) -> None:
        """Add it, and all below it, to the subparsers of the command above it."""
        sentence = self.summary[0].upper() + self.summary[1:] + "."
        parser = commands.add_parser(name, help=self.summary, description=self.description or sentence)
        self.configure(CommandOptions(parser, inherited))
        if self.run is not None:
            parser.set_defaults(run=self.run)
        if self.actions:
            options = {option.dest: option for option in parser._actions}
            actions = parser.add_subparsers(metavar="ACTION", required=self.run is None, help=self.without)
            for action, command in self.actions.items():
                command.add_to(actions, action, options)


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
        remaining = {action.dest: action for action in commands._get_subactions()}
        for title, names in self.groups.items():
            formatter.start_section(title)
            formatter.add_arguments([remaining.pop(name) for name in names if name in remaining])
            formatter.end_section()
        formatter.start_section("Other")
        formatter.add_arguments(remaining.values())
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
        options = [name for name, action in self._option_string_actions.items() if action.help != argparse.SUPPRESS]
        return f"unknown option {option}{suggest(option, options)}"

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


def suggest(word: str, choices: Iterable[str]) -> str:
    """`; did you mean 'top'?`; "" where nothing is near."""
    near = difflib.get_close_matches(word, list(choices), 1)
    return f"; did you mean {near[0]}?" if near else ""


def one_of(names: Sequence[str]) -> str:
    """`a, b or c`."""
    return " or ".join(filter(None, (", ".join(names[:-1]), names[-1])))


def print_json(document: object, indent: int | None = 2) -> None:
    """Print a document; `indent` None: in one line."""
    print(json.dumps(document, indent=indent))


def print_check(file: Path, errors: Sequence[str], **more: object) -> None:
    """Print what a check of a file found, as JSON."""
    first = errors[0] if errors else None
    print_json({"file": str(file), "ok": not errors, "error": first, "errors": errors, **more}, 1)


def warn(text: str) -> None:
    """Print a line of `wattlens` on standard error."""
    print(printable(f"wattlens: {text}"), file=sys.stderr, flush=True)


def print_lines(lines: Iterable[str]) -> None:
    """Print lines, each of printable characters."""
    for line in lines:
        print(printable(line))


def print_table(rows: list[tuple[str, ...]]) -> None:
    """Print rows in columns, the first as their heads."""
    widths = [max(len(r[i]) for r in rows) for i in range(len(rows[0]))]
    print_lines("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows)
