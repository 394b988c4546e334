"""The command line.

Exit codes: 0 done, 1 failed, 2 wrong usage or configuration, 130 interrupted by Ctrl-C, with which commands that run until they
are stopped end with 0. Everything is imported within `main`, so that Ctrl-C while Python still loads it is one line too.
"""

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse

_INTERRUPTED = 130


def main(argv: "list[str] | None" = None) -> int:
    """Run `wattlens ARGV`; returns the exit code."""
    try:
        from wattlens.cli._program import run

        return run(argv)
    except KeyboardInterrupt:
        return _interrupted()


def build_parser(arguments: list[str]) -> "argparse.ArgumentParser":
    """The parser; only the named subcommand's module is imported, so that the agent starts light."""
    from wattlens.cli import _program

    return _program.build_parser(arguments)


def _interrupted() -> int:
    """End in order: a second Ctrl-C prints no traceback either."""
    import signal
    import threading

    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    if sys.stderr.isatty():
        sys.stderr.write("\n")  # the terminal shows ^C on the line
    sys.stderr.write("wattlens: interrupted\n")
    return _INTERRUPTED
