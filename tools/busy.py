"""Run a command next to busy processes, to see whether the load changes its result: `python -m tools.busy 40 make test`."""

import os
import subprocess
import sys

_LOOP = "import os, sys\nwhile os.getppid() == int(sys.argv[1]): pass"
"""The busy processes end when this one has ended, whatever ends it."""


def main(count: str, *command: str) -> int:
    """Return the exit code of `command`, which shares the machine with `count` processes that compute without a pause."""
    for _ in range(int(count)):
        subprocess.Popen([sys.executable, "-I", "-S", "-c", _LOOP, str(os.getpid())])
    return subprocess.call(command)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
