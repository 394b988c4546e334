"""Options of the previous release. Each still works, with a warning that names its successor; the next release drops them."""

import argparse
import re
import sys
from collections.abc import Mapping, Sequence
from typing import Any, Final

_SECONDS: Final = ("--for", "s")
_OUT: Final = ("--out", "")
FORMER: Final[Mapping[str, Mapping[str, tuple[str, str]]]] = {
    "wattlens demo": {"--seconds": _SECONDS},
    "wattlens doctor": {"--seconds": _SECONDS},
    "wattlens dvfs sweep": {"--seconds": ("--interval", "s")},
    "wattlens ledger compact": {"--output": _OUT},
    "wattlens ledger export": {"--output": _OUT},
    "wattlens ledger import": {
        "--output": _OUT,
        "--start": ("--from", ""),
        "--end": ("--to", ""),
        "--bearer-token-file": ("--token-file", ""),
        "--gain-percent": ("--gain-uncertainty", "%"),
    },
    "wattlens measure": {"--save": _OUT},
    "wattlens pue": {"--coverage": ("--accept-coverage", "")},
}
"""Command -> former option -> its successor, and the unit of a number that has none."""


class FormerOption(argparse.Action):
    """A former option: warns, and sets its successor."""

    def __init__(self, option: str, target: argparse.Action, unit: str) -> None:
        super().__init__(
            [option], target.dest, nargs=target.nargs, default=argparse.SUPPRESS, choices=target.choices,
            type=self._convert, help=argparse.SUPPRESS,
        )  # fmt: skip
        self._target, self._unit = target, unit

    def _convert(self, text: str) -> Any:
        text = with_unit(text, self._unit)
        convert: Any = self._target.type or str
        return convert(text)

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: str | Sequence[Any] | None,
        option_string: str | None = None,
    ) -> None:
        """Set the successor."""
        successor = self._target.option_strings[0]
        warn(f"{option_string} is now {successor}; {option_string} works in this release only")
        self._target(parser, namespace, values, successor)
        self._target.required = False


def add_former_options(parser: argparse.ArgumentParser) -> None:
    """Add the former options of a command and of those below it."""
    for option, (new, unit) in FORMER.get(parser.prog, {}).items():
        target = parser._option_string_actions[new]
        parser._add_action(FormerOption(option, target, unit))
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for each in action.choices.values():
                add_former_options(each)


def with_unit(text: str, unit: str) -> str:
    """The text; a bare number with a unit."""
    return f"{text}{unit}" if re.fullmatch(r"\s*-?\d+(\.\d+)?\s*", text) else text


def warn(text: str) -> None:
    """Print a warning on standard error."""
    print(f"wattlens: warning: {text}", file=sys.stderr)
