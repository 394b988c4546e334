"""`python -m wattlens.companion ARGS`: `wattlens ARGS` as a child that ends when the process that started it is gone."""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1


def end_with(parent: int) -> bool:
    """Ask the kernel for SIGTERM when the parent dies; False where it has died already. Linux only."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    return os.getppid() == parent


def main() -> int:
    """Run the command line after the parent's pid."""
    from wattlens.cli import main as run

    return run(sys.argv[2:]) if end_with(int(sys.argv[1])) else 1


if __name__ == "__main__":
    sys.exit(main())
