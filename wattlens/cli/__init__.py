"""The command line.

Exit codes: 0 done, 1 failed, 2 wrong usage or configuration, 130 interrupted by Ctrl-C, with which commands that run until they
are stopped end with 0. Everything is imported within `main`, so that Ctrl-C while Python still loads it is one line too.
"""

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable

_INTERRUPTED = 130


def main(argv: "list[str] | None" = None) -> int:
    """Run `wattlens ARGV`; returns the exit code."""
    try:
        import signal

        at_once = signal.getsignal(signal.SIGINT) is signal.default_int_handler
        if at_once:  # an import wraps the KeyboardInterrupt in its own error, or loses it
            at_once = _handle(_end_at_once)
        try:
            from wattlens.cli import _program

            parsed = _program.parse(sys.argv[1:] if argv is None else argv, sys.modules[__name__])
        except SystemExit as end:  # --help, or wrong usage
            return int(end.code or 0)
        finally:
            if at_once:
                _handle(signal.default_int_handler)
        if argv is None and hasattr(sys.stdout, "reconfigure"):  # a terminal without a letter shows "?" for it
            sys.stdout.reconfigure(errors="replace")
        code = _program.run(parsed)
        if argv is None:  # the process ends now, and a Ctrl-C would break off what Python still has to do
            _handle(signal.SIG_IGN)
        return code
    except BaseException as error:
        if not _is_interrupt(error):
            raise
        return _interrupted()


def build_parser(arguments: list[str]) -> "argparse.ArgumentParser":
    """The parser; only the named subcommand's module is imported, so that the agent starts light."""
    from wattlens.cli import _program

    return _program.build_parser(arguments, sys.modules[__name__])


def _handle(handler: "Callable[..., object] | int") -> bool:
    """Set what Ctrl-C does; False in a thread, which may not."""
    import signal

    try:
        signal.signal(signal.SIGINT, handler)
    except ValueError:
        return False
    return True


def _end_at_once(*_: object) -> None:
    """End while nothing but imports has been done."""
    import os

    os._exit(_interrupted())


def _is_interrupt(error: BaseException | None) -> bool:
    """Whether Ctrl-C is what ended it, be it through the import of a module that a command needs later."""
    while error is not None and not isinstance(error, KeyboardInterrupt):
        error = error.__cause__
    return error is not None


def _interrupted() -> int:
    """End in order: a second Ctrl-C prints no traceback either."""
    import signal

    _handle(signal.SIG_IGN)
    if sys.stderr.isatty():
        sys.stderr.write("\n")  # the terminal shows ^C on the line
    sys.stderr.write("wattlens: interrupted\n")
    return _INTERRUPTED
