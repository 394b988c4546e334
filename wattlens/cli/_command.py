"""What a subcommand is: one file beside this one with a `SPEC`; heavy imports live inside `run`."""

import argparse
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Command:
    """A subcommand. Its name is its module's name (`_` becomes `-`); `run` returns the exit code."""

    summary: str  # one line, for `wattlens --help`
    configure: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace], int]
